//! Timers that send signals, and descriptors that take them.

tacet_tests::sections!("timers.c": once, periodic, overrun, absolute, cpu, itimers, thread, function, ignored, off, errors);
tacet_tests::sections!("timers.c": signalfd, signalfd_waits, signalfd_threads);
