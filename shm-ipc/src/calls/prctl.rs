//! Options of prctl(2): which of them a child of vfork has of its own.

/// Whether `option` sets, by numbers alone, what a process has of its own and keeps when it executes something:
/// of a child of vfork that is up to Linux.
#[must_use]
pub fn is_of_a_process(option: u64) -> bool {
    const PR_SET_PDEATHSIG: u32 = 1;
    const PR_SET_KEEPCAPS: u32 = 8;
    const PR_CAPBSET_DROP: u32 = 24;
    const PR_SET_SECUREBITS: u32 = 28;
    const PR_SET_TIMERSLACK: u32 = 29;
    const PR_SET_CHILD_SUBREAPER: u32 = 36;
    const PR_SET_NO_NEW_PRIVS: u32 = 38;
    const PR_SET_THP_DISABLE: u32 = 41;
    const PR_CAP_AMBIENT: u32 = 47;
    matches!(
        option as u32,
        PR_SET_PDEATHSIG
            | PR_SET_KEEPCAPS
            | PR_CAPBSET_DROP
            | PR_SET_SECUREBITS
            | PR_SET_TIMERSLACK
            | PR_SET_CHILD_SUBREAPER
            | PR_SET_NO_NEW_PRIVS
            | PR_SET_THP_DISABLE
            | PR_CAP_AMBIENT
    )
}
