//! Corners of the ABI: limits of memory, locked memory, futexes in files, buffers that run over an edge, ways to `/proc/self`.

tacet_tests::sections!("corners.c": limits, locked, futexes, prctl, paths, edges, widths);
