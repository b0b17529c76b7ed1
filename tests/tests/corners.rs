//! Corners of the ABI: limits of memory, locked memory, futexes in files, buffers that run over an edge, ways to
//! `/proc/self`, files there that stay open.

use tacet_tests::{Case, Language, build};

tacet_tests::sections!("corners.c": limits, locked, grows, futexes, prctl, paths, edges, widths, again);

/// A program that tries to write to its own file: a copy, in case it can. (overlayfs empties files that lie in a
/// lower layer even when it then says ETXTBSY.)
#[test]
fn running() {
    let case = Case::script("cp \"$1\" program && run ./program running; rm program");
    let compared = case.arg(build(Language::C, "corners.c")).assert_same();
    assert!(compared.native.out().ends_with("end\n"), "{}", compared.native);
}

/// Limits that are soft, so that they can be lifted for the proxy; that of descriptors on both sides of the proxy's own.
#[test]
fn inherited_limits() {
    for limits in ["-v 1000000", "-d 100000", "-n 500", "-v 400000 -d 300000 -n 1000 -t 1000"] {
        let case =
            Case::script(&format!("ulimit -S {limits}; run \"$1\" inherited")).arg(build(Language::C, "corners.c"));
        let compared = case.assert_same();
        assert!(compared.native.out().ends_with("end\n"), "{}", compared.native);
    }
}

#[test]
fn a_limit_on_cpu_time() {
    let compared = Case::new(build(Language::C, "corners.c")).arg("cpu_time").assert_same();
    assert_eq!(compared.native.shell_status(), 128 + 9, "{}", compared.native);
    // The shell says whom it found killed.
    let script = "ulimit -S -t 1; exec 2>/dev/null; run \"$1\" cpu_time";
    let inherited = Case::script(script).arg(build(Language::C, "corners.c"));
    assert_eq!(inherited.assert_same().native.shell_status(), 128 + 9);
}
