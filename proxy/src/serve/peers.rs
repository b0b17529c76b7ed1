//! Memory of other programs on bare cores: process_vm_readv(2) and process_vm_writev(2).
//!
//! To Linux a program's process is its proxy, and the proxy has the whole memory of the cell mapped,
//! only not at the program's addresses. So a call is served by following the other cell's page
//! tables and asking Linux to copy from or to the proxy's addresses of what they lead to: who may do
//! so to whom is decided by Linux, as for any two processes.
//!
//! ```text
//! ledger               pid -> where the cell's memory is in its proxy, where it is described
//! description, tables  read from there, by process_vm_readv
//! program's address -> physical address -> offset in the cell's memory -> proxy's address
//! ```
//!
//! All of it is an allegation: each table must lie where tables are, and what is copied where the
//! frames of programs are, in which the other kernel keeps nothing of its own. Whatever a program and
//! its kernel do meanwhile, nothing but memory of that program is read or written.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use shm_ipc::bare::{Bare, PROXY, Run};
use shm_ipc::layout::{LARGE_PAGE, PAGE};
use zerocopy::{FromZeros, IntoBytes};

use super::arguments::vectors;
use super::call::Call;
use super::files::LARGE_BYTES;
use super::host::{self, Arg, Errno, Outcome, Vectors};
use crate::reserve::ledger::{Ledger, Reach};

/// Pieces that one call of Linux takes (`UIO_MAXIOV`).
const MOST_PIECES: usize = 1024;

/// Bits of an entry (AMD64 Architecture Programmer's Manual, volume 2, 5.3).
const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const LARGE: u64 = 1 << 7;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const TOP: u32 = 4;
/// The addresses of programs end here at the latest; the others are kernels'.
const HALF: u64 = 1 << 47;

/// Another cell on bare cores.
#[derive(Debug)]
struct Peer {
    pid: i32,
    reach: Reach,
    bare: Bare,
    /// By physical address.
    runs: Vec<Run>,
}

/// Cells that were met before.
#[derive(Debug, Default)]
pub struct Peers(Mutex<BTreeMap<i32, Arc<Peer>>>);

impl Peers {
    /// The cell whose program is process `pid`; `None` when there is none on bare cores.
    fn find(&self, pid: i32) -> Result<Option<Arc<Peer>>, Errno> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = known.get(&pid) {
            // If it can't be read the process is gone, and may be another one by now.
            if peer.read_description() == Ok(peer.bare) {
                return Ok(Some(Arc::clone(peer)));
            }
            known.remove(&pid);
        }
        let Some(reach) = reach_of(pid) else { return Ok(None) };
        let peer = Arc::new(Peer::meet(pid, reach)?);
        known.insert(pid, Arc::clone(&peer));
        Ok(Some(peer))
    }
}

/// What the ledger says.
fn reach_of(pid: i32) -> Option<Reach> {
    let ledger = Ledger::open().ok()?;
    ledger.living(u32::try_from(pid).ok()?)?.reach
}

impl Peer {
    fn meet(pid: i32, reach: Reach) -> Result<Self, Errno> {
        let mut peer = Peer { pid, reach, bare: Bare::new_zeroed(), runs: Vec::new() };
        peer.bare = peer.read_description()?;
        let [at, count] = peer.bare.runs;
        // No more than there are large pages.
        if count > peer.reach.len / LARGE_PAGE {
            return Err(Errno(libc::EFAULT));
        }
        let mut runs = vec![Run::new_zeroed(); count as usize];
        peer.read(at, runs.as_mut_bytes())?;
        runs.sort_unstable_by_key(|run| run.physical);
        peer.runs = runs;
        Ok(peer)
    }

    /// The description has a number that no other cell's has: if it is the same, the peer is.
    fn read_description(&self) -> Result<Bare, Errno> {
        let mut bare = Bare::new_zeroed();
        self.read(self.reach.description, bare.as_mut_bytes())?;
        Ok(bare)
    }

    /// Reads from its memory.
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), Errno> {
        let end = offset.checked_add(to.len() as u64).filter(|end| *end <= self.reach.len);
        end.ok_or(Errno(libc::EFAULT))?;
        let count = host::read_process(self.pid, self.reach.base.wrapping_add(offset), to)?;
        if count as usize == to.len() { Ok(()) } else { Err(Errno(libc::EFAULT)) }
    }

    /// Where in its memory a physical address is, and how many bytes follow it there.
    fn offset_of(&self, physical: u64) -> Option<(u64, u64)> {
        let index = self.runs.partition_point(|run| run.physical <= physical).checked_sub(1)?;
        let run = self.runs.get(index)?;
        let into = physical - run.physical;
        (into < run.len).then(|| (run.offset.wrapping_add(into), run.len - into))
    }
}

/// A walk through a peer's page tables, with the tables that it came through last.
struct Walk<'p> {
    peer: &'p Peer,
    write: bool,
    /// By level, from 1: offset and content.
    seen: [Option<(u64, Box<[u64; 512]>)>; TOP as usize],
}

/// Bytes that an entry of a table of this level covers.
fn span(level: u32) -> u64 {
    PAGE << (9 * (level - 1))
}

impl<'p> Walk<'p> {
    fn new(peer: &'p Peer, write: bool) -> Self {
        Walk { peer, write, seen: [const { None }; TOP as usize] }
    }

    fn entry(&mut self, level: u32, table: u64, index: u64) -> Result<u64, Errno> {
        let seen = &mut self.seen[level as usize - 1];
        if seen.as_ref().is_none_or(|(offset, _)| *offset != table) {
            let mut words = Box::new([0u64; 512]);
            self.peer.read(table, words.as_mut_bytes())?;
            *seen = Some((table, words));
        }
        seen.as_ref().and_then(|(_, words)| words.get(index as usize).copied()).ok_or(Errno(libc::EFAULT))
    }

    /// Where the proxy of the peer has what the program has at `at`, and how many bytes of it.
    fn resolve(&mut self, at: u64) -> Result<(u64, u64), Errno> {
        let nothing = Errno(libc::EFAULT);
        if at >= HALF {
            return Err(nothing);
        }
        let mut table = self.peer.bare.root;
        for level in (1..=TOP).rev() {
            let entry = self.entry(level, table, at / span(level) % 512)?;
            if entry & (PRESENT | USER) != PRESENT | USER || self.write && entry & WRITABLE == 0 {
                return Err(nothing);
            }
            if level == 1 || entry & LARGE != 0 {
                let within = at % span(level);
                let physical = (entry & ADDRESS & !(span(level) - 1)) + within;
                return self.place(at, physical, span(level) - within);
            }
            table = self.table(entry & ADDRESS)?;
        }
        Err(nothing)
    }

    /// A table, by its offset.
    fn table(&self, physical: u64) -> Result<u64, Errno> {
        let [start, len, _] = self.peer.bare.tables;
        let offset = self.peer.offset_of(physical).map(|(offset, _)| offset);
        offset
            .filter(|offset| offset.wrapping_sub(start) < len && offset.is_multiple_of(PAGE))
            .ok_or(Errno(libc::EFAULT))
    }

    fn place(&self, at: u64, physical: u64, len: u64) -> Result<(u64, u64), Errno> {
        let Some((offset, run)) = self.peer.offset_of(physical) else {
            // A page of Linux, which the proxy has at the program's own address.
            let is_theirs = at < PROXY.end && PROXY.start < at + len;
            return if is_theirs { Err(Errno(libc::EFAULT)) } else { Ok((at, len)) };
        };
        let [start, end] = self.peer.reach.frames;
        if offset < start || offset >= end {
            return Err(Errno(libc::EFAULT));
        }
        Ok((self.peer.reach.base.wrapping_add(offset), len.min(run).min(end - offset)))
    }
}

/// Serves process_vm_readv and process_vm_writev (arguments as in `processes::process_vm`) if the
/// other program is on bare cores as well; `None` if not.
pub fn copy(call: &mut Call<'_, '_>, remote: &[u8]) -> Option<Outcome> {
    let peer = match call.service.peers.find(call.int(0)) {
        Ok(peer) => peer?,
        Err(errno) => return Some(Err(errno)),
    };
    Some(vectors(call, 1).and_then(|local| copy_with(call, &peer, local, remote)))
}

fn copy_with(call: &mut Call<'_, '_>, peer: &Peer, mut local: Vectors, remote: &[u8]) -> Outcome {
    let write = i64::from(call.nr) == libc::SYS_process_vm_writev;
    let mut walk = Walk::new(peer, write);
    let mut pieces = Pieces::new(remote, local.total());
    let mut done = 0;
    loop {
        let (batch, error) = pieces.batch(|at| walk.resolve(at));
        let wanted: u64 = batch.iter().map(|piece| piece.end - piece.start).sum();
        if wanted > 0 {
            let mut now = local.clone();
            now.truncate(wanted);
            let theirs: Vec<u8> = batch
                .iter()
                .flat_map(|piece| [piece.start, piece.end - piece.start])
                .flat_map(u64::to_ne_bytes)
                .collect();
            let args = [
                Arg::number(peer.pid as u64),
                Arg::vectors(&now),
                Arg::number(now.count()),
                Arg::input(&theirs),
                Arg::number(batch.len() as u64),
                Arg::null(),
            ];
            let copied = match call.make(i64::from(call.nr), &args, wanted > LARGE_BYTES) {
                Err(errno) if done == 0 => return Err(errno),
                copied => copied.unwrap_or(0) as u64,
            };
            done += copied;
            local.advance(copied);
            if copied < wanted {
                return Ok(done as i64);
            }
        }
        match error {
            Some(errno) if done == 0 => return Err(errno),
            Some(_) => return Ok(done as i64),
            None if wanted == 0 => return Ok(done as i64),
            None => {}
        }
    }
}

/// What is left of the other side's pieces.
struct Pieces<'r> {
    rest: &'r [u8],
    /// The part of the first one that is left.
    now: Range<u64>,
    /// Bytes that are to be copied still.
    left: u64,
}

impl<'r> Pieces<'r> {
    /// `remote` is an array of iovecs.
    fn new(remote: &'r [u8], left: u64) -> Self {
        Pieces { rest: remote, now: 0..0, left }
    }

    /// The next pieces as `resolve` gives them, as many as one call takes, and why they end where they
    /// do if that is before the end of all.
    fn batch(&mut self, mut resolve: impl FnMut(u64) -> Result<(u64, u64), Errno>) -> (Vec<Range<u64>>, Option<Errno>) {
        let mut batch: Vec<Range<u64>> = Vec::new();
        while self.left > 0 && batch.len() < MOST_PIECES {
            if self.now.is_empty() {
                let Some((iovec, rest)) = self.rest.split_at_checked(16) else { break };
                let (at, len) = (host::u64_at(iovec, 0), host::u64_at(iovec, 8));
                self.rest = rest;
                // What ends beyond all addresses starts where nothing is: longer pieces are refused before.
                let Some(end) = at.checked_add(len) else { return (batch, Some(Errno(libc::EFAULT))) };
                self.now = at..end;
                continue;
            }
            match resolve(self.now.start) {
                Err(errno) => return (batch, Some(errno)),
                Ok((at, len)) => {
                    let len = len.min(self.now.end - self.now.start).min(self.left);
                    match batch.last_mut() {
                        Some(last) if last.end == at => last.end += len,
                        _ => batch.push(at..at + len),
                    }
                    self.now.start += len;
                    self.left -= len;
                }
            }
        }
        (batch, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Physical address of the first byte of [`Fake`].
    const PHYSICAL: u64 = 0x40_0000;
    /// What the program's first page is mapped at.
    const AT: u64 = 0x12_3456_7000;

    /// A cell in this process: four tables, then four frames of which the last two are the program's.
    #[repr(C, align(4096))]
    struct Fake([[u64; 512]; 8]);

    fn fake() -> Box<Fake> {
        let mut fake = Box::new(Fake([[0; 512]; 8]));
        for (table, level) in (0..3).zip([4, 3, 2]) {
            fake.0[table][(AT / span(level) % 512) as usize] = at(table as u64 + 1) | PRESENT | WRITABLE | USER;
        }
        fake
    }

    fn at(page: u64) -> u64 {
        PHYSICAL + page * PAGE
    }

    impl Fake {
        /// Entry of the last table for the page `page` after [`AT`].
        fn set(&mut self, page: u64, entry: u64) {
            self.0[3][((AT / PAGE + page) % 512) as usize] = entry;
        }

        fn peer(&self) -> Peer {
            let base = std::ptr::from_ref(self).addr() as u64;
            let bare = Bare { tables: [0, 4 * PAGE, 4 * PAGE], ..Bare::new_zeroed() };
            let frames = [6 * PAGE, 8 * PAGE];
            let runs = vec![Run { offset: 0, physical: PHYSICAL, len: 8 * PAGE }];
            Peer { pid: host::own_pid(), reach: Reach { base, len: 8 * PAGE, description: 0, frames }, bare, runs }
        }

        fn resolve(&self, address: u64, write: bool) -> Result<(u64, u64), i32> {
            let peer = self.peer();
            let found = Walk::new(&peer, write).resolve(address);
            found.map(|(at, len)| (at.wrapping_sub(peer.reach.base), len)).map_err(|errno| errno.0)
        }
    }

    #[test]
    fn what_the_program_may_do_can_be_done() {
        let mut fake = fake();
        fake.set(0, at(6) | PRESENT | USER | WRITABLE);
        fake.set(1, at(7) | PRESENT | USER);
        fake.set(2, at(7) | PRESENT);
        fake.set(3, at(7));
        assert_eq!(fake.resolve(AT + 5, true), Ok((6 * PAGE + 5, PAGE - 5)));
        assert_eq!(fake.resolve(AT + PAGE, false), Ok((7 * PAGE, PAGE)));
        assert_eq!(fake.resolve(AT + PAGE, true), Err(libc::EFAULT));
        for page in [2, 3, 4] {
            assert_eq!(fake.resolve(AT + page * PAGE, false), Err(libc::EFAULT), "{page}");
        }
        for nowhere in [0, AT + (1 << 40), HALF, u64::MAX] {
            assert_eq!(fake.resolve(nowhere, false), Err(libc::EFAULT), "{nowhere:x}");
        }
    }

    #[test]
    fn tables_lead_to_frames_of_programs_and_to_nothing_else() {
        let mut fake = fake();
        let all = PRESENT | USER | WRITABLE;
        // A table, a frame of the kernel's, a large page that begins before the frames.
        for entry in [at(3), at(5)] {
            fake.set(0, entry | all);
            assert_eq!(fake.resolve(AT, false), Err(libc::EFAULT), "{entry:x}");
        }
        fake.0[2][(AT / span(2) % 512) as usize] = (PHYSICAL & !(span(2) - 1)) | all | LARGE;
        assert_eq!(fake.resolve(AT / span(2) * span(2), false), Err(libc::EFAULT));
        assert_eq!(fake.resolve(AT / span(2) * span(2) + 7 * PAGE, false), Ok((7 * PAGE, PAGE)), "and no further");
        // A frame of the program's for a table.
        fake.0[2][(AT / span(2) % 512) as usize] = at(6) | all;
        fake.0[6].fill(at(7) | all);
        assert_eq!(fake.resolve(AT, false), Err(libc::EFAULT));
        fake.0[0][(AT / span(4) % 512) as usize] = (1 << 45) | all;
        assert_eq!(fake.resolve(AT, false), Err(libc::EFAULT));
    }

    #[test]
    fn pages_of_linux_are_where_the_program_has_them() {
        let mut fake = fake();
        fake.set(0, (1 << 45) | PRESENT | USER);
        let peer = fake.peer();
        assert_eq!(Walk::new(&peer, false).resolve(AT + 1).ok(), Some((AT + 1, PAGE - 1)));
    }

    #[test]
    fn pieces_follow_each_other() {
        let remote: Vec<u8> = [10u64, 5, 0, 0, 100, 7].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let identity = |at: u64| if at < 104 { Ok((at, 3)) } else { Err(Errno(libc::EFAULT)) };
        let mut pieces = Pieces::new(&remote, 9);
        assert_eq!(pieces.batch(identity), (vec![10..15, 100..104], None), "no more than there is room for");
        let mut pieces = Pieces::new(&remote, 100);
        let (batch, error) = pieces.batch(identity);
        assert_eq!((batch, error.map(|errno| errno.0)), (vec![10..15, 100..106], Some(libc::EFAULT)));
    }
}
