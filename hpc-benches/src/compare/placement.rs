//! Which cores are measured, and which are left alone.

use std::io;

use super::workload::Workload;
use crate::error::Failure;
use crate::machine::host;

/// The cores that this process may use.
pub fn allowed_cores() -> Result<Vec<usize>, Failure> {
    host::allowed_cores().map_err(|error| {
        Failure::new(format!("cannot read this process's affinity mask: {error}; start it outside any sandbox"))
    })
}

/// The core of the suites that use one.
pub fn choose_core(asked: Option<usize>, allowed: &[usize]) -> Result<usize, Failure> {
    match asked {
        None => allowed
            .last()
            .copied()
            .ok_or_else(|| Failure::new("this process may run on no core; start it without an affinity mask")),
        Some(core) if allowed.contains(&core) => Ok(core),
        Some(core) => {
            let list: Vec<String> = allowed.iter().map(usize::to_string).collect();
            Err(Failure::with_status(
                2,
                format!("core {core} is not among the cores this process may use; choose one of {}", list.join(", ")),
            ))
        }
    }
}

/// Cores that `workload` leaves alone: of those that this process may use, or, where it measures all of them, of
/// those that Linux runs.
pub fn spare_cores(workload: &Workload, core: usize) -> Vec<usize> {
    let measured = if workload.runs_on_one_core() { vec![core] } else { workload.all_cores().to_vec() };
    let without = |cores: io::Result<Vec<usize>>| -> Vec<usize> {
        cores.unwrap_or_default().into_iter().filter(|core| !measured.contains(core)).collect()
    };
    let allowed = match measured.as_slice() {
        // Nobody says which cores an MPI launcher or a program with threads uses.
        [] => return Vec::new(),
        _ => without(host::allowed_cores()),
    };
    if allowed.is_empty() { without(host::online_cores()) } else { allowed }
}

/// The cores of `spare` that this process may use itself.
pub fn bar_cores(spare: &[usize]) -> Vec<usize> {
    let allowed = host::allowed_cores().unwrap_or_default();
    spare.iter().copied().filter(|core| allowed.contains(core)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_allowed_core_is_the_default() {
        assert_eq!(choose_core(None, &[0, 2, 5]).unwrap(), 5);
        assert_eq!(choose_core(Some(2), &[0, 2, 5]).unwrap(), 2);
        let failure = choose_core(Some(1), &[0, 2, 5]).unwrap_err();
        assert!(failure.to_string().ends_with("choose one of 0, 2, 5"));
        assert!(choose_core(None, &[]).is_err());
    }
}
