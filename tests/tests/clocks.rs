//! Clocks and sleeping.

tacet_tests::sections!("clocks.c": read, rate, sleep, sleepers);
