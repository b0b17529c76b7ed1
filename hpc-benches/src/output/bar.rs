//! A progress bar for people: one line on a terminal (standard error), nothing elsewhere.
//!
//! It is drawn twice a second by a thread that may run on the given cores only. Where none is to spare it is
//! drawn when it is told to and not by itself: what is measured is not disturbed by the wish to watch it.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::machine::host;

const REDRAW: Duration = Duration::from_millis(500);
const WIDTH: usize = 30;

/// A bar that is shown until it is dropped.
pub struct Bar {
    line: Line,
    start: Instant,
    drawer: Option<Drawer>,
    is_visible: bool,
}

/// What the line says.
#[derive(Clone)]
struct Line {
    label: String,
    expected: Duration,
}

struct Drawer {
    /// Dropped to end the thread.
    end: Sender<()>,
    thread: JoinHandle<()>,
}

impl Bar {
    /// A bar for something that began at `start` and takes `expected`, or nobody knows how long when that is zero;
    /// drawn by one of `cores`.
    pub fn start(cores: Vec<usize>, label: String, start: Instant, expected: Duration) -> Self {
        let is_visible = io::stderr().is_terminal();
        let line = Line { label, expected };
        let drawer = (is_visible && !cores.is_empty()).then(|| Drawer::start(cores, line.clone(), start)).flatten();
        Self { line, start, drawer, is_visible }
    }

    /// Draws it now.
    pub fn show(&self) {
        if self.is_visible {
            print(&self.line.text(self.start.elapsed()));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(Drawer { end, thread }) = self.drawer.take() {
            drop(end);
            // A bar that failed is no reason to end differently.
            let _ = thread.join();
        }
        if self.is_visible {
            print("");
        }
    }
}

impl Drawer {
    /// None where the thread can't be started: a bar is not worth a failure.
    fn start(cores: Vec<usize>, line: Line, start: Instant) -> Option<Self> {
        let (end, ended) = mpsc::channel::<()>();
        let draw = move || {
            if host::pin_this_thread_to(&cores).is_err() {
                return;
            }
            while ended.recv_timeout(REDRAW) == Err(RecvTimeoutError::Timeout) {
                print(&line.text(start.elapsed()));
            }
        };
        let thread = thread::Builder::new().name("bar".to_owned()).spawn(draw).ok()?;
        Some(Self { end, thread })
    }
}

impl Line {
    fn text(&self, elapsed: Duration) -> String {
        let Self { label, expected } = self;
        if expected.is_zero() {
            return format!("{label}  {}", clock(elapsed));
        }
        // It is not over before it is over.
        let share = (elapsed.as_secs_f64() / expected.as_secs_f64()).min(0.99);
        let full = (share * WIDTH as f64) as usize;
        let bar = format!("{}{}", "━".repeat(full), " ".repeat(WIDTH - full));
        let left = clock(expected.saturating_sub(elapsed));
        format!("{label}  [{bar}] {:2.0} %, {left} left", (share * 100.0).floor())
    }
}

/// Minutes and seconds, as on a clock.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

fn print(line: &str) {
    // ESC [ K erases to the end of the line (ECMA-48 EL). A lost line harms nothing.
    let _ = write!(io::stderr(), "\r{line}\x1b[K");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(elapsed: u64, expected: u64) -> String {
        let line = Line { label: "noise".to_owned(), expected: Duration::from_secs(expected) };
        line.text(Duration::from_secs(elapsed))
    }

    #[test]
    fn the_bar_tells_share_and_rest() {
        assert_eq!(text(0, 300), format!("noise  [{}]  0 %, 5:00 left", " ".repeat(30)));
        assert_eq!(text(150, 300), format!("noise  [{}{}] 50 %, 2:30 left", "━".repeat(15), " ".repeat(15)));
        assert_eq!(text(0, 7384).split("%, ").last(), Some("2:03:04 left"));
    }

    #[test]
    fn what_takes_longer_than_expected_is_not_over() {
        assert!(text(400, 300).ends_with("99 %, 0:00 left"));
    }

    #[test]
    fn without_an_expectation_the_time_is_told() {
        assert_eq!(text(75, 0), "noise  1:15");
    }
}
