//! Sockets, and waiting for them by poll, select and epoll.

tacet_tests::sections!("sockets.c": unix_stream, unix_datagram, pass_descriptor, inet, poll, epoll, blocked);
