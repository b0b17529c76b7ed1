//! A terminal as a screen that is drawn over again, and the keys and signals that end it.
//!
//! While the screen is open, keys come one by one and unseen, Ctrl-C among them; signals are
//! taken up where keys are. Whatever ends it, the terminal is as it was before.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{self, LocalFlags, SetArg, SpecialCharacterIndices, Termios};

/// Lines and columns where the terminal does not say.
const USUAL: (usize, usize) = (24, 80);

/// Another screen than the shell's, no cursor; and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The time is over.
    Tick,
    /// The screen has another size now, or was covered meanwhile.
    Redraw,
    /// The user wants to leave.
    Quit,
    /// A signal wants us to end.
    Signal(i32),
}

/// A terminal that is being drawn on.
#[derive(Debug)]
pub struct Screen {
    saved: Termios,
    mask: SigSet,
    signals: SignalFd,
}

/// Whether there is a terminal to draw on and to take keys from.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

impl Screen {
    /// Takes the terminal.
    pub fn open() -> io::Result<Self> {
        let mut wanted = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH] {
            wanted.add(signal);
        }
        let signals = SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let saved = termios::tcgetattr(io::stdin())?;
        let mask = wanted.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK)?;
        // From here on dropping it restores everything.
        let screen = Screen { saved, mask, signals };
        let mut raw = screen.saved.clone();
        raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw)?;
        write(ENTER)?;
        Ok(screen)
    }

    /// Shows a text, cut to the size of the screen.
    pub fn draw(&self, text: &str) -> io::Result<()> {
        write(&frame(text, size()))
    }

    /// Waits for a key or a signal, at most until `deadline`.
    pub fn wait(&self, deadline: Instant) -> io::Result<Event> {
        let stdin = io::stdin();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut sources =
                [PollFd::new(stdin.as_fd(), PollFlags::POLLIN), PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut sources, timeout(left)) {
                Ok(0) if deadline <= Instant::now() => return Ok(Event::Tick),
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            let [has_key, has_signal] = sources.map(|source| source.any().unwrap_or(true));
            if has_signal && let Some(event) = self.signal()? {
                return Ok(event);
            }
            if has_key && let Some(event) = key(&stdin)? {
                return Ok(event);
            }
        }
    }

    fn signal(&self) -> io::Result<Option<Event>> {
        let Some(info) = self.signals.read_signal()? else { return Ok(None) };
        let signal = info.ssi_signo.cast_signed();
        Ok(Some(match signal {
            libc::SIGWINCH => Event::Redraw,
            libc::SIGINT => Event::Quit,
            other => Event::Signal(other),
        }))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = write(LEAVE);
        let _ = termios::tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.saved);
        let _ = self.mask.thread_set_mask();
    }
}

/// At least a millisecond, so that less than one is not waited for by asking again and again.
fn timeout(left: Duration) -> PollTimeout {
    PollTimeout::try_from(left.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX)
}

fn key(stdin: &io::Stdin) -> io::Result<Option<Event>> {
    const CTRL_C: u8 = 3;
    const CTRL_D: u8 = 4;
    const CTRL_L: u8 = 12;
    let mut keys = [0; 64];
    // Not through the buffer of `io::Stdin`, of which poll knows nothing.
    match nix::unistd::read(stdin, &mut keys) {
        Ok(0) | Err(nix::errno::Errno::EIO) => Ok(Some(Event::Quit)),
        Err(nix::errno::Errno::EINTR | nix::errno::Errno::EAGAIN) => Ok(None),
        Err(errno) => Err(errno.into()),
        Ok(count) => Ok(keys[..count].iter().find_map(|key| match *key {
            b'q' | b'Q' | CTRL_C | CTRL_D => Some(Event::Quit),
            CTRL_L => Some(Event::Redraw),
            _ => None,
        })),
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Lines and columns.
fn size() -> (usize, usize) {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: fills the structure, which outlives the call.
    let asked = unsafe { libc::ioctl(io::stdout().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    match (asked, size.ws_row, size.ws_col) {
        (0, 1.., 1..) => (size.ws_row.into(), size.ws_col.into()),
        _ => USUAL,
    }
}

/// The text over what was there, without a blank moment in between.
fn frame(text: &str, (lines, columns): (usize, usize)) -> String {
    let mut drawn = "\x1b[H".to_owned();
    let all = text.lines().count();
    let shown = if all > lines { lines.saturating_sub(1) } else { all };
    let cut = |line: &str| line.chars().take(columns).collect::<String>();
    let mut rows: Vec<String> = text.lines().take(shown).map(cut).collect();
    if shown < all {
        rows.push(cut(&format!("({} more lines)", all - shown)));
    }
    // The last line ends without a line feed: it would move the whole screen up.
    drawn += &rows.join("\x1b[K\n");
    drawn + "\x1b[K\x1b[J"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_to_the_screen() {
        assert_eq!(frame("ab\ncd\n", (5, 80)), "\x1b[Hab\x1b[K\ncd\x1b[K\x1b[J");
        assert_eq!(frame("abc\nd\n", (2, 2)), "\x1b[Hab\x1b[K\nd\x1b[K\x1b[J");
        assert_eq!(frame("a\nb\nc\nd\n", (3, 80)), "\x1b[Ha\x1b[K\nb\x1b[K\n(2 more lines)\x1b[K\x1b[J");
    }
}
