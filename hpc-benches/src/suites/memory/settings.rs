//! What the suite is asked for: parts, pages and sizes; and which processes take which parts.

use clap::{Args, ValueEnum};

use super::sizes::Machine;
use crate::error::Failure;
use crate::machine::host;
use crate::machine::mapping::PageKind;

/// 2³¹ lines.
const LARGEST_CHASE_MIB: usize = 1 << 17;

/// Parameters of the suite; both sides of a comparison get the same.
#[derive(Args, Clone, Debug)]
#[group(id = "memory-settings")]
pub struct Settings {
    /// Take these parts alone
    #[arg(long, value_name = "PART", value_enum, value_delimiter = ',')]
    pub part: Vec<Part>,
    /// Pages of STREAM, random access and the pointer chase
    #[arg(long, value_name = "KIND", value_enum, default_value = "default")]
    pub pages: PageKind,
    /// Size of each array of STREAM [default: four times the last-level cache]
    #[arg(long, value_name = "MIB", value_parser = mebibytes)]
    pub array_mib: Option<usize>,
    /// Size of the set of random access and page sizes, a power of two [default: as the arrays of STREAM]
    #[arg(long, value_name = "MIB", value_parser = mebibytes)]
    pub set_mib: Option<usize>,
    /// Largest set of the pointer chase, a power of two [default: 512, or a quarter of the memory]
    #[arg(long, value_name = "MIB", value_parser = mebibytes)]
    pub chase_mib: Option<usize>,
    /// How much to touch for the first time
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = mebibytes)]
    pub touch_mib: usize,
}

/// A part of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// First touch of 4 KiB pages
    #[value(name = "first-touch-4k")]
    FirstTouchSmall,
    /// First touch of transparent large pages
    #[value(name = "first-touch-thp")]
    FirstTouchTransparent,
    /// First touch of 2 MiB pages of the pool
    #[value(name = "first-touch-2m")]
    FirstTouch2M,
    /// First touch of 1 GiB pages of the pool
    #[value(name = "first-touch-1g")]
    FirstTouch1G,
    /// The four kernels of STREAM
    Stream,
    /// Random access (GUPS)
    RandomAccess,
    /// Pointer chase over growing sets
    Chase,
    /// Random access by page size
    PageSizes,
}

impl Part {
    /// The pages that a first touch asks for. It goes first, and a comparison gives it a process of its own
    /// and runs it twice in a row: memory that a process had is not touched for the first time, and on a
    /// virtual machine the first run may pay the host for memory that nobody used before.
    pub(super) fn first_touch(self) -> Option<PageKind> {
        match self {
            Self::FirstTouchSmall => Some(PageKind::Small),
            Self::FirstTouchTransparent => Some(PageKind::Transparent),
            Self::FirstTouch2M => Some(PageKind::Pool2M),
            Self::FirstTouch1G => Some(PageKind::Pool1G),
            Self::Stream | Self::RandomAccess | Self::Chase | Self::PageSizes => None,
        }
    }

    fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

impl Settings {
    /// The options of the processes that together measure what these settings ask for, with the sizes that
    /// this machine asks for.
    pub fn processes(&self) -> Vec<Vec<String>> {
        let sizes = self.sized(Machine::of(host::current_core())).size_arguments();
        let names = self.groups().into_iter().map(|parts| parts.into_iter().map(Part::name).collect::<Vec<_>>());
        names.map(|names| [sizes.clone(), vec![format!("--part={}", names.join(","))]].concat()).collect()
    }

    /// For each of [`Settings::processes`]: whether a run of it that does not count goes before.
    pub fn rehearsals(&self) -> Vec<bool> {
        self.groups().iter().map(|parts| parts.iter().any(|part| part.first_touch().is_some())).collect()
    }

    /// The parts of each process: the first touches alone, the others together.
    fn groups(&self) -> Vec<Vec<Part>> {
        let (alone, together): (Vec<Part>, Vec<Part>) = self.wanted().partition(|part| part.first_touch().is_some());
        let together = (!together.is_empty()).then_some(together);
        alone.into_iter().map(|part| vec![part]).chain(together).collect()
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = Part> {
        Part::value_variants().iter().copied().filter(|part| self.part.is_empty() || self.part.contains(part))
    }

    /// With the sizes that follow from `machine` where none are given. What does not follow stays open.
    pub(super) fn sized(&self, machine: Machine) -> Self {
        Self {
            array_mib: self.array_mib.or(machine.array_mib()),
            set_mib: self.set_mib.or(machine.set_mib()),
            chase_mib: self.chase_mib.or(Some(machine.chase_mib())),
            ..self.clone()
        }
    }

    fn size_arguments(&self) -> Vec<String> {
        let sizes = [("array", self.array_mib), ("set", self.set_mib), ("chase", self.chase_mib)];
        let sizes = sizes.iter().filter_map(|(name, size)| Some(format!("--{name}-mib={}", (*size)?)));
        let further = [format!("--touch-mib={}", self.touch_mib), format!("--pages={}", self.pages.name())];
        sizes.chain(further).collect()
    }

    /// Refuses sets whose size is no power of two, or too large for the numbers of its lines.
    pub fn check(&self) -> Result<(), Failure> {
        if self.chase_mib > Some(LARGEST_CHASE_MIB) {
            let message = format!("--chase-mib must be at most {LARGEST_CHASE_MIB}: its lines have numbers of 32 bits");
            return Err(Failure::with_status(2, message));
        }
        for (option, size) in [("--set-mib", self.set_mib), ("--chase-mib", self.chase_mib)] {
            if let Some(size) = size.filter(|size| !size.is_power_of_two()) {
                let next = size.next_power_of_two();
                let message = format!("{option} must be a power of two, not {size}; give {} or {next}", next / 2);
                return Err(Failure::with_status(2, message));
            }
        }
        Ok(())
    }
}

fn mebibytes(text: &str) -> Result<usize, String> {
    // Below 16 TiB, so that no size in bytes overflows.
    match text.parse() {
        Ok(size @ 1..=0xFF_FFFF) => Ok(size),
        _ => Err("a whole number of MiB from 1 on is needed".to_owned()),
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
