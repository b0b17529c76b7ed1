//! From a file to a program that can start: ELF, mappings, the first stack.

pub mod elf;
pub mod exec;
pub mod load;
pub mod stack;
mod started;

pub use started::{Started, started};
