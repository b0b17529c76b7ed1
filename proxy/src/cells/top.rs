//! `tacet top`: what the cells do, again and again.
//!
//! Counters are read twice, an interval apart; the table shows the difference. A cell that came
//! or ended in between has no rates.

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use shm_ipc::control::{CAUSES, Cause, Exit};

use super::terminal::{self, Event, Screen};
use super::{Cell, hints, of_this_user, rank, sample};
use crate::cli::Top;
use crate::error::Error;
use crate::table::{printable, printable_path, row, table_with_numbers};

/// The counters that are shown as rates, with the heads of their columns.
const RATES: [(Cause, &str); 3] =
    [(Cause::LocalCall, "LOCAL/s"), (Cause::ForwardedCall, "FORW/s"), (Cause::PageFault, "FAULTS/s")];

/// Watches until the user has seen enough.
pub fn top(options: &Top, mut say: impl FnMut(&str) -> Result<(), Error>) -> Result<Exit, Error> {
    let count = if options.once { Some(1) } else { options.count };
    if terminal::is_there() && !options.once {
        return on_screen(options, count, say);
    }
    let mut before = Observation::now()?;
    for number in 0.. {
        if count.is_some_and(|count| number >= count) {
            break;
        }
        thread::sleep(options.interval.0);
        let now = Observation::now()?;
        let blank = if number > 0 { "\n" } else { "" };
        say(&format!("{blank}{}", now.text(Some(&before), options.cores)))?;
        before = now;
    }
    Ok(Exit::Code(0))
}

fn on_screen(options: &Top, count: Option<u32>, mut say: impl FnMut(&str) -> Result<(), Error>) -> Result<Exit, Error> {
    let screen = Screen::open().map_err(on_terminal)?;
    let title = format!("tacet top: every {} s; q ends\n\n", options.interval.0.as_secs_f64());
    let mut now = Observation::now()?;
    let mut text = now.text(None, options.cores);
    let mut deadline = now.time + options.interval.0;
    let mut shown = 0;
    let exit = loop {
        screen.draw(&format!("{title}{text}")).map_err(on_terminal)?;
        match screen.wait(deadline).map_err(on_terminal)? {
            Event::Redraw => continue,
            Event::Quit => break Exit::Code(0),
            Event::Signal(signal) => break Exit::Signal(signal as u8),
            Event::Tick if count.is_some_and(|count| shown >= count) => break Exit::Code(0),
            Event::Tick => {}
        }
        let next = Observation::now()?;
        text = next.text(Some(&now), options.cores);
        deadline = next.time + options.interval.0;
        now = next;
        shown += 1;
    };
    drop(screen);
    // What was seen last stays where the user goes on.
    if let Exit::Code(_) = exit {
        say(&text)?;
    }
    Ok(exit)
}

fn on_terminal(error: io::Error) -> Error {
    Error::System { what: "draw on the terminal", error, advice: "try `tacet top --once`" }
}

/// All cells at one moment.
#[derive(Debug)]
struct Observation {
    time: Instant,
    cells: Vec<Cell>,
}

impl Observation {
    fn now() -> Result<Self, Error> {
        let cells = of_this_user()?;
        Ok(Observation { time: Instant::now(), cells })
    }

    /// The table, with rates since `before`.
    fn text(&self, before: Option<&Observation>, has_cores: bool) -> String {
        if self.cells.is_empty() {
            return "no cells of this user on this node\n".to_owned();
        }
        let elapsed = before.map_or(Duration::ZERO, |before| self.time.duration_since(before.time));
        let former = before.map(Observation::samples).unwrap_or_default();
        let head = ["CELL", "RANK", "PLATFORM", "CORES", "STATE"].into_iter();
        let head = head.chain(RATES.map(|(_, name)| name)).chain(["INVOL", "PROGRAM"]);
        let mut rows = vec![head.map(str::to_owned).collect()];
        for cell in &self.cells {
            let former = former.get(&(cell.entry.proxy.pid, cell.entry.proxy.started)).copied();
            rows.push(line_of_cell(cell, former, elapsed));
            if has_cores && let Some(sample) = cell.condition.sample() {
                let of_core = |core: &sample::Core| line_of_core(core, former, elapsed);
                rows.extend(sample.cores.iter().map(of_core));
            }
        }
        table_with_numbers(&rows, &[5, 6, 7, 8]) + &hints(&self.cells)
    }

    fn samples(&self) -> BTreeMap<(u32, u64), &sample::Sample> {
        let with_sample = |cell: &'_ Cell| (cell.entry.proxy.pid, cell.entry.proxy.started);
        self.cells.iter().filter_map(|cell| Some((with_sample(cell), cell.condition.sample()?))).collect()
    }
}

fn line_of_cell(cell: &Cell, former: Option<&sample::Sample>, elapsed: Duration) -> Vec<String> {
    let entry = &cell.entry;
    let sums = |sample: &sample::Sample| Cause::ALL.map(|cause| sample.counted(cause));
    let numbers = numbers(cell.condition.sample().map(sums), former.map(sums), elapsed);
    let mut line = row([
        &entry.proxy.pid.to_string(),
        &rank(entry),
        &printable(&entry.platform),
        &entry.cores.to_string(),
        &cell.condition.to_string(),
    ]);
    line.extend(numbers);
    // Its name alone: the line is long enough.
    line.push(printable_path(entry.program.file_name().unwrap_or_default().as_ref()));
    line
}

fn line_of_core(core: &sample::Core, former: Option<&sample::Sample>, elapsed: Duration) -> Vec<String> {
    let former = former.and_then(|sample| sample.cores.iter().find(|other| other.cpu == core.cpu));
    let mut line = row(["", "", "", &core.cpu.to_string(), ""]);
    line.extend(numbers(Some(core.counters), former.map(|core| core.counters), elapsed));
    line
}

/// The rates, then how many involuntary entries there were in all.
fn numbers(now: Option<[u64; CAUSES]>, former: Option<[u64; CAUSES]>, elapsed: Duration) -> Vec<String> {
    let per_second = |cause: Cause| {
        let (now, former) = (now?[cause as usize], former?[cause as usize]);
        // A counter that the program has written over may go backwards.
        (!elapsed.is_zero()).then(|| now.saturating_sub(former) as f64 / elapsed.as_secs_f64())
    };
    let dash = || "-".to_owned();
    let mut texts: Vec<String> = RATES.map(|(cause, _)| per_second(cause).map_or_else(dash, short)).to_vec();
    texts.push(now.map_or_else(dash, |now| short(now[Cause::Involuntary as usize] as f64)));
    texts
}

/// A number in at most five characters: `0.3`, `17`, `1234`, `56.7k`, `1.2M`.
fn short(number: f64) -> String {
    const UNITS: [(f64, &str); 5] = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")];
    let unit = UNITS.into_iter().find(|(size, _)| number >= *size).or((number >= 1e4).then_some((1e3, "k")));
    match unit {
        Some((size, name)) if number / size >= 100.0 => format!("{:.0}{name}", number / size),
        Some((size, name)) => format!("{:.1}{name}", number / size),
        None if number > 0.0 && number < 9.95 && number.fract() != 0.0 => format!("{number:.1}"),
        None => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::Condition;
    use crate::cells::tests::cell;
    use crate::node::tests::Fixture;

    fn observed(time: Instant, cells: Vec<Cell>) -> Observation {
        Observation { time, cells }
    }

    #[test]
    fn rates_are_differences_over_time() {
        let root = Fixture::new();
        let start = Instant::now();
        let before = observed(start, vec![cell(&root, 10)]);
        let after = observed(start + Duration::from_secs(2), vec![cell(&root, 50)]);
        let text = after.text(Some(&before), true);
        let words = |line: usize| text.lines().nth(line).expect("a line").split_whitespace().collect::<Vec<_>>();
        // Two cores with 40 calls more each, in two seconds.
        assert_eq!(words(1)[1..9], ["5", "process", "3,5", "running", "40", "0", "0", "0"], "{text}");
        assert_eq!(words(2), ["3", "20", "0", "0", "0"], "{text}");
        assert!(text.lines().count() == 4 && !text.contains('\x1b'), "{text}");
        assert_eq!(after.text(Some(&before), false).lines().count(), 2);
    }

    #[test]
    fn no_rates_without_a_sample_before() {
        let root = Fixture::new();
        let start = Instant::now();
        let first = observed(start, vec![cell(&root, 10)]).text(None, false);
        assert!(first.contains(" - "), "{first}");
        let mut other = cell(&root, 10);
        other.entry.proxy.started += 1;
        let of_another = observed(start - Duration::from_secs(1), vec![other]);
        assert!(observed(start, vec![cell(&root, 10)]).text(Some(&of_another), false).contains(" - "));
    }

    #[test]
    fn cells_that_say_nothing() {
        let root = Fixture::new();
        for condition in [Condition::Dead, Condition::Corrupt("x"), Condition::Unknown, Condition::Reserved] {
            let name = condition.to_string();
            let text = observed(Instant::now(), vec![Cell { condition, ..cell(&root, 1) }]).text(None, true);
            assert!(text.contains(&name) && text.contains(" - "), "{text}");
            assert_eq!(text.contains("tacet reclaim"), name == "dead", "{text}");
        }
        assert_eq!(observed(Instant::now(), Vec::new()).text(None, false), "no cells of this user on this node\n");
    }

    #[test]
    fn counters_that_go_backwards_are_no_calls() {
        let [now, former] = [5, 10].map(|count| Some([count; CAUSES]));
        assert_eq!(numbers(now, former, Duration::from_secs(1)), ["0", "0", "0", "5"]);
    }

    #[test]
    fn numbers_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (9.0, "9"),
            (17.4, "17"),
            (9999.0, "9999"),
            (56_700.0, "56.7k"),
            (1_234_567.0, "1.2M"),
            (u64::MAX as f64, "18.4E"),
        ] {
            assert_eq!(short(number), text);
        }
    }
}
