//! The address space against a naive one: a map of single pages.
//!
//! Random calls go to both. The model knows nothing of regions, extents or laziness; it says
//! what each page is, what it holds, and which error Linux would give. After every call the
//! two must agree, the platform must have mapped what they say, and no frame may have two
//! owners or none. All of it on a platform that maps private files, on one that reads them, and
//! on one part of whose memory can't be mapped page by page.

use std::collections::BTreeMap;

use proptest::prelude::*;
use shm_ipc::layout::{LARGE_PAGE, PAGE};

use super::platform::TestPlatform;
use super::{FRAMES, check_books, file_bytes, fresh, fresh_pooled, fresh_reading, page_bytes, word};
use crate::abi::{Errno, SysResult, linux};
use crate::mm::{Access, AddressSpace, Fault, Kind, MapRequest, Piece};
use crate::platform::Prot;

/// Where calls with an address of their own go: a large page begins soon behind it.
const BASE: u64 = (32 << 20) - 16 * PAGE;
/// Pages there.
const PAGES: u64 = 1100;
/// Where the heap begins, in the midst of them.
const HEAP: u64 = BASE + 700 * PAGE + 17;

/// Where in the file mappings begin.
const OFFSET: u64 = 8 * PAGE;

/// What kind of memory a call of mmap asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Private,
    Sparse,
    Shared,
    FilePrivate,
    FileShared,
    Broken,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Map { page: Option<u64>, pages: u64, prot: u32, flavour: Flavour, replace: bool },
    Unmap { page: u64, pages: u64 },
    Protect { page: u64, pages: u64, prot: u32 },
    Remap { page: u64, old: u64, new: u64, to: Option<u64>, moves: bool },
    Brk { page: u64 },
    Advise { page: u64, pages: u64, advice: u32 },
    Write { page: u64, value: u64 },
    Touch { page: u64, access: Access },
    Resident { page: u64, pages: u64 },
    Pieces { page: u64, pages: u64 },
}

/// Which region a page belongs to: pages that follow each other and are [`Identity::next`] of
/// each other are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Private { sparse: bool },
    Shared { sparse: bool, id: u64 },
    Heap,
    File { shared: bool, id: u64, offset: u64 },
    Copy { id: u64, offset: u64, end_seen: bool, written: bool },
}

impl Identity {
    fn next(self) -> Identity {
        match self {
            Identity::File { shared, id, offset } => Identity::File { shared, id, offset: offset + PAGE },
            Identity::Copy { id, offset, end_seen, written } => {
                Identity::Copy { id, offset: offset + PAGE, end_seen, written }
            }
            other => other,
        }
    }

    fn is_copy(self) -> bool {
        matches!(self, Identity::Copy { .. })
    }

    fn is_file(self) -> bool {
        matches!(self, Identity::File { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ModelPage {
    prot: Prot,
    identity: Identity,
    /// What the first word holds; nothing is known of mapped files.
    value: u64,
}

#[derive(Default)]
struct Model {
    /// What the file holds, where it is read.
    file: Option<Vec<u8>>,
    pages: BTreeMap<u64, ModelPage>,
    heap_end: u64,
    ids: u64,
}

fn pages(at: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |page| at + page * PAGE)
}

impl Model {
    fn is_free(&self, at: u64, count: u64) -> bool {
        self.pages.range(at..at + count * PAGE).next().is_none()
    }

    fn is_whole(&self, at: u64, count: u64) -> bool {
        self.pages.range(at..at + count * PAGE).count() as u64 == count
    }

    fn unmap(&mut self, at: u64, count: u64) {
        for page in pages(at, count) {
            self.pages.remove(&page);
        }
    }

    fn map(&mut self, at: u64, count: u64, prot: Prot, mut identity: Identity) {
        for page in pages(at, count) {
            let value = match identity {
                Identity::Copy { offset, .. } => self.file_page(offset).map_or(0, |page| first_word(&page)),
                _ => 0,
            };
            self.pages.insert(page, ModelPage { prot, identity, value });
            identity = identity.next();
        }
    }

    /// Bytes of the file, 0 where it is mapped.
    fn file_len(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.len() as u64)
    }

    /// What a page of the file shows, if it is not wholly beyond the end.
    fn file_page(&self, offset: u64) -> Option<Vec<u8>> {
        let rest = self.file.as_ref()?.get(offset as usize..).filter(|rest| !rest.is_empty())?;
        let mut page = rest[..rest.len().min(PAGE as usize)].to_vec();
        page.resize(PAGE as usize, 0);
        Some(page)
    }

    fn is_beyond_file(&self, page: &ModelPage) -> bool {
        matches!(page.identity, Identity::Copy { offset, .. } if offset >= self.file_len())
    }

    /// Whether what follows the page at `at` in its file is known.
    fn may_grow(&self, at: u64) -> bool {
        match self.pages.get(&at).map(|page| page.identity.next()) {
            Some(Identity::Copy { offset, end_seen, .. }) => end_seen && offset >= self.file_len(),
            _ => true,
        }
    }

    /// Number of pages from `at` to the end of its region.
    fn rest_of_region(&self, at: u64) -> u64 {
        let Some(mut page) = self.pages.get(&at) else { return 0 };
        let mut count = 1;
        while let Some(next) = self.pages.get(&(at + count * PAGE)) {
            if next.prot != page.prot || next.identity != page.identity.next() {
                break;
            }
            (page, count) = (next, count + 1);
        }
        count
    }

    fn moved(&mut self, from: u64, old: u64, to: u64, new: u64) {
        let mut taken: Vec<ModelPage> = pages(from, old).filter_map(|page| self.pages.remove(&page)).collect();
        let mut last = *taken.last().expect("something moves");
        while (taken.len() as u64) < new {
            last = ModelPage { identity: last.identity.next(), value: 0, ..last };
            taken.push(last);
        }
        for (page, mut what) in pages(to, new).zip(taken) {
            if to != from && what.identity == Identity::Heap {
                what.identity = Identity::Private { sparse: false };
            }
            self.pages.insert(page, what);
        }
    }
}

fn first_word(page: &[u8]) -> u64 {
    u64::from_ne_bytes(page[..8].try_into().expect("eight bytes"))
}

fn request(at: Option<u64>, count: u64, prot: u32, flavour: Flavour, replace: bool) -> MapRequest {
    let fixed = if replace { linux::MAP_FIXED } else { linux::MAP_FIXED_NOREPLACE };
    let (flags, fd) = match flavour {
        Flavour::Private => (linux::MAP_PRIVATE | linux::MAP_ANONYMOUS, -1),
        Flavour::Sparse => (linux::MAP_PRIVATE | linux::MAP_ANONYMOUS | linux::MAP_NORESERVE, -1),
        Flavour::Shared => (linux::MAP_SHARED | linux::MAP_ANONYMOUS, -1),
        Flavour::FilePrivate => (linux::MAP_PRIVATE, 3),
        Flavour::FileShared => (linux::MAP_SHARED, 3),
        Flavour::Broken => (linux::MAP_SHARED, 9),
    };
    MapRequest {
        addr: at.unwrap_or(0),
        len: count * PAGE - 5,
        prot: Prot::from_bits_truncate(prot),
        flags: flags | at.map_or(0, |_| fixed),
        fd,
        offset: OFFSET,
    }
}

/// What kind of platform is below.
#[derive(Debug, Clone, Copy)]
enum Below {
    /// One that maps private files.
    Maps,
    /// One that reads them: all have so many bytes.
    Reads(u64),
    /// One with so many bytes for small pages, and so many that are large pages for good.
    Pools(u64, u64),
}

/// Both, and what is below the real one.
struct Pair {
    space: AddressSpace,
    platform: &'static TestPlatform,
    model: Model,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.platform.retire();
    }
}

impl Pair {
    fn new(kind: Below) -> Self {
        let (file, (mut space, platform)) = match kind {
            Below::Maps => (None, fresh()),
            Below::Reads(len) => (Some(file_bytes(len)), fresh_reading(file_bytes(len))),
            Below::Pools(small, pool) => (None, fresh_pooled(small, pool)),
        };
        space.set_heap(HEAP);
        let mut pair = Pair { space, platform, model: Model { file, heap_end: HEAP, ..Model::default() } };
        if matches!(kind, Below::Pools(..)) {
            // Large pages from the start: calls of their own rarely map whole ones.
            pair.map(Some(BASE), 600, 3, Flavour::Private, true);
        }
        pair
    }

    fn run(&mut self, op: Op) {
        let at = |page: u64| BASE + page * PAGE;
        match op {
            Op::Map { page, pages, prot, flavour, replace } => self.map(page.map(at), pages, prot, flavour, replace),
            Op::Unmap { page, pages } => {
                assert_eq!(self.space.munmap(at(page), pages * PAGE), Ok(0));
                self.model.unmap(at(page), pages);
            }
            Op::Protect { page, pages, prot } => self.protect(at(page), pages, prot),
            Op::Remap { page, old, new, to, moves } => self.remap(at(page), old, new, to.map(at), moves),
            Op::Brk { page } => self.brk(HEAP + page * PAGE),
            Op::Advise { page, pages, advice } => self.advise(at(page), pages, advice),
            Op::Write { page, value } => self.write(at(page), value),
            Op::Touch { page, access } => self.touch(at(page), access),
            Op::Resident { page, pages } => {
                let mut out = vec![7; pages as usize];
                let whole = self.model.is_whole(at(page), pages);
                assert_eq!(self.space.resident(at(page), &mut out).is_ok(), whole);
            }
            Op::Pieces { page, pages } => self.pieces(at(page), pages),
        }
    }

    /// Without the model, where nobody can tell what a call will give.
    fn run_unforeseen(&mut self, op: Op) {
        let at = |page: u64| BASE + page * PAGE;
        let space = &mut self.space;
        let _ = match op {
            Op::Map { page, pages, prot, flavour, replace } => {
                space.mmap(&request(page.map(at), pages, prot, flavour, replace))
            }
            Op::Unmap { page, pages } => space.munmap(at(page), pages * PAGE),
            Op::Protect { page, pages, prot } => space.mprotect(at(page), pages * PAGE, prot),
            Op::Remap { page, old, new, to: None, .. } => space.mremap(at(page), old * PAGE, new * PAGE, 1, 0),
            Op::Remap { page, old, new, to: Some(to), .. } => space.mremap(at(page), old * PAGE, new * PAGE, 3, at(to)),
            Op::Brk { page } => Ok(space.brk(HEAP + page * PAGE)),
            Op::Advise { page, pages, advice } => space.madvise(at(page), pages * PAGE, advice),
            Op::Write { page, .. } | Op::Touch { page, .. } => {
                space.handle_fault(at(page), Access::Write);
                Ok(0)
            }
            Op::Resident { page, pages } => space.lock_range(at(page), pages * PAGE, false, true),
            Op::Pieces { page, pages } => Ok(space.pieces(at(page), pages * PAGE, Access::Read, &mut Vec::new())),
        };
    }

    fn map(&mut self, at: Option<u64>, count: u64, prot: u32, flavour: Flavour, replace: bool) {
        let fits = self.has_room_for_copy(at, count);
        let result = self.space.mmap(&request(at, count, prot, flavour, replace));
        let prot = Prot::from_bits_truncate(prot);
        self.model.ids += 1;
        let id = self.model.ids;
        let lazy = flavour == Flavour::Sparse || prot.is_empty();
        let identity = match flavour {
            Flavour::Private | Flavour::Sparse => Identity::Private { sparse: lazy },
            Flavour::Shared => Identity::Shared { sparse: lazy, id },
            Flavour::FilePrivate if self.model.file.is_some() => Identity::Copy {
                id,
                offset: OFFSET,
                end_seen: OFFSET + count * PAGE > self.model.file_len(),
                written: prot.contains(Prot::WRITE),
            },
            _ => Identity::File { shared: flavour == Flavour::FileShared, id, offset: OFFSET },
        };
        let taken = at.is_some_and(|at| !replace && !self.model.is_free(at, count));
        let is_copy = matches!(identity, Identity::Copy { .. });
        let expected = match flavour {
            _ if !identity.is_file() && !is_copy && !lazy && count * PAGE > FRAMES => Err(Errno::ENOMEM),
            _ if taken => Err(Errno::EEXIST),
            Flavour::Broken => Err(Errno::EACCES),
            _ if is_copy && !fits => Err(Errno::ENOMEM),
            _ => Ok(()),
        };
        assert_eq!(result.map(drop), expected);
        let Ok(to) = result else { return };
        match at {
            Some(at) => assert_eq!(at, to),
            None => assert!(self.model.is_free(to, count), "mapped over something"),
        }
        self.model.map(to, count, prot, identity);
    }

    /// Whether there are frames for what the file has for a mapping, those counted that it
    /// replaces.
    fn has_room_for_copy(&self, at: Option<u64>, count: u64) -> bool {
        let free = self.space.usage().1;
        let wanted = (self.model.file_len().saturating_sub(OFFSET)).next_multiple_of(PAGE).min(count * PAGE);
        let replaced = at.map_or(0, |at| self.space.mapped.filled(at..at + count * PAGE, u64::MAX));
        free > 0 && free + replaced >= wanted
    }

    fn protect(&mut self, at: u64, count: u64, bits: u32) {
        let result = self.space.mprotect(at, count * PAGE, bits);
        for page in pages(at, count) {
            let Some(page) = self.model.pages.get_mut(&page) else {
                assert_eq!(result, Err(Errno::ENOMEM));
                return;
            };
            page.prot = Prot::from_bits_truncate(bits);
            if let Identity::Copy { written, .. } = &mut page.identity {
                *written |= page.prot.contains(Prot::WRITE);
            }
        }
        assert_eq!(result, Ok(0));
    }

    fn remap(&mut self, at: u64, old: u64, new: u64, to: Option<u64>, moves: bool) {
        let fixed = if to.is_some() { linux::MREMAP_FIXED } else { 0 };
        let flags = fixed | if moves { linux::MREMAP_MAYMOVE } else { 0 };
        let result = self.space.mremap(at, old * PAGE, new * PAGE, flags, to.unwrap_or(0));
        let overlap = to.is_some_and(|to| at + old * PAGE > to && to + new * PAGE > at);
        let room = self.model.rest_of_region(at);
        let is_end = room == old;
        let grows_here = is_end && self.model.is_free(at + old * PAGE, new.saturating_sub(old));
        let stuck = new > old && !self.model.may_grow(at + (old - 1) * PAGE);
        let expected = match to {
            Some(_) if !moves || overlap => Err(Errno::EINVAL),
            _ if room == 0 => Err(Errno::EFAULT),
            None if old >= new => Ok(Some(at)),
            _ if old.min(new) > room => Err(Errno::EFAULT),
            Some(to) if stuck => {
                // As on Linux, what was there is gone by then.
                self.model.unmap(to, new);
                Err(Errno::ENOMEM)
            }
            None if stuck => Err(Errno::ENOMEM),
            Some(to) => Ok(Some(to)),
            None if grows_here => Ok(Some(at)),
            None if !moves => Err(Errno::ENOMEM),
            None => Ok(None),
        };
        self.finish_remap(result, expected, (at, old, new));
    }

    fn finish_remap(
        &mut self,
        result: SysResult,
        expected: Result<Option<u64>, Errno>,
        (at, old, new): (u64, u64, u64),
    ) {
        let to = match (result, expected) {
            (Ok(to), Ok(wanted)) => {
                assert!(wanted.is_none_or(|wanted| wanted == to), "{to:x}, not {wanted:x?}");
                to
            }
            (Err(got), Err(wanted)) => return assert_eq!(got, wanted),
            (got, wanted) => panic!("{got:x?}, not {wanted:x?}"),
        };
        if to == at && new <= old {
            return self.model.unmap(at + new * PAGE, old - new);
        }
        if old > new {
            self.model.unmap(at + new * PAGE, old - new);
        }
        let kept = old.min(new);
        if to != at {
            if expected == Ok(None) {
                assert!(self.model.is_free(to, new), "moved over something");
            }
            self.model.unmap(to, new);
        }
        self.model.moved(at, kept, to, new);
    }

    fn brk(&mut self, end: u64) {
        let result = self.space.brk(end);
        let (old, new) = (self.model.heap_end.next_multiple_of(PAGE), end.next_multiple_of(PAGE));
        let grows = new > old;
        if grows && !self.model.is_free(old, (new - old) / PAGE) {
            assert_eq!(result, self.model.heap_end);
            return;
        }
        assert_eq!(result, end);
        self.model.heap_end = end;
        if grows {
            self.model.map(old, (new - old) / PAGE, Prot::READ | Prot::WRITE, Identity::Heap);
        } else {
            self.model.unmap(new, (old - new) / PAGE);
        }
    }

    fn advise(&mut self, at: u64, count: u64, advice: u32) {
        let result = self.space.madvise(at, count * PAGE, advice);
        let whole = self.model.is_whole(at, count);
        // A call that fails has done what came before.
        let Model { file, pages: known, .. } = &mut self.model;
        for page in pages(at, count) {
            let Some(page) = known.get_mut(&page) else { continue };
            let shared = matches!(page.identity, Identity::Shared { .. });
            let refused = match advice {
                _ if page.identity.is_file() => (advice == linux::MADV_FREE).then_some(Errno::EINVAL),
                linux::MADV_DONTNEED if page.identity.is_copy() => None,
                linux::MADV_FREE if page.identity.is_copy() => Some(Errno::EINVAL),
                linux::MADV_REMOVE if page.identity.is_copy() => Some(Errno::EACCES),
                linux::MADV_FREE if shared => Some(Errno::EINVAL),
                linux::MADV_REMOVE if !shared => Some(Errno::EINVAL),
                _ => None,
            };
            if let Some(errno) = refused {
                assert_eq!(result, Err(errno));
                return;
            }
            if let (linux::MADV_DONTNEED, Identity::Copy { offset, .. }) = (advice, page.identity) {
                let rest = file.as_deref().and_then(|file| file.get(offset as usize..)).unwrap_or(&[]);
                page.value = first_word(&[rest, &[0; 8]].concat());
                continue;
            }
            if advice == linux::MADV_REMOVE || advice == linux::MADV_DONTNEED && !shared {
                page.value = 0;
            }
        }
        assert_eq!(result, if whole { Ok(0) } else { Err(Errno::ENOMEM) });
    }

    fn pieces(&mut self, at: u64, count: u64) {
        let mut out = Vec::new();
        let covered = self.space.pieces(at, count * PAGE, Access::Read, &mut out);
        let model = &self.model;
        let is_readable = |page: &ModelPage| !page.prot.is_empty() && !model.is_beyond_file(page);
        let readable = |page: &u64| model.pages.get(page).is_some_and(is_readable);
        let expected = pages(at, count).take_while(readable).count() as u64 * PAGE;
        if covered != expected {
            assert!(covered < expected && self.space.usage().1 == 0);
        }
        let lens = out.iter().map(|piece| match piece {
            Piece::Frames { len, .. } | Piece::Foreign { len, .. } => *len,
        });
        assert_eq!(lens.sum::<u64>(), covered);
    }

    /// Writes as a program would, faults included.
    fn write(&mut self, at: u64, value: u64) {
        let page = self.model.pages.get(&at).copied();
        let allowed = page.is_some_and(|page| page.prot.contains(Prot::WRITE) && !self.model.is_beyond_file(&page));
        let mut out = Vec::new();
        let covered = self.space.pieces(at, 8, Access::Write, &mut out);
        if !allowed {
            assert_eq!(covered, 0);
            return;
        }
        if covered == 0 {
            assert_eq!(self.space.usage().1, 0, "no frame for the page although there are some");
            return;
        }
        if let Piece::Frames { frame, .. } = out[0] {
            assert!(self.space.window.write_words(frame, &[value]));
            self.model.pages.get_mut(&at).expect("it is allowed").value = value;
        }
    }

    fn touch(&mut self, at: u64, access: Access) {
        let fault = self.space.handle_fault(at + 9, access);
        let segv = |code: u32| Fault::Segv { code: code as i32 };
        let expected = match self.model.pages.get(&at) {
            None => segv(linux::SEGV_MAPERR),
            Some(page) if !access.is_allowed(page.prot) => segv(linux::SEGV_ACCERR),
            Some(page) if page.identity.is_file() || self.model.is_beyond_file(page) => Fault::Bus,
            Some(_) if fault == Fault::OutOfMemory => {
                assert_eq!(self.space.usage().1, 0);
                return;
            }
            Some(_) => Fault::Filled,
        };
        assert_eq!(fault, expected);
    }

    /// Whether what lies behind a page is what should.
    fn compare_contents(&self, at: u64, page: &ModelPage, kind: Kind) {
        match (page.identity, kind) {
            (Identity::File { offset, .. }, Kind::File { offset: found, .. }) => {
                assert_eq!(offset, found);
                assert_eq!(self.platform.page(at).map(|page| page.source), Some((3, offset)));
            }
            (
                Identity::Copy { offset, written, end_seen, .. },
                Kind::FileCopy { offset: found, written: known, file_end, .. },
            ) => {
                assert_eq!((offset, written), (found, known));
                assert_eq!(file_end, if end_seen { self.model.file_len() } else { u64::MAX });
                let mut expected = self.model.file_page(offset);
                if let Some(expected) = &mut expected {
                    expected[..8].copy_from_slice(&page.value.to_ne_bytes());
                }
                assert!(page_bytes(&self.space, at) == expected, "{at:x} is not what the file holds at {offset:x}");
            }
            _ => assert_eq!(word(&self.space, at).unwrap_or(0), page.value, "{at:x}"),
        }
    }

    /// Whether both are the same.
    fn compare(&self) {
        check_books(&self.space, self.platform);
        let mut seen = 0;
        let mut before: Option<(u64, ModelPage)> = None;
        for vma in self.space.regions() {
            for at in vma.range().step_by(PAGE as usize) {
                let page = *self.model.pages.get(&at).unwrap_or_else(|| panic!("{at:x} should not be mapped"));
                assert_eq!(page.prot, vma.prot);
                assert_eq!(page.identity.is_file(), !vma.kind.has_frames());
                if let Some((last, before)) = before.filter(|(last, _)| last + PAGE == at) {
                    let goes_on = page.identity == before.identity.next() && page.prot == before.prot;
                    assert_eq!(goes_on, vma.start <= last, "{at:x}: one region of two kinds, or two of one");
                }
                self.compare_contents(at, &page, vma.kind.advanced(at - vma.start));
                before = Some((at, page));
                seen += 1;
            }
        }
        assert_eq!(seen, self.model.pages.len(), "something is missing");
    }
}

fn op() -> impl Strategy<Value = Op> {
    let page = || prop_oneof![3 => 0u64..40, 1 => 0..PAGES, 1 => 690u64..720];
    let count = || prop_oneof![6 => 1u64..20, 2 => 500u64..1000];
    let prot = || prop_oneof![4 => Just(3u32), 1 => 0u32..8];
    let flavour = prop_oneof![
        5 => Just(Flavour::Private),
        2 => Just(Flavour::Sparse),
        2 => Just(Flavour::Shared),
        4 => Just(Flavour::FilePrivate),
        1 => Just(Flavour::FileShared),
        1 => Just(Flavour::Broken),
    ];
    let advice = prop::sample::select(vec![linux::MADV_DONTNEED, linux::MADV_FREE, linux::MADV_REMOVE, 14]);
    let access = prop::sample::select(vec![Access::Read, Access::Write, Access::Exec]);
    let mapped = (prop::option::weighted(0.8, page()), count(), prot(), flavour, any::<bool>());
    let remap = (page(), 1u64..30, 1u64..30, prop::option::weighted(0.4, page()), any::<bool>());
    prop_oneof![
        6 => mapped.prop_map(|(page, pages, prot, flavour, replace)| Op::Map { page, pages, prot, flavour, replace }),
        3 => (page(), count()).prop_map(|(page, pages)| Op::Unmap { page, pages }),
        2 => (page(), count(), prot()).prop_map(|(page, pages, prot)| Op::Protect { page, pages, prot }),
        4 => remap.prop_map(|(page, old, new, to, moves)| Op::Remap { page, old, new, to, moves }),
        2 => (0u64..60).prop_map(|page| Op::Brk { page }),
        2 => (page(), count(), advice).prop_map(|(page, pages, advice)| Op::Advise { page, pages, advice }),
        5 => (page(), 1u64..u64::MAX).prop_map(|(page, value)| Op::Write { page, value }),
        2 => (page(), access).prop_map(|(page, access)| Op::Touch { page, access }),
        1 => (page(), count()).prop_map(|(page, pages)| Op::Resident { page, pages }),
        1 => (page(), 1u64..30).prop_map(|(page, pages)| Op::Pieces { page, pages }),
    ]
}

/// What may be below. A file that is read ends in the midst of mappings, with a page, with a page
/// that is not full, and beyond a block. Small pages for all memory that may be used make that
/// no call fails for want of them.
fn below() -> impl Strategy<Value = Below> {
    let lens = vec![OFFSET + 10 * PAGE, OFFSET + 14 * PAGE + 100, OFFSET + 700 * PAGE - 1];
    let pools = vec![LARGE_PAGE, FRAMES];
    prop_oneof![
        1 => Just(Below::Maps),
        1 => prop::sample::select(lens).prop_map(Below::Reads),
        2 => prop::sample::select(pools).prop_map(|pool| Below::Pools(FRAMES + LARGE_PAGE, pool)),
    ]
}

/// Besides these, platforms with few small pages.
fn below_or_short() -> impl Strategy<Value = Below> {
    let small = vec![LARGE_PAGE, 2 * LARGE_PAGE];
    prop_oneof![below(), prop::sample::select(small).prop_map(|small| Below::Pools(small, FRAMES - small))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_address_space_does_what_single_pages_would(
        ops in prop::collection::vec(op(), 1..50),
        below in below(),
    ) {
        let mut pair = Pair::new(below);
        for op in ops {
            pair.run(op);
            pair.compare();
        }
        pair.space.unmap_all();
        prop_assert_eq!(pair.platform.pages(), 0);
        prop_assert_eq!(pair.space.usage(), (FRAMES, FRAMES));
    }

    #[test]
    fn a_platform_out_of_room_leaves_the_books_in_order(
        ops in prop::collection::vec((op(), 0u32..4), 1..30),
        below in below_or_short(),
    ) {
        let mut pair = Pair::new(below);
        let total = pair.space.usage().0;
        for (op, mappings) in ops {
            pair.platform.fail_after(mappings);
            pair.run_unforeseen(op);
            check_books(&pair.space, pair.platform);
        }
        pair.space.unmap_all();
        prop_assert_eq!(pair.platform.pages(), 0);
        prop_assert_eq!(pair.space.usage(), (total, total));
    }
}
