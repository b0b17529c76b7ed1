//! One core: its descriptor tables, its stacks, its registers.
//!
//! ```text
//! a core's own area, CORE_BYTES:
//! 0          CoreArea: GDT, TSS, what the entry of system calls needs
//! 32 KiB     stack of faults          IST 1
//! 64 KiB     stack of NMIs            IST 2
//! 96 KiB     stack of double faults   IST 3
//! 128 KiB    stack of machine checks  IST 4
//! 160 KiB    stack of interrupts      IST 5
//! 192 KiB    stack of debug traps     IST 6
//! ...
//! 512 KiB    end of the stack that the core starts on
//! ```
//!
//! Each of the stacks begins with a pointer to the area, so that whoever runs on one finds it
//! from the stack pointer.

use core::ptr;
use core::sync::atomic::AtomicU32;

use shm_ipc::bare::{Bare, CORE_BYTES, STACK_BYTES};
use x86_64::VirtAddr;
use x86_64::instructions::segmentation::{CS, DS, ES, FS, GS, SS, Segment};
use x86_64::instructions::tables::load_tss;
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::{LStar, Msr, SFMask};
use x86_64::registers::rflags::RFlags;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;

use super::traps;
use crate::sched::core::Core;

/// Number of interrupt stacks.
const STACKS: u64 = 6;

/// What a core needs before it knows anything else.
#[repr(C)]
#[derive(Debug)]
pub struct CoreArea {
    /// Where this lies: also what each of the stacks begins with.
    pub own: *const CoreArea,
    /// The place that says which thread the core runs; the entry of system calls looks there.
    pub running: *const (),
    /// The program's stack pointer, for a moment.
    pub scratch: u64,
    /// The scheduler's core; null before there is one.
    pub core: *const Core,
    /// Position among the cell's cores.
    pub index: u32,
    /// Non-maskable interrupts of the cell that may still come. The core's own handler's.
    pub owed: AtomicU32,
    gdt: GlobalDescriptorTable<10>,
    tss: TaskStateSegment,
}

/// Offsets that the assembly in [`traps`] uses.
pub const RUNNING: usize = core::mem::offset_of!(CoreArea, running);
/// See [`RUNNING`].
pub const SCRATCH: usize = core::mem::offset_of!(CoreArea, scratch);

const _: () = assert!(core::mem::offset_of!(CoreArea, own) == 0);
const _: () = assert!(size_of::<CoreArea>() as u64 <= STACK_BYTES && (STACKS + 2) * STACK_BYTES <= CORE_BYTES);

/// Kernel code, as on Linux; the data segment follows it (SYSCALL wants that).
pub const KERNEL_CS: u16 = 0x10;
/// Base of the selectors that SYSRET would load.
const SYSRET_BASE: u16 = 0x23;

impl CoreArea {
    /// Prepares the area of the core with this index. The stacks are zero.
    ///
    /// # Safety
    /// `at` is the core's area, used by nobody else, for good.
    pub unsafe fn prepare(at: *mut u8, index: u32) -> &'static mut CoreArea {
        let area = at.cast::<CoreArea>();
        let mut tss = TaskStateSegment::new();
        for stack in 1..=STACKS {
            // SAFETY: within the area.
            let base = unsafe { at.add((stack * STACK_BYTES) as usize) };
            // SAFETY: the lowest word of a stack of its own.
            unsafe { base.cast::<*const CoreArea>().write(area) };
            tss.interrupt_stack_table[stack as usize - 1] = VirtAddr::new(base as u64 + STACK_BYTES);
        }
        let gdt = GlobalDescriptorTable::empty();
        let value = CoreArea {
            own: area,
            running: ptr::null(),
            scratch: 0,
            core: ptr::null(),
            index,
            owed: AtomicU32::new(0),
            gdt,
            tss,
        };
        // SAFETY: the caller's promise.
        unsafe {
            area.write(value);
            &mut *area
        }
    }

    /// Loads the descriptor tables of this core.
    pub fn load_tables(&'static mut self) -> &'static CoreArea {
        /// Code and data segments with the bits that 64-bit mode looks at.
        const KERNEL_CODE: u64 = 0x00af_9b00_0000_ffff;
        const DATA: u64 = 0x00cf_9300_0000_ffff;
        const USER_CODE_32: u64 = 0x00cf_fb00_0000_ffff;
        const USER_DATA: u64 = 0x00cf_f300_0000_ffff;
        const USER_CODE: u64 = 0x00af_fb00_0000_ffff;
        // In the order that gives them Linux's numbers (arch/x86/include/asm/segment.h).
        for segment in [0, KERNEL_CODE, DATA, USER_CODE_32, USER_DATA, USER_CODE, 0] {
            self.gdt.append(Descriptor::UserSegment(segment));
        }
        let this: &'static CoreArea = {
            let tss: *const TaskStateSegment = &raw const self.tss;
            // SAFETY: lives as long as the core, and is not changed any more.
            let selector = self.gdt.append(unsafe { Descriptor::tss_segment_unchecked(tss) });
            let this: &'static CoreArea = self;
            this.gdt.load();
            // SAFETY: the table was just loaded and has these segments.
            unsafe {
                CS::set_reg(SegmentSelector(KERNEL_CS));
                SS::set_reg(SegmentSelector(KERNEL_CS + 8));
                for null in [DS::set_reg, ES::set_reg, FS::set_reg, GS::set_reg] {
                    null(SegmentSelector::NULL);
                }
                load_tss(selector);
            }
            this
        };
        traps::load();
        this
    }

    /// The core's place in memory, for the entry of system calls.
    pub fn address(&self) -> u64 {
        self.own as u64
    }
}

/// A bit of a control register, if the CPU has the feature.
fn wanted(features: &raw_cpuid::ExtendedFeatures) -> Cr4Flags {
    let mut flags = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::MACHINE_CHECK_EXCEPTION
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE
        | Cr4Flags::OSXSAVE;
    flags.set(Cr4Flags::FSGSBASE, features.has_fsgsbase());
    flags.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, features.has_smep());
    flags.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, features.has_smap());
    flags
}

/// What the CPU lacks that the kernel can't do without.
pub fn missing_feature() -> Option<&'static str> {
    let cpuid = raw_cpuid::CpuId::new();
    let has = |there: bool, name| if there { None } else { Some(name) };
    let basic = cpuid.get_feature_info();
    let more = cpuid.get_extended_feature_info();
    has(basic.as_ref().is_some_and(raw_cpuid::FeatureInfo::has_xsave), "XSAVE")
        .or_else(|| has(more.is_some_and(|more| more.has_fsgsbase()), "FSGSBASE"))
}

/// Sets the registers of this core as the kernel and the program need them.
pub fn set_registers(bare: &Bare, area: &CoreArea, cpu: u32, numa_node: u64) {
    let features = raw_cpuid::CpuId::new().get_extended_feature_info();
    let cr4 = features.as_ref().map_or(Cr4Flags::empty(), wanted);
    // SAFETY: the flags that the kernel is written for; nothing is taken away that runs.
    unsafe {
        Cr0::write_raw(
            (Cr0Flags::PAGING
                | Cr0Flags::WRITE_PROTECT
                | Cr0Flags::NUMERIC_ERROR
                | Cr0Flags::EXTENSION_TYPE
                | Cr0Flags::MONITOR_COPROCESSOR
                | Cr0Flags::PROTECTED_MODE_ENABLE)
                .bits(),
        );
        Cr4::write_raw(cr4.bits());
        core::arch::asm!("xor ecx, ecx", "xsetbv", in("eax") bare.xcr0 as u32, in("edx") (bare.xcr0 >> 32) as u32, out("ecx") _, options(nomem, nostack));
        Efer::write_raw(
            (EferFlags::SYSTEM_CALL_EXTENSIONS
                | EferFlags::LONG_MODE_ENABLE
                | EferFlags::LONG_MODE_ACTIVE
                | EferFlags::NO_EXECUTE_ENABLE)
                .bits(),
        );
        set_model_specific(bare, area, cpu, numa_node);
    }
    crate::arch::set_access_prevention(cr4.contains(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION));
}

/// # Safety
/// On a core of the cell.
unsafe fn set_model_specific(bare: &Bare, area: &CoreArea, cpu: u32, numa_node: u64) {
    const STAR: u32 = 0xc000_0081;
    const CSTAR: u32 = 0xc000_0083;
    const KERNEL_GS_BASE: u32 = 0xc000_0102;
    const TSC_AUX: u32 = 0xc000_0103;
    const SYSENTER_CS: u32 = 0x174;
    const PAT: u32 = 0x277;
    // SAFETY: the caller's promise; all of these exist on every CPU in long mode with RDTSCP.
    unsafe {
        Msr::new(STAR).write(u64::from(SYSRET_BASE) << 48 | u64::from(KERNEL_CS) << 32);
        LStar::write(VirtAddr::new(traps::call_entry()));
        Msr::new(CSTAR).write(traps::call32_entry());
        // No SYSENTER: it faults.
        Msr::new(SYSENTER_CS).write(0);
        SFMask::write(
            RFlags::INTERRUPT_FLAG
                | RFlags::TRAP_FLAG
                | RFlags::DIRECTION_FLAG
                | RFlags::ALIGNMENT_CHECK
                | RFlags::NESTED_TASK
                | RFlags::IOPL_LOW
                | RFlags::IOPL_HIGH,
        );
        Msr::new(KERNEL_GS_BASE).write(area.address());
        // As Linux, for programs that ask RDTSCP or RDPID where they are.
        Msr::new(TSC_AUX).write(numa_node << 12 | u64::from(cpu));
        // INIT leaves it as it was, but not every firmware does.
        Msr::new(PAT).write(bare.pat);
    }
}

/// Stands still for good.
pub fn park() -> ! {
    loop {
        // SAFETY: nothing interrupts this core any more; an NMI only lets it halt again.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
