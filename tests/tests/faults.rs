//! Programs that fault: they end by the same signal as on Linux, or catch it and go on.

use tacet_tests::{Case, Language, build, platform};

/// Ends by that signal after its first line.
fn dies(how: &str, signal: i32) {
    let compared = Case::new(build(Language::C, "faults.c")).arg(how).assert_same();
    assert_eq!(compared.native.shell_status(), 128 + signal, "{}", compared.native);
}

macro_rules! deaths {
    ($($how:ident: $signal:expr),+ $(,)?) => {
        $(#[test]
        fn $how() {
            dies(stringify!($how), $signal);
        })+
    };
}

const ILL: i32 = 4;
const TRAP: i32 = 5;
const ABRT: i32 = 6;
const BUS: i32 = 7;
const FPE: i32 = 8;
const SEGV: i32 = 11;

deaths!(
    null_read: SEGV, null_write: SEGV, null_call: SEGV, noncanonical: SEGV, divide: FPE, illegal: ILL,
    breakpoint: TRAP, privileged: SEGV, abort: ABRT, file_end: BUS, not_executable: SEGV,
    overflow_uncaught: SEGV, nested: SEGV, ignored: SEGV,
);

tacet_tests::sections!("faults.c": caught, repaired, skipped, vectors, overflow);

/// What a user sees: the shell's own message and status.
#[test]
fn message_of_the_shell() {
    let program = build(Language::C, "faults.c");
    for (how, message) in
        [("null_read", "Segmentation fault"), ("abort", "Aborted"), ("divide", "Floating point exception")]
    {
        let inner = "\"$@\"; echo \"status $?\"";
        let native = Case::new("sh").args(["-c", inner, "sh"]).arg(&program).arg(how).native();
        let tacet_run = platform::tacet_run::<&str>(&[]);
        let cell = Case::new("sh").args(["-c", inner, "sh"]).args(tacet_run).arg(&program).arg(how).native();
        assert_eq!(native.err(), format!("{message}\n"), "{native}");
        assert_eq!((cell.out(), cell.err()), (native.out(), native.err()), "{cell}");
    }
}
