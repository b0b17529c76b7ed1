//! Whether the processor is software: QEMU without hardware support, as in the emulated node of
//! `scripts/node`.
//!
//! Under such an emulator an instruction takes what the emulator needs for it, so that times say
//! nothing of any machine. Counts and behaviour stay what they are.

use std::arch::x86_64::__cpuid;
use std::env;

use super::record;

/// Vendor of the leaves that a hypervisor adds to CPUID, when it is QEMU's own translator
/// (`target/i386/cpu.c` of QEMU, leaf 0x4000_0000). With KVM below, it is `KVMKVMKVM`.
const TRANSLATOR: &[u8; 12] = b"TCGTCGTCGTCG";

/// How QEMU calls its processors `max` and `base` when no hardware stands behind them. DMI would
/// not tell: its product is the same with KVM.
const TRANSLATED_MODEL: &str = "QEMU TCG CPU";

const HYPERVISOR_LEAF: u32 = 0x4000_0000;

/// Whoever knows of an emulator that is not recognised says so by the value 1 of this variable.
const SAID_SO: &str = "TACET_BENCH_EMULATED";

/// Whether this processor is emulated in software. `model` is the model name that Linux shows.
pub fn is_emulated(model: Option<&str>) -> bool {
    env::var_os(SAID_SO).is_some_and(|value| value == "1") || tells_emulation(&hypervisor_vendor(), model)
}

/// The same, by what Linux shows now.
pub fn is_emulated_here() -> bool {
    is_emulated(record::cpu_model().as_deref())
}

/// What a processor without a hypervisor answers is the content of another leaf, and no vendor.
fn hypervisor_vendor() -> [u8; 12] {
    let answer = __cpuid(HYPERVISOR_LEAF);
    let mut vendor = [0; 12];
    for (bytes, register) in vendor.chunks_exact_mut(4).zip([answer.ebx, answer.ecx, answer.edx]) {
        bytes.copy_from_slice(&register.to_le_bytes());
    }
    vendor
}

fn tells_emulation(vendor: &[u8; 12], model: Option<&str>) -> bool {
    vendor == TRANSLATOR || model.is_some_and(|model| model.starts_with(TRANSLATED_MODEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_translator_tells_by_its_vendor_or_its_model() {
        assert!(tells_emulation(b"TCGTCGTCGTCG", Some("Some CPU")));
        assert!(tells_emulation(&[0; 12], Some("QEMU TCG CPU version 2.5+")));
    }

    #[test]
    fn virtual_and_real_machines_are_not_emulated() {
        assert!(!tells_emulation(b"KVMKVMKVM\0\0\0", Some("QEMU Virtual CPU version 2.5+")));
        assert!(!tells_emulation(b"Microsoft Hv", Some("Intel(R) Xeon(R) Processor")));
        assert!(!tells_emulation(&[0; 12], None));
    }
}
