//! Queues and semaphores of System V, messages in bulk, pages of memory, and what a process is.

tacet_tests::sections!("ipc.c": semaphores, messages, several_messages, splice, pages, identity);
