//! Starting a kernel: its image, and one maker per platform.

pub mod image;
pub mod info;
pub mod process;
mod vdso;
