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
//! bytes, to a *stub* close by that does what the instruction did, loads R, and goes on at the [`entry`] in
//! the kernel image. The same is done where other instructions come before ([`before`]), if it can be told from
//! the registers that they were just executed. The `syscall` stays where it is: a thread between the two,
//! code that jumps to it, and a call that is done again after a signal still work, by the signal. So the
//! rewriting changes nothing that a program could rely on; Linux loses rcx and r11 in a call, too, and leaves R and
//! the flags there.
//!
//! Where the instruction has three or four bytes, the jump's last bytes are those that follow it, and so stay as they
//! are: the stub lies where a jump with that end leads, such as 0x050f_0000 to 0x050f_ffff from R.
//!
//! Only code of files that the program may not write is rewritten, in its private copy, by one store that
//! no other core can see in half; where the five bytes do not lie so, the other cores are brought out of the
//! program for that moment. Interrupts that find the entry in the kernel image leave a note, as everywhere in there.
//!
//! What the program can tell: rdgsbase gives another number than 0 (arch_prctl does not), the arithmetic flags are
//! lost in a call, r11 is not the flags after a copy between processes, and its code does not read as in its file.

mod before;
mod entry;
mod store;

use alloc::collections::BTreeMap;
use core::ops::Range;

use shm_ipc::layout::PAGE;
use spin::Mutex;

use self::before::Before;
pub use self::entry::{fixup, gs_for, gs_seen, prepare, stepped, window};
use self::store::Store;
use super::Process;
use crate::arch::{self, TrapFrame};
use crate::mm;
use crate::platform::{Platform, Prot};
use crate::sched::stop;

const JUMP: usize = 5;
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// Bytes of a stub.
const STUB: u64 = 64;

/// What is known of places, by the address behind the `syscall`.
#[derive(Debug, Default)]
struct Sites {
    /// What was there before, of each place that is rewritten; none where that was not possible, or is so
    /// no more.
    known: BTreeMap<u64, Option<Before>>,
    /// Pages of stubs, and how much of each is used.
    pages: BTreeMap<u64, u64>,
}

static SITES: Mutex<Sites> = Mutex::new(Sites { known: BTreeMap::new(), pages: BTreeMap::new() });

/// The program is replaced, its code and the stubs with it.
pub fn forget() {
    *SITES.lock() = Sites::default();
}

/// A call has come by a signal from before `frame.rip`: the next one shall come directly, if that is
/// possible.
pub fn learn(process: &Process, frame: &TrapFrame) {
    if !entry::is_ready() {
        return;
    }
    let rip = frame.rip;
    let mut sites = SITES.lock();
    if sites.known.contains_key(&rip) {
        // It was not possible; or the call was done again, by its `syscall` alone.
        return;
    }
    for before in Before::find(rip, frame) {
        match rewrite(process, &mut sites, rip, &before) {
            Ok(()) => {
                sites.known.insert(rip, Some(before));
                return;
            }
            Err(Failed::Later) => return,
            Err(Failed::ForGood) => {}
        }
    }
    sites.known.insert(rip, None);
}

/// Why a place stays as it is.
enum Failed {
    /// The other cores are being brought out for another reason: at the next call from here.
    Later,
    /// The program may write there, or no stub is in reach.
    ForGood,
}

fn rewrite(process: &Process, sites: &mut Sites, rip: u64, before: &Before) -> Result<(), Failed> {
    let at = before.at;
    if !mm::space().is_file_code(at..rip) {
        return Err(Failed::ForGood);
    }
    let stub = place_stub(sites, before).ok_or(Failed::ForGood)?;
    let code = stub_for(stub, rip, before).ok_or(Failed::ForGood)?;
    mm::space().write_frames(stub, &code).map_err(|_| Failed::ForGood)?;
    let distance = i32::try_from(stub.cast_signed() - (at + JUMP as u64).cast_signed()).map_err(|_| Failed::ForGood)?;
    let [d0, d1, d2, d3] = distance.to_le_bytes();
    let store = Store::of(at);
    let held = store.is_none().then(stop::hold_others);
    if held.as_ref().is_some_and(Option::is_none) {
        return Err(Failed::Later);
    }
    let done = put_jump(process, at..rip, store.unwrap_or(Store::Alone), [0xe9, d0, d1, d2, d3]);
    if held.is_some() {
        arch::code_changed();
    }
    done
}

/// Replaces the first bytes of `code`.
fn put_jump(process: &Process, code: Range<u64>, store: Store, jump: [u8; JUMP]) -> Result<(), Failed> {
    let at = code.start;
    let page = at / PAGE * PAGE;
    let len = (at + JUMP as u64).next_multiple_of(PAGE) - page;
    // Under the lock of the address space: nobody maps something else there meanwhile.
    let space = mm::space();
    if !space.is_file_code(code) {
        return Err(Failed::ForGood);
    }
    process.protect(page, len, Prot::all()).map_err(|_| Failed::ForGood)?;
    // SAFETY: five bytes of program memory that were just made writable and that this kernel alone
    // writes; what executes there sees the old instruction or the new one.
    unsafe { store.write(at, jump) };
    let closed = process.protect(page, len, Prot::READ | Prot::EXEC);
    assert!(closed.is_ok(), "the host takes back that code is code: {closed:?}");
    Ok(())
}

/// The program may write to `range` from now on: it finds its code there as it was, for good.
pub fn restore(range: Range<u64>) {
    let in_half = |known: &Option<Before>| known.as_ref().is_some_and(|before| Store::of(before.at).is_none());
    let any_in_half = SITES.lock().known.range(range.clone()).any(|(_, known)| in_half(known));
    // Before the lock is taken, as this may wait. Meanwhile no place more becomes known: the program may write here.
    let held = any_in_half.then(stop::hold_others_for_sure);
    let mut sites = SITES.lock();
    for (_, known) in sites.known.range_mut(range) {
        let Some(before) = known.take() else { continue };
        let at = before.at;
        let space = mm::space();
        if space.is_writable(at..at + JUMP as u64) {
            // SAFETY: the program's memory, writable under the lock of its address space. The stub stays:
            // what is on its way there arrives.
            unsafe { Store::of(at).unwrap_or(Store::Alone).write(at, before.replaced()) };
        }
    }
    if held.is_some() {
        arch::code_changed();
    }
}

/// Room for a stub to which the jump of `before` can lead.
fn place_stub(sites: &mut Sites, before: &Before) -> Option<u64> {
    let from = before.at + JUMP as u64;
    let distances = before.distances();
    let low = from.saturating_add_signed(*distances.start());
    let high = from.saturating_add_signed(*distances.end());
    let used = sites.pages.iter_mut().find(|(page, used)| {
        let next = **page + **used;
        **used + STUB <= PAGE && (low..=high).contains(&next)
    });
    if let Some((page, used)) = used {
        let stub = page + *used;
        *used += STUB;
        return Some(stub);
    }
    // A page of which all can be reached.
    let whole = low.next_multiple_of(PAGE)..(high.saturating_add(1) / PAGE * PAGE);
    let page = mm::space().map_code(before.at, whole).ok()?;
    sites.pages.insert(page, STUB);
    Some(page)
}

/// What lies at `at`: the instructions, `mov rcx, rip; jmp [rip + 0]`, and the address of the entry.
fn stub_for(at: u64, rip: u64, before: &Before) -> Option<[u8; STUB as usize]> {
    let mut code = [0xcc; STUB as usize];
    let (instructions, len) = before.moved_to(at)?;
    let entry = entry::address();
    let mut put = 0;
    for part in
        [&instructions[..len], &[0x48, 0xb9], &rip.to_le_bytes(), &[0xff, 0x25, 0, 0, 0, 0], &entry.to_le_bytes()]
    {
        code[put..put + part.len()].copy_from_slice(part);
        put += part.len();
    }
    Some(code)
}
