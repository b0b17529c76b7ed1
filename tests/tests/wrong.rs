//! Calls that are wrong in several ways: the first error that Linux sees is the one that the program
//! gets.

tacet_tests::sections!("wrong.c": files, sockets, waiting, process);
