//! Forwarded calls: marshal, submit, wait, take the answer. The only user of the rings.
//!
//! Payload stays where it is: program memory travels as segments of frames, pinned until the
//! answer is there, so that memory which the program gives back meanwhile is not handed out
//! again. What does not lie in frames (mappings of files) is bounced through the kernel's heap,
//! which does.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use shm_ipc::block::{self, ARGS, MAX_SEGMENTS, Segment, Span};
use shm_ipc::calls::private;
use shm_ipc::doorbell::Attention;
use shm_ipc::ring::{Completion, Consumer, Corrupt, Incoming, Producer, PushError, Ring, SIGINFO_BYTES, Submission};
use spin::Mutex;

use crate::abi::{self, Errno, SysResult};
use crate::mm::{self, Access, Piece, user};
use crate::sched::core::{Core, cores};
use crate::sched::thread::current_arc;
use crate::sched::wait::{self, Ticket, Wake};
use crate::sched::{signal, this_core};
use crate::{boot, platform};

/// A core's ends of its rings, and the calls that went out through them.
#[derive(Debug)]
pub struct Rings {
    submissions: Mutex<Producer<'static>>,
    completions: Mutex<Consumer<'static>>,
    /// Where they lie, and how many have been taken, to look without the lock.
    answers: &'static Ring,
    taken: AtomicU32,
    calls: Mutex<Vec<Call>>,
    generation: AtomicU64,
}

/// A call on its way, by slot.
#[derive(Debug)]
enum Call {
    Free,
    /// A thread waits for the answer.
    Waiting {
        token: u64,
        ticket: Ticket,
    },
    /// A core does nothing but wait for the answer.
    Attended {
        token: u64,
    },
    /// The answer is there, the thread has not taken it yet.
    Answered(Completion),
    /// Nobody waits; the block is kept until the proxy has read it.
    Detached {
        token: u64,
        _block: Vec<u64>,
    },
}

/// Tokens: slot in the low 16 bits, core in the next 16, generation above; never 0.
fn token_of(core: u32, slot: usize, generation: u64) -> u64 {
    generation << 32 | u64::from(core) << 16 | slot as u64
}

fn slot_of(token: u64) -> usize {
    (token & 0xffff) as usize
}

impl Rings {
    /// The kernel's ends of a core's rings.
    #[must_use]
    pub fn new(submissions: &'static Ring, completions: &'static Ring) -> Self {
        Rings {
            submissions: Mutex::new(Producer::new(submissions)),
            completions: Mutex::new(Consumer::new(completions)),
            answers: completions,
            taken: AtomicU32::new(0),
            calls: Mutex::new(Vec::new()),
            generation: AtomicU64::new(1),
        }
    }

    fn enter(&self, core: u32, make: impl FnOnce(u64) -> Call) -> u64 {
        let mut calls = self.calls.lock();
        let slot = calls.iter().position(|call| matches!(call, Call::Free)).unwrap_or(calls.len());
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff;
        let token = token_of(core, slot, generation.max(1));
        let call = make(token);
        match calls.get_mut(slot) {
            Some(free) => *free = call,
            None => calls.push(call),
        }
        token
    }

    fn take_answer(&self, token: u64) -> Option<Completion> {
        let mut calls = self.calls.lock();
        let slot = calls.get_mut(slot_of(token))?;
        match core::mem::replace(slot, Call::Free) {
            Call::Answered(completion) => Some(completion),
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Files an answer; gives the ticket of the thread that waits for it.
    fn answer(&self, completion: Completion) -> Option<Ticket> {
        let mut calls = self.calls.lock();
        let slot = calls.get_mut(slot_of(completion.token))?;
        match slot {
            Call::Waiting { token, ticket } if *token == completion.token => {
                let ticket = ticket.clone();
                *slot = Call::Answered(completion);
                Some(ticket)
            }
            Call::Attended { token } if *token == completion.token => {
                *slot = Call::Answered(completion);
                None
            }
            Call::Detached { token, .. } if *token == completion.token => {
                *slot = Call::Free;
                None
            }
            _ => None,
        }
    }

    /// Whether an answer waits in the ring.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.answers.produced() != self.taken.load(Ordering::Relaxed)
    }

    /// The next message, if there is one.
    fn take(&self) -> Result<Option<Incoming>, Corrupt> {
        let mut completions = self.completions.lock();
        let message = completions.pop::<Incoming>()?;
        if message.is_some() {
            self.taken.fetch_add(1, Ordering::Relaxed);
        }
        Ok(message)
    }
}

/// Takes all answers that have come to this core and makes their threads runnable.
///
/// # Panics
/// When the proxy has corrupted the ring: nothing can be forwarded any more.
pub fn poll(core: &Core) {
    while core.rings.has_answer() {
        match core.rings.take() {
            Ok(None) => return,
            Ok(Some(Incoming::Answer(completion))) => {
                if let Some(ticket) = core.rings.answer(completion) {
                    ticket.redeem(Wake::Event);
                }
            }
            Ok(Some(Incoming::Signal(words))) => {
                let mut info = [0; 128];
                for (bytes, word) in info[..SIGINFO_BYTES].chunks_exact_mut(8).zip(words) {
                    bytes.copy_from_slice(&word.to_le_bytes());
                }
                signal::receive(info);
            }
            Ok(Some(Incoming::Fill(fill))) => mm::asked::note(core, fill),
            Err(corrupt) => panic!("completion ring of core {}: {corrupt}", core.index),
        }
    }
}

fn submit(core: &Core, submission: Submission) {
    loop {
        let pushed = core.rings.submissions.lock().push(submission);
        match pushed {
            Ok(()) => break,
            Err(PushError::Full) => {
                poll(core);
                platform::get().relax();
            }
            Err(PushError::Corrupt(corrupt)) => panic!("submission ring of core {}: {corrupt}", core.index),
        }
    }
    if boot::control().proxy_bell.ring() != Attention::Polling {
        platform::get().wake_proxy();
    }
}

/// Asks the proxy to give up the call with this token, which some thread waits for.
pub fn cancel(token: u64) {
    let core = this_core();
    let mut words = alloc::vec![0; block::block_bytes(0) as usize / 8];
    words[0] = token;
    let at = offset_of(words.as_ptr().cast());
    let own = core.rings.enter(core.index, |token| Call::Detached { token, _block: words });
    submit(core, Submission { token: own, nr: private::CANCEL, block: at, child: 0 });
}

/// Names something on stderr, once for each time it is called.
pub fn notice(text: &str) {
    let mut request = Request::kernel(private::NOTICE);
    request.set(1, text.len() as u64);
    let copy: Vec<u8> = text.as_bytes().to_vec();
    request.kernel_buffer(0, copy);
    // There is nobody to tell if even this fails.
    let _ = request.run();
}

/// Offset of kernel memory (heap or kernel pages) in the cell's memory.
fn offset_of(at: *const u8) -> u64 {
    let base = platform::get().region().bytes(0, 0).map_or(0, |base| base as u64);
    (at as u64).wrapping_sub(base)
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The call's result.
    pub result: SysResult,
    /// The second result.
    pub extra: u64,
}

/// Program memory that is not in frames, and its stand-in.
#[derive(Debug)]
struct Bounce {
    at: u64,
    buffer: Vec<u8>,
    write_back: bool,
}

/// A buffer that is only copied to the program as far as the result says.
#[derive(Debug)]
struct Late {
    at: u64,
    /// Which of the request's own buffers stands in for it.
    owned: usize,
    /// Bytes for each that the result counts.
    unit: u64,
}

/// A forwarded call being put together.
#[derive(Debug)]
pub struct Request {
    nr: u32,
    args: [u64; ARGS],
    spans: [Span; ARGS],
    segments: Vec<Segment>,
    pins: Vec<Segment>,
    bounces: Vec<Bounce>,
    owned: Vec<Vec<u8>>,
    late: Option<Late>,
    interruptible: bool,
    has_bad_pointers: bool,
    /// Whether the buffer that was passed last reaches beyond the program's memory.
    memory_ends: bool,
}

/// Which way a buffer's content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The call reads it.
    In,
    /// The call fills it.
    Out,
    /// Both.
    InOut,
}

impl Direction {
    fn access(self) -> Access {
        if self == Direction::In { Access::Read } else { Access::Write }
    }
}

impl Request {
    /// A call of the program.
    #[must_use]
    pub fn new(nr: u32, args: [u64; 6]) -> Self {
        let mut all = [0; ARGS];
        all[..6].copy_from_slice(&args);
        Request {
            nr,
            args: all,
            spans: [Span::default(); ARGS],
            segments: Vec::new(),
            pins: Vec::new(),
            bounces: Vec::new(),
            owned: Vec::new(),
            late: None,
            interruptible: true,
            has_bad_pointers: false,
            memory_ends: false,
        }
    }

    /// A call of the kernel's own, which signals do not interrupt.
    #[must_use]
    pub fn kernel(nr: u32) -> Self {
        let mut request = Request::new(nr, [0; 6]);
        request.interruptible = false;
        request
    }

    /// Argument `arg` is a pointer that leads nowhere, as Linux is to find.
    pub fn bad_pointer(&mut self, arg: usize) {
        self.spans[arg] = Span::default();
        // Null would mean that there is nothing to find.
        self.args[arg] = self.args[arg].max(1);
        self.has_bad_pointers = true;
    }

    /// Of the payload that was passed last, `bytes` more were asked for. Where that is because memory ends
    /// there, Linux is to find it so.
    pub fn asked_for_more(&mut self, bytes: u64) {
        if self.memory_ends {
            self.args[private::MISSING] = bytes;
        }
    }

    /// Nothing is passed as argument `arg` of what has been so far.
    pub fn forget(&mut self, arg: usize) {
        self.spans[arg] = Span::default();
    }

    /// Sets a scalar argument.
    pub fn set(&mut self, arg: usize, value: u64) {
        self.args[arg] = value;
    }

    /// The argument as it is now.
    #[must_use]
    pub fn arg(&self, arg: usize) -> u64 {
        self.args[arg]
    }

    fn push(&mut self, arg: usize, segment: Segment) -> Result<(), Errno> {
        let span = &mut self.spans[arg];
        if span.count == 0 {
            span.first = self.segments.len() as u32;
        }
        if self.segments.len() == MAX_SEGMENTS {
            return Err(Errno::E2BIG);
        }
        self.segments.push(segment);
        span.count += 1;
        Ok(())
    }

    /// Passes bytes of the kernel's own as argument `arg`.
    pub fn kernel_buffer(&mut self, arg: usize, bytes: Vec<u8>) {
        let segment = Segment { offset: offset_of(bytes.as_ptr()), len: bytes.len() as u64 };
        if !bytes.is_empty() {
            // Only a handful of these per call: the limit is never near.
            let _ = self.push(arg, segment);
        }
        self.args[arg] = segment.offset;
        self.owned.push(bytes);
    }

    /// The bytes passed by the n-th [`Request::kernel_buffer`], after the call.
    #[must_use]
    pub fn kernel_bytes(&self, n: usize) -> &[u8] {
        &self.owned[n]
    }

    /// Appends program memory to argument `arg`. Gives how many of the `len` bytes are
    /// accessible, from the start.
    ///
    /// # Errors
    /// `E2BIG` when the call would consist of too many pieces, `ENOMEM`.
    pub fn buffer(&mut self, arg: usize, at: u64, len: u64, direction: Direction) -> Result<u64, Errno> {
        let mut pieces = Vec::new();
        {
            // Pinned before the lock is given back: nobody else can get the frames in between.
            let mut space = mm::space();
            self.memory_ends = space.pieces(at, len, direction.access(), &mut pieces) < len;
            for piece in &pieces {
                if let Piece::Frames { frame, len } = *piece {
                    space.pin(frame, len);
                    self.pins.push(Segment { offset: frame, len });
                }
            }
        }
        let mut taken = 0;
        for piece in pieces {
            if self.segments.len() == MAX_SEGMENTS {
                return if taken == 0 { Err(Errno::E2BIG) } else { Ok(taken) };
            }
            match piece {
                Piece::Frames { frame, len } => {
                    self.push(arg, Segment { offset: frame, len })?;
                    taken += len;
                }
                Piece::Foreign { addr, len } => {
                    let room = most_bounced().saturating_sub(self.bounced());
                    if room == 0 {
                        return if taken == 0 { Err(Errno::ENOMEM) } else { Ok(taken) };
                    }
                    self.bounce(arg, addr, len.min(room), direction)?;
                    taken += len.min(room);
                    if room < len {
                        return Ok(taken);
                    }
                }
            }
        }
        Ok(taken)
    }

    fn bounced(&self) -> u64 {
        self.bounces.iter().map(|bounce| bounce.buffer.len() as u64).sum()
    }

    fn bounce(&mut self, arg: usize, at: u64, len: u64, direction: Direction) -> Result<(), Errno> {
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(len as usize).map_err(|_| Errno::ENOMEM)?;
        buffer.resize(len as usize, 0);
        // Also for a buffer that is only filled: what the call leaves alone is copied back.
        user::copy_in(&mut buffer, at)?;
        self.push(arg, Segment { offset: offset_of(buffer.as_ptr()), len })?;
        self.bounces.push(Bounce { at, buffer, write_back: direction != Direction::In });
        Ok(())
    }

    /// As [`Request::buffer`], but all of it or nothing; null stays null.
    ///
    /// # Errors
    /// `EFAULT` when a part is not accessible.
    pub fn structure(&mut self, arg: usize, at: u64, len: u64, direction: Direction) -> Result<(), Errno> {
        if at == 0 || len == 0 {
            return Ok(());
        }
        if self.buffer(arg, at, len, direction)? == len {
            return Ok(());
        }
        Err(if self.bounced() == most_bounced() { Errno::ENOMEM } else { Errno::EFAULT })
    }

    /// Passes an array for the call to fill, of which Linux touches only as many elements as the
    /// result counts: so only those have to be accessible.
    ///
    /// # Errors
    /// `EFAULT` when the array is implausibly long for memory that is not all there.
    pub fn counted_array(&mut self, arg: usize, at: u64, count: u64, unit: u64) -> Result<(), Errno> {
        const MOST: u64 = 1 << 20;
        let len = count * unit;
        let pins = self.pins.len();
        let segments = self.segments.len();
        if self.buffer(arg, at, len, Direction::Out)? == len {
            return Ok(());
        }
        if len > MOST || self.bounces.iter().any(|bounce| bounce.at == at) {
            return Err(Errno::EFAULT);
        }
        for pin in self.pins.drain(pins..) {
            mm::unpin(pin.offset, pin.len);
        }
        self.segments.truncate(segments);
        self.spans[arg] = Span::default();
        self.late = Some(Late { at, owned: self.owned.len(), unit });
        self.kernel_buffer(arg, alloc::vec![0; len as usize]);
        Ok(())
    }

    /// Passes a path (or another string) of the program; null stays null.
    ///
    /// # Errors
    /// `EFAULT`, `ENAMETOOLONG`.
    pub fn path(&mut self, arg: usize, at: u64) -> Result<(), Errno> {
        if at != 0 {
            let mut path = crate::syscall::known_to_linux(user::read_cstr(at, PATH_MAX)?)?;
            path.push(0);
            self.kernel_buffer(arg, path);
        }
        Ok(())
    }

    /// Passes frames of the cell as argument `arg`. The caller keeps them.
    ///
    /// # Errors
    /// `E2BIG` when the call would consist of too many pieces.
    pub fn frames(&mut self, arg: usize, frame: u64, len: u64) -> Result<(), Errno> {
        self.push(arg, Segment { offset: frame, len })
    }

    /// Sends the call and waits for its answer.
    pub fn run(&mut self) -> Reply {
        self.run_by(exchange)
    }

    /// As [`Request::run`], but the core does nothing else meanwhile: for calls of the kernel's
    /// own that are made with a lock held. The proxy must not need the cell to answer them.
    pub fn run_in_place(&mut self) -> Reply {
        self.run_by(|nr, at, _| exchange_in_place(nr, at))
    }

    fn run_by(&mut self, exchange: impl FnOnce(u32, u64, bool) -> Completion) -> Reply {
        let words = block::block_bytes(self.segments.len()) as usize / 8;
        let memory: Vec<u64> = alloc::vec![0; words];
        let at = offset_of(memory.as_ptr().cast());
        let region = platform::get().region();
        if !block::write(&region, at, &self.args, &self.spans, &self.segments) {
            return Reply { result: Err(Errno::ENOMEM), extra: 0 };
        }
        let nr = self.nr | if self.has_bad_pointers { private::BAD_POINTERS } else { 0 };
        let completion = exchange(nr, at, self.interruptible);
        drop(memory);
        let result = abi::from_raw(completion.result);
        let result = self.write_back().and(result);
        let result = result.and_then(|count| self.write_late(count).map(|()| count));
        Reply { result, extra: completion.extra }
    }

    fn write_late(&mut self, count: u64) -> Result<(), Errno> {
        let Some(late) = self.late.take() else { return Ok(()) };
        let bytes = &self.owned[late.owned];
        let len = (count.saturating_mul(late.unit) as usize).min(bytes.len());
        user::copy_out(late.at, &bytes[..len])
    }

    fn write_back(&mut self) -> SysResult {
        for bounce in self.bounces.drain(..) {
            if bounce.write_back {
                user::copy_out(bounce.at, &bounce.buffer)?;
            }
        }
        Ok(0)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        for segment in &self.pins {
            mm::unpin(segment.offset, segment.len);
        }
    }
}

/// Bytes that one call may take of the heap for bounces: reads and writes of more stop there,
/// as they do for other reasons.
fn most_bounced() -> u64 {
    boot::facts().layout.heap_bytes() / 8
}

/// Longest path, with its end (`PATH_MAX`).
pub const PATH_MAX: usize = 4096;

fn exchange(nr: u32, block: u64, interruptible: bool) -> Completion {
    let thread = current_arc();
    let core = this_core();
    let ticket = thread.begin_wait();
    let token = core.rings.enter(core.index, |token| Call::Waiting { token, ticket: ticket.clone() });
    if interruptible {
        thread.call_token.store(token, Ordering::SeqCst);
    }
    submit(core, Submission { token, nr, block, child: thread.lent.to().unwrap_or(0) });
    if interruptible && signal::is_due(&thread) {
        cancel(token);
    }
    poll_in_place(core);
    wait::finish(&ticket, None, false);
    thread.call_token.store(0, Ordering::SeqCst);
    let answered = cores()[core.index as usize].rings.take_answer(token);
    answered.expect("the wait for a call ends by its answer")
}

fn exchange_in_place(nr: u32, block: u64) -> Completion {
    let core = this_core();
    let token = core.rings.enter(core.index, |token| Call::Attended { token });
    submit(core, Submission { token, nr, block, child: 0 });
    loop {
        poll(core);
        if let Some(completion) = core.rings.take_answer(token) {
            return completion;
        }
        platform::get().relax();
    }
}

/// Looks for answers for a while before the core is given to another thread: most calls take
/// less than a switch to the idle loop and back. Where proxy and cell share cores there is no
/// point in that.
fn poll_in_place(core: &Core) {
    const LOOKS_PER_CLOCK: u32 = 32;
    let spin = boot::spin_ns();
    if spin == 0 {
        return;
    }
    let host = platform::get();
    let until = host.monotonic() + spin;
    let mut looks = 0u32;
    loop {
        poll(core);
        if !core.queue_is_empty() || core.pending.load(Ordering::Relaxed) != 0 {
            return;
        }
        host.relax();
        looks += 1;
        if looks.is_multiple_of(LOOKS_PER_CLOCK) && host.monotonic() >= until {
            return;
        }
    }
}

/// Nanoseconds that `rounds` round trips through the rings take.
#[must_use]
pub fn probe(rounds: u64) -> u64 {
    let start = platform::get().monotonic();
    for _ in 0..rounds {
        let _ = Request::kernel(private::RING_NOP).run();
    }
    platform::get().monotonic() - start
}

/// Threads that wait for the proxy on this core, as far as it matters for its doorbell.
#[must_use]
pub fn expects_answers(core: &Core) -> bool {
    core.rings.calls.lock().iter().any(|call| !matches!(call, Call::Free))
}
