//! What the process does about each signal.

use spin::Mutex;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::number;
use super::queue::SigSet;
use crate::abi::Errno;

/// Linux's `struct kernel_sigaction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Action {
    /// Address of the handler, or `SIG_DFL` (0), `SIG_IGN` (1).
    pub handler: u64,
    /// `SA_*`
    pub flags: u64,
    /// Address of the code that calls rt_sigreturn.
    pub restorer: u64,
    /// Blocked while the handler runs.
    pub mask: u64,
}

impl Action {
    /// The default action.
    #[must_use]
    pub const fn none() -> Self {
        Action { handler: Action::DEFAULT, flags: 0, restorer: 0, mask: 0 }
    }

    /// `SIG_DFL`
    pub const DEFAULT: u64 = 0;
    /// `SIG_IGN`
    pub const IGNORE: u64 = 1;
    /// `SA_RESTORER`
    pub const RESTORER: u64 = 0x0400_0000;
    /// `SA_ONSTACK`
    pub const ONSTACK: u64 = 0x0800_0000;
    /// `SA_RESTART`
    pub const RESTART: u64 = 0x1000_0000;
    /// `SA_NODEFER`
    pub const NODEFER: u64 = 0x4000_0000;
    /// `SA_RESETHAND`
    pub const RESETHAND: u64 = 0x8000_0000;
}

/// What the default action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultAction {
    /// Nothing.
    Ignore,
    /// The process stops until SIGCONT.
    Stop,
    /// The process ends.
    End,
}

/// The default action of `signal` (signal(7)).
#[must_use]
pub fn default_of(signal: u8) -> DefaultAction {
    match signal {
        number::CHLD | number::CONT | number::URG | number::WINCH => DefaultAction::Ignore,
        number::STOP | number::TSTP | number::TTIN | number::TTOU => DefaultAction::Stop,
        _ => DefaultAction::End,
    }
}

/// What a process does about each signal.
#[derive(Debug, Clone)]
pub struct Actions([Action; 64]);

static ACTIONS: Mutex<Actions> = Mutex::new(Actions([Action::none(); 64]));

impl Actions {
    /// What is done about `signal`.
    #[must_use]
    pub fn of(&self, signal: u8) -> Action {
        self.0[usize::from(signal) - 1]
    }

    /// Sets what is done about `signal`, or only tells it. Gives the old action.
    ///
    /// # Errors
    /// `EINVAL` for a number that is none or can't be changed.
    pub fn exchange(&mut self, signal: u64, new: Option<Action>) -> Result<Action, Errno> {
        let number = u8::try_from(signal).ok().filter(|n| (1..=number::MAX).contains(n)).ok_or(Errno::EINVAL)?;
        if new.is_some() && matches!(number, number::KILL | number::STOP) {
            return Err(Errno::EINVAL);
        }
        let slot = &mut self.0[usize::from(number) - 1];
        let old = *slot;
        if let Some(mut new) = new {
            new.mask = SigSet(new.mask).blockable().0;
            *slot = new;
        }
        Ok(old)
    }

    /// What execve(2) does: no handler is left, what is ignored stays so.
    pub fn forget_handlers(&mut self) {
        for action in &mut self.0 {
            *action = if action.handler == Action::IGNORE {
                Action { handler: Action::IGNORE, ..Action::none() }
            } else {
                Action::none()
            };
        }
    }

    /// The signals that are ignored by name.
    #[must_use]
    pub fn ignored(&self) -> SigSet {
        let ignored = (1..=number::MAX).filter(|signal| self.of(*signal).handler == Action::IGNORE);
        ignored.fold(SigSet::default(), |set, signal| set.or(SigSet::one(signal)))
    }
}

/// A copy of what the process does about each signal.
pub fn actions() -> Actions {
    ACTIONS.lock().clone()
}

/// What is done about `signal`.
pub fn action_of(signal: u8) -> Action {
    ACTIONS.lock().of(signal)
}

/// Whether children that end are not to be waited for (wait(2), notes): Linux does away with them at once, here the call
/// that waits passes over them.
pub fn children_vanish() -> bool {
    const SA_NOCLDWAIT: u64 = 2;
    let action = action_of(number::CHLD);
    action.handler == Action::IGNORE || action.flags & SA_NOCLDWAIT != 0
}

/// Whether a signal of this number would simply vanish.
pub fn is_ignored(signal: u8) -> bool {
    match action_of(signal).handler {
        Action::IGNORE => true,
        Action::DEFAULT => default_of(signal) == DefaultAction::Ignore,
        _ => false,
    }
}

/// Sets what the process does about `signal`, or only tells it. Gives the old action.
///
/// # Errors
/// `EINVAL` for a number that is none or can't be changed.
pub fn exchange_action(signal: u64, new: Option<Action>) -> Result<Action, Errno> {
    let old = ACTIONS.lock().exchange(signal, new)?;
    let number = signal as u8;
    if new.is_some() && is_ignored(number) {
        super::send::discard_everywhere(SigSet::one(number));
    }
    Ok(old)
}

/// The process executes another program.
pub fn forget_handlers() {
    ACTIONS.lock().forget_handlers();
}

/// Back to the default, for `SA_RESETHAND` and for faults that can't be handled.
pub(super) fn reset(signal: u8) {
    ACTIONS.lock().0[usize::from(signal) - 1].handler = Action::DEFAULT;
}

/// Boot: dispositions that the program inherits; `ignored` are SIG_IGN.
pub fn actions_reset(ignored: SigSet) {
    for (n, action) in (1..).zip(ACTIONS.lock().0.iter_mut()) {
        *action = Action::none();
        if ignored.contains(n) {
            action.handler = Action::IGNORE;
        }
    }
}
