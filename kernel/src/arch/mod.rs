//! The CPU: registers of a program, switching between stacks, copies that may fault.
//!
//! All assembly of the kernel that is not a platform's own lives here. Source for the
//! instructions: AMD64 Architecture Programmer's Manual, volumes 2 and 3.

use core::sync::atomic::{AtomicU32, Ordering};

mod context;
mod frame;
mod guarded;
mod memory;
mod vector;

pub use context::{
    KERNEL_STACK, StackHead, enter_on_stack, leave_to_user, prepare_stack, return_window, share_ring, stack_head,
    switch,
};
pub use frame::{TrapFrame, USER_CS, USER_CS_32, USER_SS};
pub use guarded::{
    Inaccessible, guarded_cas_u32, guarded_copy, guarded_fixup, guarded_load_u32, set_access_prevention,
};
pub(crate) use vector::save_part;
pub use vector::{AREA_IS_PARTIAL, MXCSR, VectorArea, XMM, components as vector_components, vector_bytes};

/// Time-stamp counter, ordered after everything before it.
#[must_use]
pub fn timestamp() -> u64 {
    let mut aux = 0;
    // SAFETY: RDTSCP is available on every CPU this kernel supports (x86-64-v2 and later) and
    // touches no memory but `aux`.
    unsafe { core::arch::x86_64::__rdtscp(&raw mut aux) }
}

/// How often code was changed that other cores may execute.
static CODE_CHANGES: AtomicU32 = AtomicU32::new(0);

/// Code was changed while no other core was in the program.
pub fn code_changed() {
    CODE_CHANGES.fetch_add(1, Ordering::SeqCst);
}

/// On a core's way to the program, which has last seen the change `seen`: what the core may have fetched of changed
/// code is done away with by a serialising instruction (Intel SDM volume 3, 9.1.3, "Handling Self- and Cross-Modifying
/// Code").
pub fn see_code(seen: &AtomicU32) {
    let now = CODE_CHANGES.load(Ordering::SeqCst);
    if seen.load(Ordering::Relaxed) != now {
        let _ = core::arch::x86_64::__cpuid(0);
        seen.store(now, Ordering::Relaxed);
    }
}
