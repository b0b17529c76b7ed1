//! The host's vDSO: what time it is without entering Linux (vdso(7)).
//!
//! The program finds the same vDSO through its auxiliary vector. The kernel calls its
//! clock_gettime only where the proxy has found that it never falls back to a system call on
//! this machine: that would come from outside the image.

use super::host;

/// `int clock_gettime(clockid_t, struct timespec *)`
type ClockGettime = extern "C" fn(id: i32, at: *mut [u64; 2]) -> i32;

/// How to read clocks.
#[derive(Debug)]
pub struct Clock {
    by_vdso: Option<ClockGettime>,
}

impl Clock {
    /// By the function at `address`, or by system calls if that is 0.
    pub fn at(address: u64) -> Self {
        // SAFETY: the proxy has found the symbol `__vdso_clock_gettime` there, whose type is
        // part of the vDSO's ABI; the mapping stays.
        let function = || unsafe { core::mem::transmute::<u64, ClockGettime>(address) };
        Clock { by_vdso: (address != 0).then(function) }
    }

    /// Nanoseconds of a clock that always exists.
    pub fn read(&self, id: u32) -> u64 {
        if let Some(clock_gettime) = self.by_vdso {
            let mut at = [0; 2];
            if clock_gettime(id as i32, &raw mut at) == 0 {
                return at[0] * 1_000_000_000 + at[1];
            }
        }
        host::clock_gettime(id).unwrap_or(0)
    }
}
