//! Signals.
//!
//! All of it happens in the cell: dispositions, masks, queues, frames. Signals from outside
//! arrive through the platform into a core's [`Inbox`] and go on from there like any other.
//! Source: signal(7), `kernel/signal.c`, `arch/x86/kernel/signal_64.c`.

mod action;
mod deliver;
mod frame;
mod inbox;
mod info;
mod queue;
mod send;

pub use action::{
    Action, Actions, DefaultAction, action_of, actions, actions_reset, children_vanish, default_of, exchange_action,
    forget_handlers, is_ignored,
};
pub use deliver::{Restart, deliver, finish_mask, restart_or_fail, sigreturn};
pub use frame::{FaultWords, StackT};
pub use inbox::{Inbox, drain_inbox, drop_signal, receive};
pub use info::{SI_TIMER, SI_TKILL, SigInfo};
pub use queue::{SigSet, ThreadSignals};
pub use send::{
    Sent, alarm_fired, dequeue_for, force, is_due, notify, pass_on, pending_anywhere, pending_set, post_process,
    post_thread, refresh, send_process, send_thread,
};

/// Signals whose meaning the kernel itself has to know.
#[allow(missing_docs, reason = "names of signal(7)")]
pub mod number {
    pub const HUP: u8 = 1;
    pub const ILL: u8 = 4;
    pub const TRAP: u8 = 5;
    pub const ABRT: u8 = 6;
    pub const BUS: u8 = 7;
    pub const FPE: u8 = 8;
    pub const KILL: u8 = 9;
    pub const SEGV: u8 = 11;
    pub const PIPE: u8 = 13;
    pub const XFSZ: u8 = 25;
    pub const ALRM: u8 = 14;
    pub const CHLD: u8 = 17;
    pub const CONT: u8 = 18;
    pub const STOP: u8 = 19;
    pub const TSTP: u8 = 20;
    pub const TTIN: u8 = 21;
    pub const TTOU: u8 = 22;
    pub const URG: u8 = 23;
    pub const XCPU: u8 = 24;
    pub const VTALRM: u8 = 26;
    pub const PROF: u8 = 27;
    pub const WINCH: u8 = 28;
    pub const SYS: u8 = 31;
    pub const MAX: u8 = 64;
}

/// Where signal handlers with `SA_ONSTACK` run (sigaltstack(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AltStack {
    /// Lowest address.
    pub at: u64,
    /// `SS_DISABLE`, `SS_AUTODISARM` or 0.
    pub flags: u32,
    /// Bytes.
    pub size: u64,
}

impl AltStack {
    /// `SS_ONSTACK`
    pub const ON_STACK: u32 = 1;
    /// `SS_DISABLE`
    pub const DISABLE: u32 = 2;
    /// `SS_AUTODISARM`
    pub const AUTODISARM: u32 = 1 << 31;

    /// No alternate stack.
    #[must_use]
    pub fn disabled() -> Self {
        AltStack { at: 0, flags: AltStack::DISABLE, size: 0 }
    }

    /// Whether `rsp` lies on it. With `SS_AUTODISARM` nobody counts as on it.
    #[must_use]
    pub fn holds(&self, rsp: u64) -> bool {
        self.flags & AltStack::AUTODISARM == 0 && self.spans(rsp)
    }

    /// Whether a stack pointer lies in its memory.
    #[must_use]
    pub fn spans(&self, rsp: u64) -> bool {
        rsp > self.at && rsp - self.at <= self.size
    }
}
