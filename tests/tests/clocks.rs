//! Clocks and sleeping.

tacet_tests::sections!("clocks.c": read, vdso, rate, sleep, cpu_sleep, sleepers);
