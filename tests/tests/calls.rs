//! What a system call leaves alone, from the same place many times.

tacet_tests::sections!("calls.c": flags, registers, signals, threads, gs, vectors, crossing, shapes, replaced, written, stepped);
