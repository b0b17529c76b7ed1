//! Memory: what the calls return, what the memory holds, what touching it does.

tacet_tests::sections!("memory.c":
    brk, anonymous, fixed, anywhere, file_private, file_shared, file_shrunk, protect, remap, advise, advise_file, reserve, stack, limits, errors);
