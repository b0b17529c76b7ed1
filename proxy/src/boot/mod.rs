//! Starting a kernel: its image, and one maker per platform.

mod clock;
pub mod image;
pub mod info;
pub mod partition;
mod places;
pub mod process;
mod tables;
mod trampoline;
mod vdso;
