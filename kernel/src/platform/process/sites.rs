//! Places in the program from which system calls come, made to come here directly.
//!
//! A system call that the host turns into a signal takes more than a microsecond. Nearly all of the
//! C library's are made by the same two instructions, of five and two bytes:
//!
//! ```text
//! R-7   b8 NN NN NN NN   mov eax, number
//! R-2   0f 05            syscall
//! R                      where it goes on
//! ```
//!
//! When a call has come from such a place by a signal, the first of them is replaced by a jump of five
//! bytes, to a *stub* close by that does what the instruction did, loads R, and goes on at
//! [`tacet_fast_entry`] in the kernel image. The same is done where another instruction of five bytes or
//! more comes before ([`First`]), if it can be told from the registers that it was just executed. The
//! `syscall` stays where it is: a thread between the two, code that jumps to it, and a
//! call that is done again after a signal still work, by the signal. So the rewriting changes nothing that
//! a program could rely on; Linux loses rcx and r11 in a call, too, and leaves R and the flags there.
//!
//! Only code of files that the program may not write is rewritten, in its private copy, by one store that
//! no other core can see in half; where the five bytes do not lie so, the other cores are brought out of the
//! program for that moment. Interrupts that find the entry in the kernel image leave a note, as everywhere in there.
//!
//! Which core it is on the entry finds by the base of gs, a register of the host's thread that no program
//! for Linux uses, or nearly none: where the program has left it 0 it points to a [`Slot`]. With any
//! other base the entry goes to the `syscall` instead. What the program can tell: rdgsbase gives another
//! number than 0 (arch_prctl does not), the arithmetic flags are lost in a call, and its code does not read
//! as in its file.

use alloc::collections::BTreeMap;
use core::arch::{asm, global_asm};
use core::ops::Range;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use shm_ipc::layout::{MAX_CORES, PAGE};
use spin::Mutex;

use super::{Process, segments};
use crate::arch::{self, KERNEL_STACK, MXCSR, StackHead, TrapFrame, XMM, save_part};
use crate::entry::{self, Trap};
use crate::mm::{self, user};
use crate::platform::{Platform, Prot};
use crate::sched::core::{Core, this_core};
use crate::sched::stop;
use crate::sched::thread::{THREAD_STACK, THREAD_VECTOR, THREAD_VECTOR_IS_PARTIAL, current};

const JUMP: usize = 5;
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// Bytes of a stub.
const STUB: u64 = 32;
/// Numbers of calls that there can be.
const MOST_NUMBERS: u64 = 0x1000;

/// What the base of gs points to, one for each core: where the core keeps its thread.
#[repr(C)]
struct Slot(AtomicPtr<()>);

static SLOTS: [Slot; MAX_CORES as usize] = [const { Slot(AtomicPtr::new(ptr::null_mut())) }; MAX_CORES as usize];
const SLOTS_BYTES: usize = size_of::<[Slot; MAX_CORES as usize]>();

/// Where they lie: an operand of the entry, which has no register to spare.
#[unsafe(no_mangle)]
static TACET_FAST_SLOTS: AtomicU64 = AtomicU64::new(0);

/// Set when the base of gs can't be had by instruction: then no place is rewritten.
static CANNOT: AtomicBool = AtomicBool::new(false);

global_asm!(
    r"
    .globl tacet_fast_entry
tacet_fast_entry:                   # (rax: number, rcx: where to go on; r11 is free, the stack is the program's)
    rdgsbase r11
    sub r11, qword ptr [rip + TACET_FAST_SLOTS]
    cmp r11, {slots_bytes}
    jae 2f
    add r11, qword ptr [rip + TACET_FAST_SLOTS]
    mov r11, [r11]                  # where the core keeps its thread
    mov r11, [r11]                  # the thread
    mov r11, [r11 + {stack}]
    lea r11, [r11 + {stack_bytes}]
    mov qword ptr [r11 - 8], 0x2b
    mov [r11 - 16], rsp
    lea rsp, [r11 - 16]
    pushfq
    mov r11, [rsp]
    push 0x33
    push rcx
    push rdi
    push rsi
    push rdx
    push rcx
    push rax
    push r8
    push r9
    push r10
    push r11
    push rbx
    push rbp
    push r12
    push r13
    push r14
    push r15
    push 0x202
    popfq
    mov rdi, rsp
    mov rsi, rsp
    and rsi, -{stack_bytes}
    mov rsi, [rsi + {owner}]
    mov byte ptr [rsi + {is_partial}], 1
    mov rsi, [rsi + {vector}]
",
    save_part!("rsi"),
    r"
    ldmxcsr [rip + tacet_fast_mxcsr]
    xor ebp, ebp
    call {arrive}
    ud2
2:  sub rcx, 2                      # the base is the program's own: by the signal
    jmp rcx
    .balign 4
tacet_fast_mxcsr:
    .long 0x1f80
",
    slots_bytes = const SLOTS_BYTES,
    stack = const THREAD_STACK,
    stack_bytes = const KERNEL_STACK,
    owner = const core::mem::offset_of!(StackHead, owner),
    vector = const THREAD_VECTOR,
    is_partial = const THREAD_VECTOR_IS_PARTIAL,
    mxcsr = const MXCSR,
    xmm = const XMM,
    arrive = sym arrive,
);

unsafe extern "C" {
    fn tacet_fast_entry();
}

/// First thing in Rust, with the program's registers saved.
extern "C" fn arrive() -> ! {
    current().own.trap.set(Trap::Call);
    entry::trapped()
}

/// Boot, on each core before the program runs. `fast_segments` says whether the host lets the bases be
/// read by instruction.
pub fn prepare(core: &'static Core, fast_segments: bool) {
    if !fast_segments {
        CANNOT.store(true, Ordering::SeqCst);
        return;
    }
    let slot = &SLOTS[core.index as usize];
    slot.0.store(core.running_place().cast_mut(), Ordering::SeqCst);
    TACET_FAST_SLOTS.store(SLOTS.as_ptr() as u64, Ordering::SeqCst);
    let (fs, _) = segments::get(true);
    segments::set(true, fs, (&raw const *slot) as u64);
}

/// The base of gs that a program's thread gets on this core when the program wants `base`.
pub fn gs_for(base: u64) -> u64 {
    match base {
        0 if !CANNOT.load(Ordering::Relaxed) => (&raw const SLOTS[this_core().index as usize]) as u64,
        _ => base,
    }
}

/// What the program has left, where the register has `base`.
pub fn gs_seen(base: u64) -> u64 {
    let slots = SLOTS.as_ptr() as u64;
    if (slots..slots + SLOTS_BYTES as u64).contains(&base) { 0 } else { base }
}

/// What is known of places, by the address behind the `syscall`.
#[derive(Debug, Default)]
struct Sites {
    /// What was there before, of each place that is rewritten; none where that was not possible, or is so
    /// no more.
    known: BTreeMap<u64, Option<First>>,
    /// Pages of stubs, and how much of each is used.
    pages: BTreeMap<u64, u64>,
}

static SITES: Mutex<Sites> = Mutex::new(Sites { known: BTreeMap::new(), pages: BTreeMap::new() });

/// The program is replaced, its code and the stubs with it.
pub fn forget() {
    *SITES.lock() = Sites::default();
}

/// The instruction before a `syscall`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// `mov eax, number`, the C library's calls; or the same into edx, esi or edi, by the first byte.
    Move(u8, u32),
    /// `mov r9, [rsp + 8]`: syscall(2), the function.
    LoadR9,
    /// `mov esi, [address]`, with an address relative to the instruction's end: futexes of GNU's OpenMP.
    LoadEsi(u64),
}

impl First {
    /// What comes before `rip`, where a call was made with these registers; `None` for any other.
    fn find(rip: u64, frame: &TrapFrame) -> Option<First> {
        const LOOK: usize = 9;
        let mut bytes = [0; LOOK];
        user::copy_in(&mut bytes, rip.wrapping_sub(LOOK as u64)).ok()?;
        let [p, a, b, c0, c1, c2, c3, s0, s1] = bytes;
        if [s0, s1] != SYSCALL {
            return None;
        }
        let word = u32::from_le_bytes([c0, c1, c2, c3]);
        // With a prefix before it, an instruction would be another one.
        let register = match b {
            0xb8 if frame.rax < MOST_NUMBERS => Some(frame.rax),
            0xba => Some(frame.rdx),
            0xbe => Some(frame.rsi),
            0xbf => Some(frame.rdi),
            _ => None,
        };
        if register == Some(u64::from(word)) && !is_prefix(a) {
            return Some(First::Move(b, word));
        }
        if [b, c0, c1, c2, c3] == [0x4c, 0x8b, 0x4c, 0x24, 0x08] && !is_prefix(a) {
            let there: u64 = user::read(frame.rsp.wrapping_add(8)).ok()?;
            return (there == frame.r9).then_some(First::LoadR9);
        }
        if [a, b] == [0x8b, 0x35] && !is_prefix(p) {
            let address = (rip - 2).wrapping_add_signed(i64::from(word.cast_signed()));
            let there: u32 = user::read(address).ok()?;
            return (u64::from(there) == frame.rsi).then_some(First::LoadEsi(address));
        }
        None
    }

    fn len(self) -> u64 {
        match self {
            First::Move(..) | First::LoadR9 => 5,
            First::LoadEsi(_) => 6,
        }
    }

    /// The same instruction at `at`.
    fn code(self, at: u64) -> Option<([u8; 6], usize)> {
        let with_word = |op: [u8; 2], word: u32| {
            let [c0, c1, c2, c3] = word.to_le_bytes();
            [op[0], op[1], c0, c1, c2, c3]
        };
        Some(match self {
            First::Move(op, value) => {
                let [c0, c1, c2, c3] = value.to_le_bytes();
                ([op, c0, c1, c2, c3, 0], 5)
            }
            First::LoadR9 => ([0x4c, 0x8b, 0x4c, 0x24, 0x08, 0], 5),
            First::LoadEsi(address) => {
                let distance = i32::try_from(address.cast_signed() - (at + 6).cast_signed()).ok()?;
                (with_word([0x8b, 0x35], distance.cast_unsigned()), 6)
            }
        })
    }
}

fn is_prefix(byte: u8) -> bool {
    matches!(byte, 0x40..=0x4f | 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
}

/// A call has come by a signal from before `frame.rip`: the next one shall come directly, if that is
/// possible.
pub fn learn(process: &Process, frame: &TrapFrame) {
    if CANNOT.load(Ordering::Relaxed) {
        return;
    }
    let rip = frame.rip;
    let mut sites = SITES.lock();
    if sites.known.contains_key(&rip) {
        // It was not possible; or the call was done again, by its `syscall` alone.
        return;
    }
    let Some(first) = First::find(rip, frame) else {
        sites.known.insert(rip, None);
        return;
    };
    let store = Store::of(rip - SYSCALL.len() as u64 - first.len());
    let held = store.is_none().then(stop::hold_others);
    if held.as_ref().is_some_and(Option::is_none) {
        // They are being brought out for another reason: at the next call from here.
        return;
    }
    let done = rewrite(process, &mut sites, rip, first, store.unwrap_or(Store::Alone));
    if held.is_some() {
        arch::code_changed();
    }
    drop(held);
    sites.known.insert(rip, done.map(|()| first));
}

fn rewrite(process: &Process, sites: &mut Sites, rip: u64, first: First, store: Store) -> Option<()> {
    let at = rip - SYSCALL.len() as u64 - first.len();
    if !mm::space().is_file_code(at..rip) {
        return None;
    }
    let stub = place_stub(sites, at)?;
    mm::space().write_frames(stub, &stub_for(stub, rip, first)?).ok()?;
    let distance = i32::try_from(stub.cast_signed() - (at + JUMP as u64).cast_signed()).ok()?;
    let [d0, d1, d2, d3] = distance.to_le_bytes();
    let page = at / PAGE * PAGE;
    let len = (at + JUMP as u64).next_multiple_of(PAGE) - page;
    // Under the lock of the address space: nobody maps something else there meanwhile.
    let space = mm::space();
    if !space.is_file_code(at..rip) {
        return None;
    }
    process.protect(page, len, Prot::all()).ok()?;
    // SAFETY: five bytes of program memory that were just made writable and that this kernel alone
    // writes; what executes there sees the old instruction or the new one.
    unsafe { store.write(at, [0xe9, d0, d1, d2, d3]) };
    let closed = process.protect(page, len, Prot::READ | Prot::EXEC);
    assert!(closed.is_ok(), "the host takes back that code is code: {closed:?}");
    Some(())
}

/// The program may write to `range` from now on: it finds its code there as it was, for good.
pub fn restore(range: Range<u64>) {
    let mut sites = SITES.lock();
    for (rip, known) in sites.known.range_mut(range) {
        let Some(first) = known.take() else { continue };
        let at = rip - SYSCALL.len() as u64 - first.len();
        let Some((code, _)) = first.code(at) else { continue };
        let store = Store::of(at);
        // Where somebody else brings them out at this moment, they are on their way.
        let held = store.is_none().then(stop::hold_others).flatten();
        let [c0, c1, c2, c3, c4, _] = code;
        let space = mm::space();
        if space.is_writable(at..at + JUMP as u64) {
            // SAFETY: the program's memory, writable under the lock of its address space. The stub stays:
            // what is on its way there arrives.
            unsafe { store.unwrap_or(Store::Alone).write(at, [c0, c1, c2, c3, c4]) };
        }
        if held.is_some() {
            arch::code_changed();
        }
    }
}

/// Room for a stub from which `at` can be reached.
fn place_stub(sites: &mut Sites, at: u64) -> Option<u64> {
    const REACH: u64 = 1 << 30;
    let near = sites.pages.iter_mut().find(|(page, used)| page.abs_diff(at) < REACH && **used + STUB <= PAGE);
    if let Some((page, used)) = near {
        let stub = page + *used;
        *used += STUB;
        return Some(stub);
    }
    let page = mm::space().map_code(at).ok()?;
    sites.pages.insert(page, STUB);
    Some(page)
}

/// What lies at `at`: the first instruction, `mov rcx, rip; jmp [rip + 0]`, and the address of the entry.
fn stub_for(at: u64, rip: u64, first: First) -> Option<[u8; STUB as usize]> {
    let mut code = [0xcc; STUB as usize];
    let (instruction, len) = first.code(at)?;
    let entry = tacet_fast_entry as *const () as u64;
    let mut put = 0;
    for part in
        [&instruction[..len], &[0x48, 0xb9], &rip.to_le_bytes(), &[0xff, 0x25, 0, 0, 0, 0], &entry.to_le_bytes()]
    {
        code[put..put + part.len()].copy_from_slice(part);
        put += part.len();
    }
    Some(code)
}

/// How five bytes can be written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Store {
    /// Within eight aligned bytes.
    Eight,
    /// Within sixteen aligned bytes.
    Sixteen,
    /// Byte by byte: nobody else executes the program meanwhile.
    Alone,
}

impl Store {
    fn of(at: u64) -> Option<Store> {
        match at % 16 {
            offset if offset % 8 + JUMP as u64 <= 8 => Some(Store::Eight),
            offset if offset + JUMP as u64 <= 16 => Some(Store::Sixteen),
            _ => (crate::sched::cores().len() == 1).then_some(Store::Alone),
        }
    }

    /// # Safety
    /// The bytes are writable, and nobody else writes to the sixteen around them.
    unsafe fn write(self, at: u64, bytes: [u8; JUMP]) {
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

/// Where a program goes on that steps through its own code and so was interrupted before the first
/// instruction of the entry: at its `syscall`, with the trap flag as it is.
pub fn stepped(rip: u64, rcx: u64) -> Option<u64> {
    (rip == tacet_fast_entry as *const () as u64).then(|| rcx - SYSCALL.len() as u64)
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

    #[test]
    fn a_stub_does_what_the_instruction_did() {
        let stub = stub_for(0x1000, 0x1122_3344_5566_7788, First::Move(0xb8, 202)).expect("in reach");
        assert_eq!(stub[..7], [0xb8, 202, 0, 0, 0, 0x48, 0xb9]);
        assert_eq!(stub[7..15], 0x1122_3344_5566_7788_u64.to_le_bytes());
        assert_eq!(stub[15..21], [0xff, 0x25, 0, 0, 0, 0]);
        let stub = stub_for(0x1000, 0x2000, First::LoadEsi(0x5006)).expect("in reach");
        assert_eq!(stub[..8], [0x8b, 0x35, 0, 0x40, 0, 0, 0x48, 0xb9]);
        assert!(stub_for(0x1000, 0x2000, First::LoadEsi(1 << 40)).is_none());
    }

    #[test]
    fn instructions_are_known_by_what_they_did() {
        mm::tests::allow_host_memory();
        let find = |bytes: &[u8], frame: TrapFrame| {
            let rip = bytes.as_ptr() as u64 + bytes.len() as u64;
            First::find(rip, &TrapFrame { rip, ..frame })
        };
        let call = |rax: u64| TrapFrame { rax, ..TrapFrame::default() };
        let wake = [0x89, 0xc7, 0x90, 0xb8, 202, 0, 0, 0, 0x0f, 0x05];
        assert_eq!(find(&wake, call(202)), Some(First::Move(0xb8, 202)));
        assert_eq!(find(&wake, call(203)), None);
        let into_r8 = [0x89, 0xc7, 0x41, 0xb8, 202, 0, 0, 0, 0x0f, 0x05];
        assert_eq!(find(&into_r8, call(202)), None);
        let stack = [0u64, 77];
        let function = [0x89, 0xc7, 0x90, 0x4c, 0x8b, 0x4c, 0x24, 0x08, 0x0f, 0x05];
        let frame = TrapFrame { rsp: stack.as_ptr() as u64, r9: 77, ..TrapFrame::default() };
        assert_eq!(find(&function, frame), Some(First::LoadR9));
        assert_eq!(find(&function, TrapFrame { r9: 78, ..frame }), None);
        assert_eq!(find(&[0x90; 10], call(202)), None);
    }
}
