//! Statistics on plain numbers. Pure: nothing here reads a clock or the machine, so all of it is
//! tested on synthetic data with known answers.

pub mod causes;
pub mod detour;
pub mod histogram;
pub mod quanta;
pub mod summary;
pub mod verdict;
