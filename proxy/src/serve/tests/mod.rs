//! The kernel's side of a cell, played by a test: blocks, rings and bells, but no program.

mod blocking;
mod calls;
mod descriptors;
mod hostile;
mod messages;

use std::collections::HashMap;
use std::ffi::CString;
use std::time::{Duration, Instant};

use shm_ipc::block::{self, ARGS, Segment, Span};
use shm_ipc::control::ControlPage;
use shm_ipc::doorbell::Attention;
use shm_ipc::layout::Layout;
use shm_ipc::region::Region;
use shm_ipc::ring::{Completion, Consumer, Producer, Submission};

use super::host;
use super::{Cell, Server, serve};

const CORES: u32 = 2;
const FRAME_BYTES: u64 = 8 << 20;

/// Where the fake cell's private descriptors are: higher than the tests ever get.
const PRIVATE: std::ops::Range<i32> = 600..620;
const NOFILE: (u64, u64) = (512, 550);

/// An argument of a call.
#[derive(Debug, Clone)]
enum Part {
    Number(u64),
    Memory(Vec<Segment>),
}

fn int(value: i64) -> Part {
    Part::Number(value as u64)
}

/// The cell's kernel.
struct Kernel {
    region: Region,
    layout: Layout,
    control: &'static ControlPage,
    server: Server,
    submissions: Vec<Producer<'static>>,
    completions: Vec<Consumer<'static>>,
    answers: HashMap<u64, Completion>,
    tokens: u64,
    free: u64,
}

impl Kernel {
    fn new() -> Self {
        let layout = Layout::new(CORES, 64, FRAME_BYTES).expect("a layout");
        let region = host::test_region(layout.end);
        let control = Layout::control(&region).expect("a control page");
        control.initialise(&layout);
        let cell = Cell {
            region,
            layout,
            child: host::own_pid(),
            private_fds: PRIVATE,
            shares_descriptors: true,
            exe: CString::new("/usr/bin/env").expect("no zero"),
            nofile: NOFILE,
            limits: Vec::new(),
            fd_table: 256,
            exec_fd: PRIVATE.start,
            bare: None,
            machine: None,
            threads: None,
            unlaunched: None,
            has_whole_job: false,
            fill: None,
            spin: Duration::ZERO,
        };
        let server = serve(cell).expect("threads");
        let submissions = (0..CORES).map(|c| Producer::new(layout.submissions(&region, c).expect("a ring"))).collect();
        let completions = (0..CORES).map(|c| Consumer::new(layout.completions(&region, c).expect("a ring"))).collect();
        let (answers, tokens, free) = (HashMap::new(), 0, layout.frames);
        Kernel { region, layout, control, server, submissions, completions, answers, tokens, free }
    }

    /// Room in the frames, zeroed as nothing has been there before.
    fn room(&mut self, len: u64) -> Segment {
        let offset = self.free;
        self.free = (offset + len).next_multiple_of(64);
        assert!(self.free < self.layout.end, "the test's memory is used up");
        Segment { offset, len }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Segment {
        let segment = self.room(bytes.len() as u64);
        assert!(self.region.write(segment.offset, bytes));
        segment
    }

    fn memory(&mut self, bytes: &[u8]) -> Part {
        Part::Memory(vec![self.bytes(bytes)])
    }

    fn path(&mut self, path: &str) -> Part {
        let bytes = [path.as_bytes(), b"\0"].concat();
        self.memory(&bytes)
    }

    fn content(&self, segment: Segment) -> Vec<u8> {
        let mut bytes = vec![0; segment.len as usize];
        assert!(self.region.read(segment.offset, &mut bytes));
        bytes
    }

    fn block(&mut self, parts: &[Part]) -> u64 {
        let (mut args, mut spans, mut segments) = ([0; ARGS], [Span::default(); ARGS], Vec::new());
        for (index, part) in parts.iter().enumerate() {
            match part {
                Part::Number(number) => args[index] = *number,
                Part::Memory(pieces) => {
                    args[index] = 0x7000_0000 + pieces.first().map_or(0, |piece| piece.offset);
                    spans[index] = Span { first: segments.len() as u32, count: pieces.len() as u32 };
                    segments.extend_from_slice(pieces);
                }
            }
        }
        let at = self.room(block::block_bytes(segments.len())).offset;
        assert!(block::write(&self.region, at, &args, &spans, &segments));
        at
    }

    fn submit_block(&mut self, core: usize, nr: u32, block: u64) -> u64 {
        self.tokens += 1;
        let token = self.tokens;
        self.submissions[core].push(Submission { token, nr, block, child: 0 }).expect("room in the ring");
        if self.control.proxy_bell.ring() != Attention::Polling {
            host::wake(self.control.proxy_bell.futex());
        }
        token
    }

    fn submit(&mut self, core: usize, nr: i64, parts: &[Part]) -> u64 {
        let free = self.free;
        let block = self.block(parts);
        let token = self.submit_block(core, nr as u32, block);
        // Blocks of calls that are waited for at once could be reused, but tests are short.
        assert!(self.free > free);
        token
    }

    fn poll(&mut self) {
        for ring in &mut self.completions {
            while let Some(completion) = ring.pop::<Completion>().expect("an intact ring") {
                self.answers.insert(completion.token, completion);
            }
        }
    }

    fn try_answer(&mut self, token: u64) -> Option<Completion> {
        self.poll();
        self.answers.remove(&token)
    }

    fn wait(&mut self, token: u64) -> Completion {
        let start = Instant::now();
        loop {
            if let Some(completion) = self.try_answer(token) {
                return completion;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "no answer to call {token}");
            std::thread::yield_now();
        }
    }

    /// Makes a call and waits for its result.
    fn call(&mut self, nr: i64, parts: &[Part]) -> i64 {
        let token = self.submit(0, nr, parts);
        self.wait(token).result
    }

    /// A pipe: reading end, writing end.
    fn pipe(&mut self) -> (i64, i64) {
        let pair = self.room(8);
        assert_eq!(self.call(libc::SYS_pipe2, &[Part::Memory(vec![pair]), int(0)]), 0);
        let bytes = self.content(pair);
        (i64::from(host::u32_at(&bytes, 0)), i64::from(host::u32_at(&bytes, 4)))
    }

    fn close(&mut self, fd: i64) {
        assert_eq!(self.call(libc::SYS_close, &[int(fd)]), 0);
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.server.stop();
    }
}
