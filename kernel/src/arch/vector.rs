//! The program's floating-point and vector registers while the kernel runs: an XSAVE area in
//! the standard (not compacted) format, as Linux puts it on signal frames.
//!
//! XSAVE and XRSTOR of all components take several times as long as everything else that a short system
//! call needs. So a call saves only what the kernel's own code may change, MXCSR and the xmm registers: it
//! is compiled for the baseline of x86-64, whose instructions leave the rest alone, also the upper parts of
//! the registers that they write to (Intel SDM volume 1, section 14.3). The rest stays in the registers and
//! is saved when the thread gives its core to another, or somebody looks at it.

use core::arch::asm;
use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Legacy region: x87, MXCSR and xmm registers.
pub const LEGACY_BYTES: usize = 512;
/// Legacy region and header.
pub const MIN_BYTES: usize = LEGACY_BYTES + 64;
/// Offset of the header's XSTATE_BV.
const XSTATE_BV: usize = 512;
/// Offset of MXCSR.
pub const MXCSR: usize = 24;
/// Offset of the first of the xmm registers, 16 bytes each.
pub const XMM: usize = 160;
/// The component of the xmm registers.
const SSE: u64 = 2;

static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes of an XSAVE area with all the components that the host has enabled.
#[must_use]
pub fn vector_bytes() -> usize {
    match BYTES.load(Ordering::Relaxed) {
        0 => {
            let bytes = raw_cpuid::CpuId::new()
                .get_extended_state_info()
                .map_or(MIN_BYTES, |info| info.xsave_area_size_enabled_features() as usize)
                .max(MIN_BYTES);
            BYTES.store(bytes, Ordering::Relaxed);
            bytes
        }
        bytes => bytes,
    }
}

/// XCR0: the components that may be restored.
#[must_use]
pub fn components() -> u64 {
    // SAFETY: the kernel requires XSAVE (checked at boot); XGETBV with index 0 is then allowed
    // at any privilege level.
    unsafe { xgetbv0() }
}

#[target_feature(enable = "xsave")]
fn xgetbv0() -> u64 {
    // SAFETY: register 0 always exists where XSAVE does.
    unsafe { core::arch::x86_64::_xgetbv(0) }
}

/// Assembly that saves MXCSR and the xmm registers in the area whose address is in register `$area`; operands
/// `mxcsr` and `xmm` are [`MXCSR`] and [`XMM`]. Whoever uses it sets the area's flag.
macro_rules! save_part {
    ($area:literal) => {
        concat!(
            "stmxcsr [",
            $area,
            " + {mxcsr}]\n",
            ".set tacet_xmm, {xmm}\n",
            ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n",
            "movaps [",
            $area,
            " + tacet_xmm], xmm\\n\n",
            ".set tacet_xmm, tacet_xmm + 16\n",
            ".endr\n"
        )
    };
}
pub(crate) use save_part;

/// An XSAVE area of one thread.
#[derive(Debug)]
#[repr(C)]
pub struct VectorArea {
    at: *mut u8,
    /// Whether only MXCSR and the xmm registers are in it, and the rest in the registers of the core
    /// whose kernel stack the thread stands on. Set where the thread enters the kernel.
    is_partial: Cell<bool>,
}

/// Where in an area the flag lies that says it is partial: for assembly of platforms.
pub const AREA_IS_PARTIAL: usize = core::mem::offset_of!(VectorArea, is_partial);

// SAFETY: plain memory, owned.
unsafe impl Send for VectorArea {}
// SAFETY: only its thread's core touches it (the scheduler's rule).
unsafe impl Sync for VectorArea {}

impl VectorArea {
    fn layout() -> core::alloc::Layout {
        // 64: XSAVE requires it. The size is a small number from CPUID.
        core::alloc::Layout::from_size_align(vector_bytes().next_multiple_of(64), 64)
            .unwrap_or(core::alloc::Layout::new::<[u64; MIN_BYTES / 8]>())
    }

    /// An area in the initial state; `None` when the kernel's heap is exhausted.
    #[must_use]
    pub fn new() -> Option<Self> {
        // SAFETY: the layout's size is not zero.
        let at = unsafe { alloc::alloc::alloc_zeroed(Self::layout()) };
        if at.is_null() {
            return None;
        }
        let area = VectorArea { at, is_partial: Cell::new(false) };
        area.reset();
        Some(area)
    }

    /// Back to the state in which Linux starts a program: XSTATE_BV 0 means "initial" for
    /// everything except MXCSR, which XRSTOR always loads.
    pub fn reset(&self) {
        self.is_partial.set(false);
        self.bytes_mut()[..MIN_BYTES].fill(0);
        self.bytes_mut()[0..2].copy_from_slice(&0x37fu16.to_le_bytes());
        self.bytes_mut()[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
    }

    /// Where it lies, aligned for XRSTOR.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.at
    }

    /// Somebody has written all of it by [`VectorArea::as_ptr`].
    pub fn is_whole(&self) {
        self.is_partial.set(false);
    }

    /// Whether only a part is in it.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.is_partial.get()
    }

    /// Saves what is still in the registers. Only the thread itself calls it for its area, where that is
    /// partial; another thread's is whole.
    pub fn complete(&self) {
        if self.is_partial.replace(false) {
            // SAFETY: the area has room for all components. The rest of the registers is this thread's
            // (see `is_partial`).
            unsafe { save_the_rest(self.at) };
        }
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.complete();
        // SAFETY: allocated with this size, initialised (zeroed).
        unsafe { core::slice::from_raw_parts(self.at, vector_bytes()) }
    }

    /// Its bytes, for changing.
    #[allow(clippy::mut_from_ref, reason = "only the owning thread's core uses the area")]
    #[must_use]
    pub fn bytes_mut(&self) -> &mut [u8] {
        self.complete();
        // SAFETY: as in `bytes`; the scheduler lets only the owning thread's core here.
        unsafe { core::slice::from_raw_parts_mut(self.at, vector_bytes()) }
    }

    /// Takes over an image that may come from the program (rt_sigreturn): the legacy region, or more. Gives
    /// whether it did: not what XRSTOR would refuse.
    #[must_use]
    pub fn load(&self, image: &[u8]) -> bool {
        let len = image.len().min(vector_bytes());
        let is_legacy = len < MIN_BYTES;
        if len < LEGACY_BYTES || !is_restorable(&image[..len], components()) {
            return false;
        }
        let bytes = self.bytes_mut();
        bytes[..len].copy_from_slice(&image[..len]);
        if is_legacy {
            bytes[XSTATE_BV..XSTATE_BV + 8].copy_from_slice(&3u64.to_le_bytes());
            bytes[XSTATE_BV + 8..MIN_BYTES].fill(0);
        }
        true
    }

    /// Copies another thread's state.
    pub fn copy_from(&self, other: &VectorArea) {
        self.bytes_mut().copy_from_slice(other.bytes());
    }
}

/// Whether XRSTOR takes an image, where these are the components that there are (Intel SDM volume 1, section
/// 13.8): no other component, standard format, nothing in reserved places.
fn is_restorable(image: &[u8], components: u64) -> bool {
    // Bits 16 and up of MXCSR are reserved.
    let control_is_valid = image[MXCSR + 2..MXCSR + 4] == [0; 2];
    let header_is_valid = image.get(XSTATE_BV..MIN_BYTES).is_none_or(|header| {
        let mut present = [0; 8];
        present.copy_from_slice(&header[..8]);
        u64::from_le_bytes(present) & !components == 0 && header[8..24] == [0; 16]
    });
    control_is_valid && header_is_valid
}

/// Adds all components but SSE to an area that has that one and MXCSR.
///
/// # Safety
/// `at` is an XSAVE area of [`vector_bytes`].
unsafe fn save_the_rest(at: *mut u8) {
    const ALL_BUT_SSE: u64 = !SSE;
    // SAFETY: the caller's promise. With AVX among the components MXCSR is written too, which has the
    // kernel's value by now.
    unsafe {
        let mxcsr = at.add(MXCSR).cast::<u32>();
        let programs = mxcsr.read();
        asm!(
            "xsave64 [{at}]",
            at = in(reg) at,
            in("eax") ALL_BUT_SSE as u32,
            in("edx") (ALL_BUT_SSE >> 32) as u32,
            options(nostack, preserves_flags),
        );
        mxcsr.write(programs);
        let present = at.add(XSTATE_BV).cast::<u64>();
        present.write(present.read() | SSE);
    }
}

impl Drop for VectorArea {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { alloc::alloc::dealloc(self.at, Self::layout()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xrstor_refuses_is_refused_before() {
        let image = |at: usize, value: u8| {
            let mut image = [0; MIN_BYTES];
            image[at] = value;
            image
        };
        assert!(is_restorable(&image(XSTATE_BV, 7), 7));
        assert!(!is_restorable(&image(XSTATE_BV, 8), 7));
        assert!(!is_restorable(&image(XSTATE_BV + 15, 0x80), 7), "compacted");
        assert!(!is_restorable(&image(XSTATE_BV + 16, 1), 7));
        assert!(is_restorable(&image(XSTATE_BV + 24, 1), 7));
        assert!(is_restorable(&image(XSTATE_BV, 8)[..LEGACY_BYTES], 7));
        assert!(!is_restorable(&image(MXCSR + 2, 1)[..LEGACY_BYTES], 7));
    }

    #[test]
    fn a_legacy_image_is_all_there_is() {
        let area = VectorArea::new().expect("memory");
        assert!(!area.load(&[0; 100]));
        let mut image = [0x5a; LEGACY_BYTES];
        image[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80u32.to_le_bytes());
        assert!(area.load(&image));
        assert_eq!(area.bytes()[XMM], 0x5a);
        assert_eq!(area.bytes()[XSTATE_BV], 3);
    }
}
