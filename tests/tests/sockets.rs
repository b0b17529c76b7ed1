//! Sockets, and waiting for them by poll, select and epoll.

use tacet_tests::{Case, Language, build};

tacet_tests::sections!("sockets.c": unix_stream, unix_datagram, pass_descriptor, inet, poll, epoll, blocked, control, credentials);

/// select looks no further than the table of descriptors, whose size comes from who started the
/// program: closed numbers beyond it are passed over, closed numbers within it are an error.
#[test]
fn select_and_the_size_of_the_table() {
    let closed_above = "for fd in /proc/self/fd/*; do fd=${fd##*/}; [ $fd -gt 9 ] && eval \"exec $fd>&-\"; done";
    for open in ["", "; exec 120</dev/null", "; exec 251</dev/null"] {
        let script = format!("{closed_above}{open}; run {} poll", build(Language::C, "sockets.c").display());
        let native = Case::script(&script).assert_same().native;
        let result = if open.ends_with("251</dev/null") { "-1 (Bad file descriptor)" } else { "0" };
        assert!(
            native.out().contains(&format!("select(201, &readable, NULL, NULL, &timeout) = {result}\n")),
            "{native}"
        );
    }
}
