//! The page tables that a kernel on bare cores starts with: its own half of the address space.
//!
//! Source: AMD64 Architecture Programmer's Manual, volume 2, section 5.3.

const PAGE: u64 = 4096;
const ENTRIES: usize = 512;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const WRITE_THROUGH: u64 = 1 << 3;
const UNCACHED: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;

/// What a mapping is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Code that nobody writes.
    Code,
    /// Constants.
    Constants,
    /// Data.
    Data,
    /// Registers of a device.
    Device,
}

impl Use {
    fn flags(self) -> u64 {
        PRESENT
            | match self {
                Use::Code => GLOBAL,
                Use::Constants => GLOBAL | NO_EXECUTE,
                Use::Data => GLOBAL | WRITABLE | NO_EXECUTE,
                Use::Device => GLOBAL | WRITABLE | NO_EXECUTE | UNCACHED | WRITE_THROUGH,
            }
    }
}

/// The size of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
}

/// The area for tables is too small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the area for page tables is too small")]
pub struct Full;

/// Tables under construction, in memory whose physical addresses are known.
#[derive(Debug)]
pub struct Tables<'m, P> {
    memory: &'m mut [[u64; ENTRIES]],
    physical: P,
    used: usize,
}

impl<'m, P: Fn(usize) -> u64> Tables<'m, P> {
    /// In `memory`, which is zero; `physical` says where each of its pages lies.
    pub fn new(memory: &'m mut [[u64; ENTRIES]], physical: P) -> Self {
        Tables { memory, physical, used: 0 }
    }

    /// An empty table; gives its number.
    pub fn table(&mut self) -> Result<usize, Full> {
        let table = self.used;
        if table == self.memory.len() {
            return Err(Full);
        }
        self.used += 1;
        Ok(table)
    }

    /// Physical address of a table.
    pub fn address(&self, table: usize) -> u64 {
        (self.physical)(table)
    }

    /// Tables in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Maps one page under the top table `root`.
    pub fn map(&mut self, root: usize, at: u64, physical: u64, size: Size, purpose: Use) -> Result<(), Full> {
        let levels: &[u32] = if size == Size::Large { &[39, 30] } else { &[39, 30, 21] };
        let mut table = root;
        for shift in levels {
            table = self.below(table, index_of(at, *shift))?;
        }
        let (shift, large) = if size == Size::Large { (21, LARGE) } else { (12, 0) };
        self.memory[table][index_of(at, shift)] = physical | purpose.flags() | large;
        Ok(())
    }

    /// The table behind an entry, made if there is none.
    fn below(&mut self, table: usize, index: usize) -> Result<usize, Full> {
        let word = self.memory[table][index];
        if word == 0 {
            let below = self.table()?;
            self.memory[table][index] = self.address(below) | PRESENT | WRITABLE;
            return Ok(below);
        }
        let address = word & 0x000f_ffff_ffff_f000;
        (0..self.used).rev().find(|table| self.address(*table) == address).ok_or(Full)
    }
}

fn index_of(at: u64, shift: u32) -> usize {
    (at >> shift) as usize % ENTRIES
}

/// Tables for so many bytes of memory: for the kernel's half, and so that the program's can be
/// mapped in small pages, scattered.
pub fn bytes_for(memory: u64) -> u64 {
    (memory / 64 + (4 << 20)).next_multiple_of(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Physical address that `at` leads to.
    fn walk(tables: &Tables<'_, impl Fn(usize) -> u64>, root: usize, at: u64) -> Option<u64> {
        let mut table = root;
        for shift in [39, 30, 21, 12] {
            let word = tables.memory[table][index_of(at, shift)];
            let address = word & 0x000f_ffff_ffff_f000;
            if word & PRESENT == 0 {
                return None;
            }
            if shift == 12 || word & LARGE != 0 {
                return Some(address + at % (1 << shift));
            }
            table = (0..tables.used()).find(|table| tables.address(*table) == address)?;
        }
        None
    }

    #[test]
    fn pages_are_found_again() {
        let mut memory = vec![[0; ENTRIES]; 16];
        let mut tables = Tables::new(&mut memory, |table| 0x70_0000 + table as u64 * 0x3000);
        let root = tables.table().expect("room");
        let places =
            [(0xffff_8000_0000_0000, Size::Large), (0xffff_8000_4020_0000, Size::Large), (0x1000, Size::Small)];
        for (number, (at, size)) in places.iter().enumerate() {
            tables.map(root, *at, number as u64 * 0x20_0000, *size, Use::Data).expect("room");
        }
        for (number, (at, _)) in places.iter().enumerate() {
            assert_eq!(walk(&tables, root, at + 0x123), Some(number as u64 * 0x20_0000 + 0x123));
        }
        assert_eq!(walk(&tables, root, 0x2000), None);
    }

    #[test]
    fn too_little_room_is_told() {
        let mut memory = vec![[0; ENTRIES]; 3];
        let mut tables = Tables::new(&mut memory, |table| table as u64 * PAGE);
        let root = tables.table().expect("room");
        assert_eq!(tables.map(root, 0, 0, Size::Small, Use::Data), Err(Full));
    }
}
