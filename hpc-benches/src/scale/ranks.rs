//! All ranks of a simulated job, and the steps that collectives are made of.
//!
//! Every rank is simulated. A step goes over ranks in blocks that fit a core's cache, on all cores. Where
//! none of a run of ranks meets a detour, which is nearly always, it is a maximum and a sum per rank; the
//! others are replayed one by one. The result depends neither on the blocks nor on the number of cores.

use std::ops::Range;

use rayon::prelude::*;

use super::network::Network;
use super::random;
use super::replay::{Cursor, Noise};

/// Ranks per block: 300 KB.
const BLOCK: usize = 8192;
/// Ranks that are looked at together for a detour.
const RUN: usize = 64;

/// The state of all ranks.
pub struct Ranks<'n> {
    /// What each rank has got to: its core is free from then on.
    time: Vec<f64>,
    /// The same after the round under way.
    next: Vec<f64>,
    /// When the last message of each rank left; not kept while messages leave as soon as they are sent.
    left: Vec<f64>,
    replay: Replay<'n>,
    /// Core time of a send or a receive.
    overhead: f64,
    flight: f64,
    spacing: f64,
}

/// Where each rank is in the trace.
struct Replay<'n> {
    noise: &'n Noise,
    /// Until when each rank is not disturbed.
    clear: Vec<f64>,
    cursor: Vec<Cursor>,
}

impl<'n> Ranks<'n> {
    /// `count` ranks at time 0, each at an offset of the trace that `seed` and its number give; their
    /// messages have `bytes`.
    pub fn new(noise: &'n Noise, count: usize, seed: u64, network: &Network, bytes: u64) -> Self {
        let offset = |rank| random::uniform_at(seed, rank) * noise.period();
        let cursor: Vec<Cursor> = (0..count).into_par_iter().map(|rank| noise.cursor(offset(rank))).collect();
        let clear = cursor.par_iter().map(|cursor| noise.clear_until(cursor)).collect();
        Self {
            time: vec![0.0; count],
            next: vec![0.0; count],
            left: vec![f64::NEG_INFINITY; count],
            replay: Replay { noise, clear, cursor },
            overhead: network.overhead,
            flight: network.flight(bytes),
            spacing: network.spacing(bytes),
        }
    }

    /// Number of ranks.
    pub fn count(&self) -> usize {
        self.time.len()
    }

    /// When the last rank has got to where it is.
    pub fn last(&self) -> f64 {
        let largest = |times: &[f64]| times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.time.par_chunks(BLOCK).map(largest).reduce(|| f64::NEG_INFINITY, f64::max)
    }

    /// All ranks work.
    pub fn compute(&mut self, work: f64) {
        self.replay.step(&mut self.time, 0, work, |_, own| own);
    }

    /// All ranks go on when the last has got there, at no cost: the collective of the closed forms.
    pub fn meet(&mut self) {
        let last = self.last();
        self.time.fill(last);
    }

    /// The ranks below `count` exchange messages in `rounds` rounds: in each, every rank sends one message
    /// and receives that of rank `from(round, rank)`.
    pub fn exchange(&mut self, count: usize, rounds: u32, from: impl Fn(u32, usize) -> usize + Sync) {
        if self.spacing > 2.0 * self.overhead {
            for round in 0..rounds {
                self.send(0..count);
                self.receive(0..count, |rank| from(round, rank));
            }
            return;
        }
        // Messages of a rank are apart by a send and a receive at least, so each leaves as soon as it is
        // sent, and what a rank does between two waits is one piece of work: a receive and the next send.
        let (flight, overhead) = (self.flight, self.overhead);
        let (mut now, mut after) = (&mut self.time[..count], &mut self.next[..count]);
        self.replay.step(now, 0, overhead, |_, own| own);
        for round in 0..rounds {
            let work = if round + 1 == rounds { overhead } else { 2.0 * overhead };
            let sent = &*now;
            self.replay.step(after, 0, work, |rank, _| sent[rank].max(sent[from(round, rank)] + flight));
            std::mem::swap(&mut now, &mut after);
        }
        if rounds % 2 == 1 {
            after.copy_from_slice(now);
        }
    }

    /// Rank `from + i` sends a message to rank `to + i`, for all i below `count`; the two ranges lie apart.
    pub fn transfer(&mut self, from: usize, to: usize, count: usize) {
        self.send(from..from + count);
        self.receive(to..to + count, |rank| rank - to + from);
    }

    fn send(&mut self, ranks: Range<usize>) {
        self.replay.step(&mut self.time[ranks.clone()], ranks.start, self.overhead, |_, own| own);
        let spacing = self.spacing;
        let sent = &self.time[ranks.clone()];
        let leave = |(left, sent): (&mut f64, &f64)| *left = sent.max(*left + spacing);
        self.left[ranks].par_iter_mut().zip(sent).with_min_len(BLOCK).for_each(leave);
    }

    fn receive(&mut self, ranks: Range<usize>, from: impl Fn(usize) -> usize + Sync) {
        let (left, flight) = (&self.left, self.flight);
        let ready = |rank, own: f64| own.max(left[from(rank)] + flight);
        self.replay.step(&mut self.time[ranks.clone()], ranks.start, self.overhead, ready);
    }
}

impl Replay<'_> {
    /// Ranks from `first` on work from when they are `ready`, which may depend on the `times` given;
    /// `times` becomes when they are done.
    fn step(&mut self, times: &mut [f64], first: usize, work: f64, ready: impl Fn(usize, f64) -> f64 + Sync) {
        let noise = self.noise;
        let ranks = first..first + times.len();
        let clears = self.clear[ranks.clone()].par_chunks_mut(BLOCK);
        let cursors = self.cursor[ranks].par_chunks_mut(BLOCK);
        let blocks = times.par_chunks_mut(BLOCK).zip(clears).zip(cursors).enumerate();
        blocks.for_each(|(index, ((times, clear), cursor))| {
            let block = Block { first: first + index * BLOCK, times, clear, cursor };
            block.step(noise, work, &ready);
        });
    }
}

/// Some ranks in a row, for one core.
struct Block<'a> {
    first: usize,
    times: &'a mut [f64],
    clear: &'a mut [f64],
    cursor: &'a mut [Cursor],
}

impl Block<'_> {
    #[inline]
    fn step(self, noise: &Noise, work: f64, ready: impl Fn(usize, f64) -> f64) {
        let mut starts = [0.0; RUN];
        let runs = self.times.chunks_mut(RUN).zip(self.clear.chunks_mut(RUN)).zip(self.cursor.chunks_mut(RUN));
        for (index, ((times, clear), cursor)) in runs.enumerate() {
            let first = self.first + index * RUN;
            let mut disturbed = false;
            for (offset, ((time, clear), start)) in times.iter_mut().zip(&*clear).zip(&mut starts).enumerate() {
                *start = ready(first + offset, *time);
                *time = *start + work;
                disturbed |= *time > *clear;
            }
            if disturbed {
                finish_disturbed(noise, work, &starts, times, clear, cursor);
            }
        }
    }
}

/// Of a run of ranks, replays those that a detour may hold up.
fn finish_disturbed(
    noise: &Noise,
    work: f64,
    starts: &[f64],
    times: &mut [f64],
    clear: &mut [f64],
    cursor: &mut [Cursor],
) {
    for (((time, clear), cursor), &start) in times.iter_mut().zip(clear).zip(cursor).zip(starts) {
        if *time > *clear {
            *time = noise.finish(cursor, start, work);
            *clear = noise.clear_until(cursor);
        }
    }
}
