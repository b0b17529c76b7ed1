//! Corners of the ABI: limits of memory, locked memory, futexes in files, buffers that run over an edge, ways to
//! `/proc/self`, files there that stay open.

use tacet_tests::{Case, Language, build};

tacet_tests::sections!("corners.c": limits, locked, futexes, prctl, paths, edges, widths, again);

/// A program that tries to write to its own file: a copy, in case it can. (overlayfs empties files that lie in a
/// lower layer even when it then says ETXTBSY.)
#[test]
fn running() {
    let case = Case::script("cp \"$1\" program && run ./program running; rm program");
    let compared = case.arg(build(Language::C, "corners.c")).assert_same();
    assert!(compared.native.out().ends_with("end\n"), "{}", compared.native);
}
