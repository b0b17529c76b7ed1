//! A peer that writes anything anywhere: this side answers with a value or an error, never with
//! a panic, never by touching a byte outside the region.
//!
//! The region lies between two stretches of memory that allow no access: whoever leaves it ends
//! the test by a fault. Arithmetic that overflows panics here (debug build).
#![cfg(not(loom))]

use std::cell::RefCell;
use std::collections::HashSet;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{io, thread};

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use shm_ipc::block::{self, ARGS, Block, MAX_SEGMENTS, Segment, Span};
use shm_ipc::boot::{self, BootInfo};
use shm_ipc::control::{Cause, CellState, ControlPage, Exit, MAGIC, PANIC_BYTES};
use shm_ipc::doorbell::{Attention, Doorbell};
use shm_ipc::layout::{Layout, PAGE};
use shm_ipc::region::Region;
use shm_ipc::ring::{Completion, Consumer, Producer, PushError, RING_SLOTS, Ring, Submission};
use zerocopy::FromBytes;

const CORES: u32 = 2;
const FRAMES: u64 = 16 * PAGE;
const FENCE: usize = 4 << 20;

fn layout() -> Layout {
    Layout::new(CORES, 2 * PAGE, FRAMES).expect("possible")
}

/// A region of the layout's size, or of fewer bytes, between two fences.
struct Fenced {
    at: *mut libc::c_void,
    mapped: usize,
    region: Region,
}

impl Fenced {
    fn new(len: u64) -> Self {
        let mapped = len as usize + 2 * FENCE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping, and the middle of it made accessible.
        let at = unsafe {
            let at = libc::mmap(ptr::null_mut(), mapped, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(at, libc::MAP_FAILED, "{}", io::Error::last_os_error());
            let inside = libc::mprotect(at.byte_add(FENCE), len as usize, libc::PROT_READ | libc::PROT_WRITE);
            assert_eq!(inside, 0, "{}", io::Error::last_os_error());
            at
        };
        let base = NonNull::new(at.cast::<u8>().wrapping_add(FENCE)).expect("mappings do not begin at null");
        // SAFETY:
        // 1. What is got from the region does not outlive the `Fenced`: each test keeps it to
        //    its own end.
        // 2. The host maps whole pages.
        // 3. Only this view refers to it.
        let region = unsafe { Region::new(base, len) };
        Fenced { at, mapped, region }
    }

    /// All bytes zero again.
    fn clear(&self) {
        let base = self.at.wrapping_byte_add(FENCE);
        // SAFETY: the accessible part of the mapping, to which no plain reference exists.
        let cleared = unsafe { libc::madvise(base, self.mapped - 2 * FENCE, libc::MADV_DONTNEED) };
        assert_eq!(cleared, 0, "{}", io::Error::last_os_error());
    }

    fn holds<T>(&self, what: &T) -> bool {
        let (start, at) = (self.at.addr() + FENCE, ptr::from_ref(what).addr());
        at >= start && at + size_of::<T>() <= start + self.region.len() as usize
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: see `new`: nothing refers to it any more.
        unsafe { libc::munmap(self.at, self.mapped) };
    }
}

/// Offsets of words that mean something, and some that mean nothing.
fn place() -> impl Strategy<Value = u64> {
    let layout = layout();
    let ring = size_of::<Ring>() as u64;
    let counters: Vec<u64> =
        (0..2 * u64::from(CORES)).flat_map(|i| [layout.rings + i * ring, layout.rings + i * ring + 64]).collect();
    let words = |from: u64, bytes: u64| (from / 8..(from + bytes) / 8).prop_map(|word| 8 * word);
    prop_oneof![
        4 => words(0, size_of::<ControlPage>() as u64),
        2 => words(layout.boot, size_of::<BootInfo>() as u64),
        2 => words(layout.core_blocks, 256),
        4 => select(counters),
        1 => words(layout.rings, 4 * ring),
        4 => words(layout.frames, 256),
        1 => words(0, layout.end),
    ]
}

/// Values that could be mistaken for good ones, and any others.
fn value() -> impl Strategy<Value = u64> {
    let layout = layout();
    let mut edges = vec![0, 1 << 31, 1 << 32, 1 << 63, MAGIC, u64::from(u32::MAX), u64::MAX];
    edges.extend(layout.to_words());
    edges.extend([RING_SLOTS as u64, MAX_SEGMENTS as u64, PANIC_BYTES as u64, CORES.into()]);
    let near = (select(edges), -9..=9_i64).prop_map(|(edge, by)| edge.wrapping_add_signed(by));
    prop_oneof![3 => near, 2 => 0..300_u64, 1 => any::<u64>()]
}

/// An offset that the peer names, and a length.
fn range() -> impl Strategy<Value = (u64, u64)> {
    (prop_oneof![place(), value()], value())
}

/// What this side does between two of the peer's writes.
#[derive(Debug, Clone)]
enum Step {
    PeerWrites(u64, u64),
    PeerSendsBlock(u64, Vec<(u64, u64)>, [(u32, u32); ARGS]),
    ReadControl,
    Advance(CellState),
    End(Exit),
    Panic(usize),
    ReadBoot,
    Pop(u32),
    Push(u32),
    ReadBlock(u64),
    Ring(u32),
    Access(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    use CellState::{Booting, Exited, Failed, Reserved, Running};
    let state = select(vec![Reserved, Booting, Running, Exited, Failed]);
    let exit = prop_oneof![any::<u8>().prop_map(Exit::Code), any::<u8>().prop_map(Exit::Signal)];
    let frames = layout().frames;
    let block = prop_oneof![4 => (0..8_u64).prop_map(move |i| frames + 8 * i), 1 => place(), 1 => value()];
    let inside = (frames..frames + FRAMES, 0..2 * PAGE);
    let segments = proptest::collection::vec(prop_oneof![8 => inside, 1 => range()], 0..6);
    let any_spans =
        proptest::array::uniform8(prop_oneof![20 => Just((0, 0)), 1 => (0..6_u32, 0..6_u32), 1 => any::<(u32, u32)>()]);
    // Of one argument with one segment, as of most calls: chance seldom makes such a block.
    let one_span = (0..ARGS).prop_map(|arg| std::array::from_fn(|at| if at == arg { (0, 1) } else { (0, 0) }));
    let spans = prop_oneof![any_spans, one_span];
    prop_oneof![
        8 => (place(), value()).prop_map(|(at, word)| Step::PeerWrites(at, word)),
        3 => (block.clone(), segments, spans).prop_map(|(at, s, spans)| Step::PeerSendsBlock(at, s, spans)),
        2 => Just(Step::ReadControl),
        1 => state.prop_map(Step::Advance),
        1 => exit.prop_map(Step::End),
        1 => (0..2 * PANIC_BYTES).prop_map(Step::Panic),
        1 => Just(Step::ReadBoot),
        3 => (0..CORES).prop_map(Step::Pop),
        2 => (0..CORES).prop_map(Step::Push),
        4 => block.prop_map(Step::ReadBlock),
        1 => (0..CORES).prop_map(Step::Ring),
        2 => range().prop_map(|(offset, len)| Step::Access(offset, len)),
    ]
}

/// This side of a cell: the proxy where core 0 is concerned, the kernel for core 1.
struct Side<'f> {
    fenced: &'f Fenced,
    layout: Layout,
    consumers: [Consumer<'f>; 2],
    producers: [Producer<'f>; 2],
    block: Box<Block>,
}

impl<'f> Side<'f> {
    fn new(fenced: &'f Fenced) -> Self {
        let (layout, region) = (layout(), &fenced.region);
        fenced.clear();
        Layout::control(region).expect("it fits").initialise(&layout);
        let submissions = |core| layout.submissions(region, core).expect("it fits");
        let completions = |core| layout.completions(region, core).expect("it fits");
        Side {
            fenced,
            layout,
            consumers: [Consumer::new(submissions(0)), Consumer::new(completions(1))],
            producers: [Producer::new(completions(0)), Producer::new(submissions(1))],
            block: Box::new(Block::empty()),
        }
    }

    /// Names what came of it, so that a run can tell whether it met all cases.
    fn take(&mut self, step: &Step) -> &'static str {
        let region = &self.fenced.region;
        let control = Layout::control(region).expect("it fits");
        match *step {
            Step::PeerWrites(at, word) => {
                assert!(region.write_words(at, &[word]));
                "written"
            }
            Step::PeerSendsBlock(at, ref segments, ref spans) => {
                let segments: Vec<_> = segments.iter().map(|&(offset, len)| Segment { offset, len }).collect();
                let spans = spans.map(|(first, count)| Span { first, count });
                if block::write(region, at, &[at; ARGS], &spans, &segments) { "block sent" } else { "block unsent" }
            }
            Step::ReadControl => self.read_control(control),
            Step::Advance(next) => {
                let before = control.state();
                let moved = control.advance(next);
                assert_eq!(moved, before.is_some_and(|now| now.may_become(next)));
                assert_eq!(control.state(), if moved { Some(next) } else { before });
                if moved { "moved" } else { "not moved" }
            }
            Step::End(exit) => {
                control.set_exit(exit);
                "ended"
            }
            Step::Panic(len) => {
                control.set_panic(&[b'!'; 2 * PANIC_BYTES][..len]);
                "panicked"
            }
            Step::ReadBoot => match boot::read(region, &self.layout) {
                Some((info, at)) => {
                    assert_eq!(at, self.layout.boot + size_of::<BootInfo>() as u64);
                    assert!(at + info.strings_len <= self.layout.core_blocks);
                    assert!(region.read(at, &mut vec![0; info.strings_len as usize]));
                    "boot information"
                }
                None => "no boot information",
            },
            Step::Pop(core) => self.pop(core),
            Step::Push(core) => self.push(core),
            Step::ReadBlock(offset) => self.read_block(offset),
            Step::Ring(core) => self.ring(core, control),
            Step::Access(offset, len) => self.access(offset, len),
        }
    }

    fn read_control(&self, control: &ControlPage) -> &'static str {
        let mut buffer = [0; PANIC_BYTES];
        assert!(control.panic_message(&mut buffer).len() <= PANIC_BYTES);
        if let Some(Exit::Signal(signal)) = control.exit() {
            assert!((1..=127).contains(&signal));
        }
        // A kernel that reads the layout from the page: whatever the layout says, what is got by
        // it lies in the region.
        let Some(alleged) = control.layout() else { return "no layout" };
        for core in [0, 1, alleged.cores - 1, alleged.cores, u32::MAX] {
            let inside = alleged.core_block(&self.fenced.region, core).is_none_or(|block| self.fenced.holds(block));
            assert!(inside, "core block {core} of {alleged:?}");
            let submissions = alleged.submissions(&self.fenced.region, core);
            let completions = alleged.completions(&self.fenced.region, core);
            for ring in [submissions, completions].into_iter().flatten() {
                assert!(self.fenced.holds(ring), "ring of core {core} of {alleged:?}");
            }
        }
        if boot::read(&self.fenced.region, &alleged).is_some() {
            assert!(alleged.end <= self.fenced.region.len());
        }
        if alleged == self.layout { "layout" } else { "another layout" }
    }

    fn pop(&mut self, core: u32) -> &'static str {
        let consumer = &mut self.consumers[core as usize];
        let empty = consumer.is_empty();
        for taken in 0.. {
            assert!(taken <= RING_SLOTS, "more messages than slots");
            let found = match core {
                0 => consumer.pop::<Submission>().map(|message| message.is_some()),
                _ => consumer.pop::<Completion>().map(|message| message.is_some()),
            };
            match found {
                Ok(true) => assert_eq!(empty, Ok(false)),
                Ok(false) => return if taken == 0 { "nothing to pop" } else { "popped" },
                Err(corrupt) => {
                    assert!(corrupt.alleged.wrapping_sub(corrupt.own) as usize > RING_SLOTS);
                    return "pop of a corrupt ring";
                }
            }
        }
        unreachable!()
    }

    fn push(&mut self, core: u32) -> &'static str {
        let producer = &mut self.producers[core as usize];
        // Nobody takes anything meanwhile: by then the ring is full.
        for _ in 0..=2 * RING_SLOTS {
            let pushed = match core {
                0 => producer.push(Completion { token: 1, result: -2, extra: 3 }),
                _ => producer.push(Submission { token: 1, nr: 2, block: 3, child: 0 }),
            };
            match pushed {
                Ok(()) => {}
                Err(PushError::Full) => return "pushed until full",
                Err(PushError::Corrupt(corrupt)) => {
                    assert!(corrupt.own.wrapping_sub(corrupt.alleged) as usize > RING_SLOTS);
                    return "push to a corrupt ring";
                }
            }
        }
        panic!("a full ring takes messages");
    }

    fn read_block(&mut self, offset: u64) -> &'static str {
        let result = self.block.read(&self.fenced.region, &self.layout, offset);
        // Also after an error: nothing unchecked is ever to be had.
        let mut pieces = 0;
        for segment in (0..ARGS).flat_map(|arg| self.block.segments(arg)).filter(|s| **s != Segment::default()) {
            let end = segment.offset.checked_add(segment.len).expect("a checked segment");
            assert!(segment.offset >= self.layout.frames && end <= self.layout.end, "{segment:?}");
            pieces += 1;
        }
        match result {
            Ok(()) if pieces > 0 => "block with segments",
            Ok(()) => "block",
            Err(block::BadBlock::Place { .. }) => "block in no place",
            Err(block::BadBlock::Segments { .. }) => "block of too many segments",
            Err(block::BadBlock::Segment(_)) => "block with a bad segment",
            Err(block::BadBlock::Span { .. }) => "block with a bad span",
        }
    }

    fn ring(&self, core: u32, control: &ControlPage) -> &'static str {
        let block = self.layout.core_block(&self.fenced.region, core).expect("it fits");
        for cause in Cause::ALL {
            let before = block.counted(cause);
            block.count(cause);
            assert_eq!(block.counted(cause), before.wrapping_add(1));
        }
        block.count_call(u64::from(core));
        for bell in [&block.bell, &control.proxy_bell] {
            let asleep = bell.is_asleep();
            let first = bell.ring();
            assert!(!asleep || first == Attention::Asleep);
            assert_eq!(bell.ring(), Attention::Polling, "after {first:?}");
        }
        "rung"
    }

    fn access(&self, offset: u64, len: u64) -> &'static str {
        let region = &self.fenced.region;
        let inside = offset.checked_add(len).is_some_and(|end| end <= region.len());
        assert_eq!(region.bytes(offset, len).is_some(), inside);
        if let Ok(len) = usize::try_from(len.min(region.len() + 8)) {
            let mut copy = vec![0; len];
            let inside = offset.checked_add(len as u64).is_some_and(|end| end <= region.len());
            assert_eq!(region.read(offset, &mut copy), inside);
            assert_eq!(region.write(offset, &copy), inside);
            let mut words = vec![0; len / 8];
            let inside = offset.checked_add(8 * words.len() as u64).is_some_and(|end| end <= region.len());
            assert_eq!(region.read_words(offset, &mut words), inside && offset.is_multiple_of(8));
            assert_eq!(region.write_words(offset, &words), inside && offset.is_multiple_of(8));
        }
        for found in [
            region.get::<ControlPage>(offset).map(|page| self.fenced.holds(page)),
            region.get::<Ring>(offset).map(|ring| self.fenced.holds(ring)),
            region.get::<Doorbell>(offset).map(|bell| self.fenced.holds(bell)),
        ] {
            assert_ne!(found, Some(false), "a structure at {offset:#x} that the region does not hold");
        }
        if inside { "inside" } else { "outside" }
    }
}

#[test]
fn whatever_the_peer_writes_this_side_answers() {
    let fenced = Fenced::new(layout().end);
    let mut runner = TestRunner::new(Config { cases: 1000, failure_persistence: None, ..Config::default() });
    let met = RefCell::new(HashSet::new());
    let steps = proptest::collection::vec(step(), 1..80);
    let result = runner.run(&steps, |steps| {
        let mut side = Side::new(&fenced);
        for step in &steps {
            met.borrow_mut().insert(side.take(step));
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    // The steps are only worth something if they lead everywhere.
    for case in [
        "no layout",
        "layout",
        "moved",
        "not moved",
        "boot information",
        "no boot information",
        "nothing to pop",
        "popped",
        "pop of a corrupt ring",
        "pushed until full",
        "push to a corrupt ring",
        "block with segments",
        "block in no place",
        "block of too many segments",
        "block with a bad segment",
        "block with a bad span",
        "inside",
        "outside",
    ] {
        assert!(met.borrow().contains(case), "never met: {case}");
    }
}

/// A region that ends before its layout does: accessors say so.
#[test]
fn a_region_may_be_smaller_than_its_layout() {
    let whole = layout();
    for pages in [1, 2, 3, 5, 8, whole.rings / PAGE, whole.rings / PAGE + 5, whole.frames / PAGE, whole.end / PAGE - 1]
    {
        let fenced = Fenced::new(pages * PAGE);
        let region = &fenced.region;
        Layout::control(region).expect("one page is enough").initialise(&whole);
        let alleged = Layout::control(region).and_then(ControlPage::layout).expect("it was written");
        assert!(!alleged.fits(region) && boot::read(region, &alleged).is_none());
        let info = BootInfo::read_from_bytes(&[0; size_of::<BootInfo>()]).expect("zeros are one");
        assert_eq!(
            boot::write(region, &alleged, &info, b""),
            alleged.boot + size_of::<BootInfo>() as u64 <= region.len()
        );
        for core in 0..CORES {
            let block = alleged.core_block(region, core);
            assert!(block.is_none_or(|block| fenced.holds(block)));
            for ring in [alleged.submissions(region, core), alleged.completions(region, core)].into_iter().flatten() {
                assert!(fenced.holds(ring));
                let mut consumer = Consumer::new(ring);
                assert_eq!(consumer.pop::<Completion>(), Ok(None));
            }
        }
        let segment = Segment { offset: whole.frames, len: FRAMES };
        assert!(block::write(region, 0, &[0; ARGS], &[Span::default(); ARGS], &[segment]));
        assert_eq!(Block::empty().read(region, &alleged, 0), Err(block::BadBlock::Segment(segment)));
    }
}

struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The peer rewrites a block while it is read: what was checked is what is used.
#[test]
fn a_block_that_changes_while_it_is_read() {
    const SEGMENTS: u64 = 16;
    let layout = layout();
    let fenced = Fenced::new(layout.end);
    let region = fenced.region;
    let over = AtomicBool::new(false);
    let word = |index: u64| region.get::<AtomicU64>(layout.frames + 8 * index).expect("it fits");
    let good = Segment { offset: layout.frames, len: FRAMES };
    let spans = [Span { first: 0, count: SEGMENTS as u32 }; ARGS];
    assert!(block::write(&region, layout.frames, &[0; ARGS], &spans, &[good; SEGMENTS as usize]));
    thread::scope(|scope| {
        // However this thread leaves, the other stops.
        let _stop = OnDrop(|| over.store(true, Ordering::Relaxed));
        scope.spawn(|| {
            let count = word(2 * ARGS as u64);
            let last_offset = word(2 * ARGS as u64 + 1 + 2 * (SEGMENTS - 1));
            let last_len = word(2 * ARGS as u64 + 2 + 2 * (SEGMENTS - 1));
            let span = word(ARGS as u64);
            let good_span = span.load(Ordering::Relaxed);
            for (target, good, bad) in [
                (count, SEGMENTS, u64::MAX),
                (count, SEGMENTS, 1),
                (last_offset, good.offset, 0),
                (last_offset, good.offset, u64::MAX),
                (last_len, good.len, FRAMES + 1),
                (span, good_span, u64::MAX),
                (span, good_span, good_span + 1),
            ]
            .iter()
            .cycle()
            {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                target.store(*bad, Ordering::Relaxed);
                target.store(*good, Ordering::Relaxed);
            }
        });
        let mut block = Block::empty();
        let (mut accepted, mut refused) = (0, 0);
        while accepted + refused < 100_000 || accepted == 0 || refused == 0 {
            match block.read(&region, &layout, layout.frames) {
                Ok(()) => accepted += 1,
                Err(_) => refused += 1,
            }
            for segment in (0..ARGS).flat_map(|arg| block.segments(arg)).filter(|s| **s != Segment::default()) {
                assert_eq!(*segment, good, "never checked");
            }
        }
    });
}
