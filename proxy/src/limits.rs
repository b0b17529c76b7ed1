//! Limits of resources that are the program's and would hit proxy and cell instead (getrlimit(2)).
//!
//! Linux would count the whole of the cell's memory, and on bare cores, of which it sees no time, the time
//! of the proxy. The kernel keeps to these limits in the program's place; the proxy lifts its own as far as it may.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// A limit as the program inherits it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// `RLIMIT_AS` and its like.
    pub resource: i32,
    /// The limit in force.
    pub soft: u64,
    /// How far it may be raised.
    pub hard: u64,
}

/// Lifts them for this process, and for the cell's, which is to be its child. Gives what they were, where
/// there were any.
pub fn lift(on_bare_cores: bool) -> Result<Vec<Inherited>, nix::Error> {
    let time = on_bare_cores.then_some(Resource::RLIMIT_CPU);
    let mut all = Vec::new();
    for resource in [Resource::RLIMIT_AS, Resource::RLIMIT_DATA].into_iter().chain(time) {
        let (soft, hard) = getrlimit(resource)?;
        if (soft, hard) == (RLIM_INFINITY, RLIM_INFINITY) {
            continue;
        }
        // The hard limit is for the privileged to lift.
        if setrlimit(resource, RLIM_INFINITY, RLIM_INFINITY).is_err() {
            setrlimit(resource, hard, hard)?;
        }
        all.push(Inherited { resource: resource as i32, soft, hard });
    }
    Ok(all)
}

/// The soft and hard limit of `resource` among `all`.
pub fn of(all: &[Inherited], resource: Resource) -> [u64; 2] {
    let found = all.iter().find(|limit| limit.resource == resource as i32);
    found.map_or([RLIM_INFINITY; 2], |limit| [limit.soft, limit.hard])
}

/// What to do where memory is refused: whether a limit stands that could not be lifted.
pub fn advice() -> &'static str {
    match getrlimit(Resource::RLIMIT_AS) {
        Ok((_, hard)) if hard != RLIM_INFINITY => {
            "the hard limit of the address space (`ulimit -H -v`) also counts the memory of the cell, and more than \
             once: set the soft one (`ulimit -S -v`), to which the program is kept, or give less with --memory"
        }
        _ => "see `ulimit -a`, and `--log debug` for what came before",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_limited_is_infinite() {
        let all = [Inherited { resource: libc::RLIMIT_DATA as i32, soft: 7, hard: 9 }];
        assert_eq!(of(&all, Resource::RLIMIT_DATA), [7, 9]);
        assert_eq!(of(&all, Resource::RLIMIT_AS), [u64::MAX; 2]);
    }
}
