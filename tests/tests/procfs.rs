//! What the program reads about itself in `/proc`.

tacet_tests::sections!("procfs.c": areas, mappings, files, threads, paths, start, descriptors, numbers, task, resident);
