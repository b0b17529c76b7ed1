//! Corners of the ABI: limits of memory, locked memory, futexes in files, buffers that run over an edge, ways to `/proc/self`, files there that stay open.

tacet_tests::sections!("corners.c": limits, locked, futexes, prctl, paths, edges, widths, again, running);
