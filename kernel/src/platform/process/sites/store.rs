//! Stores into code that other cores may be executing.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use super::JUMP;

/// How five bytes can be written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// Within eight aligned bytes.
    Eight,
    /// Within sixteen aligned bytes.
    Sixteen,
    /// Byte by byte: nobody else executes the program meanwhile.
    Alone,
}

impl Store {
    pub fn of(at: u64) -> Option<Store> {
        match at % 16 {
            offset if offset % 8 + JUMP as u64 <= 8 => Some(Store::Eight),
            offset if offset + JUMP as u64 <= 16 => Some(Store::Sixteen),
            _ => (crate::sched::cores().len() == 1).then_some(Store::Alone),
        }
    }

    /// # Safety
    /// The bytes are writable, and nobody else writes to the sixteen around them.
    pub unsafe fn write(self, at: u64, bytes: [u8; JUMP]) {
        // SAFETY: the caller's promise; the aligned word around a writable byte is in its page.
        unsafe {
            match self {
                Store::Eight => {
                    let word = (at & !7) as *mut u64;
                    let mut new = word.read_volatile().to_le_bytes();
                    let offset = (at % 8) as usize;
                    new[offset..offset + JUMP].copy_from_slice(&bytes);
                    AtomicU64::from_ptr(word).store(u64::from_le_bytes(new), Ordering::SeqCst);
                }
                Store::Sixteen => {
                    let words = (at & !15) as *mut [u64; 2];
                    let old = words.read_volatile();
                    let mut new = [0; 16];
                    new[..8].copy_from_slice(&old[0].to_le_bytes());
                    new[8..].copy_from_slice(&old[1].to_le_bytes());
                    let offset = (at % 16) as usize;
                    new[offset..offset + JUMP].copy_from_slice(&bytes);
                    let half = |at: usize| {
                        let mut word = [0; 8];
                        word.copy_from_slice(&new[at..at + 8]);
                        u64::from_le_bytes(word)
                    };
                    exchange(words.cast(), old, [half(0), half(8)]);
                }
                Store::Alone => (at as *mut [u8; JUMP]).write_volatile(bytes),
            }
        }
    }
}

/// Replaces sixteen aligned bytes that are `old` at once.
///
/// # Safety
/// They are writable.
unsafe fn exchange(at: *mut u64, old: [u64; 2], new: [u64; 2]) {
    // SAFETY: the caller's promise. rbx is the compiler's own and so is put back.
    unsafe {
        asm!(
            "xchg {low}, rbx",
            "lock cmpxchg16b [{at}]",
            "mov rbx, {low}",
            at = in(reg) at,
            low = inout(reg) new[0] => _,
            inout("rax") old[0] => _,
            inout("rdx") old[1] => _,
            in("rcx") new[1],
            options(nostack),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_that_nobody_sees_in_half() {
        assert_eq!(Store::of(0x1000), Some(Store::Eight));
        assert_eq!(Store::of(0x1003), Some(Store::Eight));
        assert_eq!(Store::of(0x1004), Some(Store::Sixteen));
        assert_eq!(Store::of(0x100b), Some(Store::Eight));
        #[repr(align(16))]
        struct Aligned([u8; 32]);
        for offset in [0, 3, 4, 7, 8, 11] {
            let mut memory = Aligned([0xaa; 32]);
            let at = memory.0.as_mut_ptr() as u64 + offset;
            // SAFETY: own memory.
            unsafe { Store::of(at).expect("possible").write(at, [1, 2, 3, 4, 5]) };
            let mut expected = [0xaa; 32];
            expected[offset as usize..offset as usize + 5].copy_from_slice(&[1, 2, 3, 4, 5]);
            assert_eq!(memory.0, expected, "{offset}");
        }
    }
}
