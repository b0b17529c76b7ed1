//! Page sizes: random access to the same set, in pages of each size that can be asked for. What differs
//! is the work of the TLBs and of the page walks behind them.
//!
//! A kernel may give other pages than it was asked for. Where `/proc/self/smaps` says so, or says nothing
//! of this memory, a name with a page size would promise too much: the measure is not taken.

use super::random::{self, Effort};
use super::sizes::MIB;
use super::{Bench, Findings, refusal};
use crate::error::Failure;
use crate::machine::mapping::{Mapping, PageKind};
use crate::report::{CurvePoint, Measure};

const KINDS: [PageKind; 4] = [PageKind::Small, PageKind::Transparent, PageKind::Pool2M, PageKind::Pool1G];
const EFFORT: Effort = Effort { per_word: 1, budget_seconds: 1.0 };
/// A transparent mapping may begin and end between two large pages.
const LARGE_ENOUGH_PERCENT: usize = 90;

/// A set of `bytes`.
pub(super) fn measure(bench: &Bench, bytes: usize, findings: &mut Findings) -> Result<(), Failure> {
    for kind in KINDS {
        let name = name(kind);
        let mut memory = match prepare(bench, bytes, kind) {
            Ok(memory) => memory,
            Err(reason) => {
                findings.miss(&name, &reason);
                continue;
            }
        };
        let samples = random::measure(&bench.clock, memory.words(), EFFORT).map_err(Failure::new)?;
        findings.measures.push(Measure { curve: point(kind), ..Measure::time(&name, samples) });
    }
    Ok(())
}

fn name(kind: PageKind) -> String {
    format!("pages-{}", kind.name())
}

/// The set, touched, in the pages that its name says.
fn prepare(bench: &Bench, bytes: usize, kind: PageKind) -> Result<Mapping, String> {
    bench.machine.require(bytes, kind)?;
    let mut memory = Mapping::new(bytes, kind).map_err(|error| refusal(&error, kind, bytes / MIB))?;
    memory.words().fill(1);
    check(kind, memory.large_bytes(), bytes)?;
    Ok(memory)
}

/// Refuses pages that are not those asked for. Pages of a pool are by nature.
fn check(kind: PageKind, large: Option<usize>, bytes: usize) -> Result<(), String> {
    let large = match (kind, large) {
        (PageKind::Pool2M | PageKind::Pool1G | PageKind::Default, _) => return Ok(()),
        (_, None) => return Err("this kernel does not tell in /proc/self/smaps which pages it gave".to_owned()),
        (_, Some(large)) => large,
    };
    let fits = match kind {
        PageKind::Small => large == 0,
        _ => large >= bytes / 100 * LARGE_ENOUGH_PERCENT,
    };
    match (fits, kind) {
        (true, _) => Ok(()),
        (false, PageKind::Small) => {
            Err(format!("asked for 4 KiB pages, the kernel gave large ones for {} of {} MiB", large / MIB, bytes / MIB))
        }
        (false, _) => Err(format!(
            "asked for large pages, the kernel gave them for {} of {} MiB; see /sys/kernel/mm/transparent_hugepage/enabled",
            large / MIB,
            bytes / MIB
        )),
    }
}

/// Advised pages and those of the pool make a curve each: at 2 MiB both have a point.
fn point(kind: PageKind) -> Option<CurvePoint> {
    let (curve, page) = match kind {
        PageKind::Default => return None,
        PageKind::Small => ("page-size", 4096),
        PageKind::Transparent => ("page-size", 2 * MIB),
        PageKind::Pool2M | PageKind::Pool1G => ("page-size-pool", kind.pool_page()?),
    };
    Some(CurvePoint { curve: curve.to_owned(), x: page as f64, x_label: "bytes".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_pages_than_asked_for_are_refused_with_what_came() {
        let set = 100 * MIB;
        assert_eq!(check(PageKind::Small, Some(0), set), Ok(()));
        assert!(check(PageKind::Small, Some(2 * MIB), set).unwrap_err().contains("large ones for 2 of 100 MiB"));
        assert_eq!(check(PageKind::Transparent, Some(98 * MIB), set), Ok(()));
        assert!(check(PageKind::Transparent, Some(0), set).unwrap_err().contains("gave them for 0 of 100 MiB"));
        assert!(check(PageKind::Transparent, None, set).unwrap_err().contains("does not tell"));
        assert_eq!(check(PageKind::Pool2M, None, set), Ok(()));
    }

    #[test]
    fn points_lie_at_their_page_size() {
        let points: Vec<f64> = KINDS.iter().filter_map(|&kind| Some(point(kind)?.x)).collect();
        assert_eq!(points, [4096.0, 2097152.0, 2097152.0, 1073741824.0]);
    }
}
