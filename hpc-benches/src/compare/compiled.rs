//! Programs in C that are compiled for a comparison, with the node's own compiler, and the lines by
//! which they tell what they measured.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::launch;
use crate::error::Failure;
use crate::machine::scratch::ScratchFolder;
use crate::report::{CurvePoint, Measure, Unit};
use crate::stats::summary::Summary;
use crate::stats::verdict::Better;

/// What all programs include.
const MEASURE_HEADER: (&str, &str) = ("measure.h", include_str!("../../programs/measure.h"));
const COMPILE_LIMIT: Duration = Duration::from_secs(120);

/// A program to be compiled.
pub struct Source {
    /// Its name, without an extension.
    pub name: &'static str,
    /// What it says.
    pub text: &'static str,
    /// Options for the compiler beside `-O2`.
    pub options: &'static [&'static str],
    /// What to do when there is no compiler.
    pub advice: &'static str,
}

/// A program ready to run; one that was compiled here is removed on drop.
pub struct Program {
    path: PathBuf,
    folder: Option<ScratchFolder>,
}

impl Program {
    /// The program at `path`, which is the user's.
    pub fn existing(path: &Path) -> Result<Self, Failure> {
        let path = path
            .canonicalize()
            .map_err(|error| Failure::cannot_start(&path.to_string_lossy(), &error, "check --program"))?;
        Ok(Self { path, folder: None })
    }

    /// Compiles one.
    pub fn compile(source: &Source, compiler: &Path) -> Result<Self, Failure> {
        Self::compile_with(source, &[], compiler)
    }

    /// Compiles one that has `further` files: headers, and sources that are compiled along with it. They are
    /// given by name and text.
    pub fn compile_with(source: &Source, further: &[(&str, &str)], compiler: &Path) -> Result<Self, Failure> {
        let unwritable = |error| {
            Failure::new(format!(
                "cannot write {}.c to the temporary folder: {error}; set TMPDIR to a folder with space",
                source.name
            ))
        };
        let folder = ScratchFolder::new(&env::temp_dir()).map_err(unwritable)?;
        let file = format!("{}.c", source.name);
        let path = folder.path().join(source.name);
        let files = [(file.as_str(), source.text), MEASURE_HEADER];
        let files = files.iter().chain(further);
        let mut command: Vec<OsString> = vec![compiler.into(), "-O2".into()];
        command.extend(source.options.iter().map(OsString::from));
        command.extend(["-o".into(), path.clone().into()]);
        for (name, text) in files {
            let place = folder.path().join(name);
            fs::write(&place, text).map_err(unwritable)?;
            if name.ends_with(".c") {
                command.push(place.into());
            }
        }
        // For measure.h and the programs; a library comes after what wants it.
        command.push("-lm".into());
        launch::run("the compiler", &command, None, COMPILE_LIMIT)
            .map_err(|failure| Failure::with_status(failure.status(), format!("{failure}; {}", source.advice)))?;
        Ok(Self { path, folder: Some(folder) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was compiled here and goes with this value.
    pub fn is_temporary(&self) -> bool {
        self.folder.is_some()
    }
}

/// Reads the `measure` and `histogram` lines of `programs/measure.h`; other lines are the program's own
/// affair.
pub fn read_lines(side: &str, stdout: &str) -> Result<Vec<Measure>, Failure> {
    let unreadable = |line: &str| {
        Failure::new(format!(
            "side {side} printed a measure that can't be read: {line}; see programs/measure.h for the layout"
        ))
    };
    let mut measures = Vec::new();
    for line in stdout.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.split_first() {
            Some((&"measure", words)) => measures.push(read_measure(words).ok_or_else(|| unreadable(line))?),
            Some((&"histogram", words)) => add_histogram(&mut measures, words).ok_or_else(|| unreadable(line))?,
            _ => {}
        }
    }
    if measures.is_empty() {
        return Err(Failure::new(format!(
            "side {side} printed no measure; use a program that prints lines as programs/measure.h does"
        )));
    }
    Ok(measures)
}

fn read_measure(words: &[&str]) -> Option<Measure> {
    let [name, unit, count, min, median, p99, max, mean, further @ ..] = words else {
        return None;
    };
    let (p99_9, place) = match further {
        ["p99.9", value, place @ ..] => (Some(value.parse().ok()?), place),
        place => (None, place),
    };
    let summary = Summary {
        p99_9,
        count: count.parse().ok()?,
        min: min.parse().ok()?,
        median: median.parse().ok()?,
        p99: p99.parse().ok()?,
        max: max.parse().ok()?,
        mean: mean.parse().ok()?,
    };
    let curve = match place {
        [] => None,
        ["curve", curve, axis, x] => {
            let place = CurvePoint { curve: (*curve).to_owned(), x: x.parse().ok()?, x_label: (*axis).to_owned() };
            Some(place)
        }
        _ => return None,
    };
    let (unit, better) = match *unit {
        "ns" => (Unit::Nanoseconds, Better::Lower),
        "%" => (Unit::Percent, Better::Lower),
        "MB/s" => (Unit::MegabytesPerSecond, Better::Higher),
        "1/s" => (Unit::PerSecond, Better::Higher),
        _ => return None,
    };
    Some(Measure { unit, better, summary: Some(summary), curve, ..Measure::time(name, Vec::new()) })
}

/// Gives the measure that was read before its histogram.
fn add_histogram(measures: &mut [Measure], words: &[&str]) -> Option<()> {
    let (name, bins) = words.split_first()?;
    let measure = measures.iter_mut().find(|measure| measure.name == *name)?;
    let bin = |word: &&str| {
        let (lower, count) = word.split_once(':')?;
        Some([lower.parse().ok()?, count.parse().ok()?])
    };
    measure.histogram = Some(bins.iter().map(bin).collect::<Option<_>>()?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_of_the_program() {
        let text = "starting\n\
                    measure latency-8 ns 2000 200.0 250.5 400.0 9000.0 260.0\n\
                    measure bandwidth-1m MB/s 500 1.0 2.0 3.0 4.0 2.5\n";
        let measures = read_lines("native", text).unwrap();
        assert_eq!(measures.len(), 2);
        assert_eq!(measures[0].name, "latency-8");
        assert_eq!(measures[0].compared_value(), Some(250.5));
        assert_eq!(measures[0].better, Better::Lower);
        assert_eq!(measures[1].unit, Unit::MegabytesPerSecond);
        assert_eq!(measures[1].better, Better::Higher);
    }

    #[test]
    fn a_measure_may_be_a_point_of_a_curve_and_have_a_histogram() {
        let text = "measure rate-64 1/s 5 1 2 3 4 2 curve rate bytes 64\n\
                    measure step ns 3 100 110 200 200 130\n\
                    histogram step 100.0:2 112.5:0 195.25:1\n";
        let measures = read_lines("native", text).unwrap();
        let place = CurvePoint { curve: "rate".to_owned(), x: 64.0, x_label: "bytes".to_owned() };
        assert_eq!(measures[0].curve, Some(place));
        assert_eq!((measures[0].unit, measures[0].better), (Unit::PerSecond, Better::Higher));
        assert_eq!(measures[0].histogram, None);
        assert_eq!(measures[1].curve, None);
        assert_eq!(measures[1].histogram, Some(vec![[100.0, 2.0], [112.5, 0.0], [195.25, 1.0]]));
    }

    #[test]
    fn rare_samples_have_a_percentile_where_it_is_told() {
        let text = "measure a ns 2000 1 2 3 9 2.5 p99.9 8.5\n\
                    measure b ns 2000 1 2 3 9 2.5 p99.9 7 curve c bytes 64\n\
                    measure d ns 5 1 2 3 9 2.5\n";
        let measures = read_lines("native", text).unwrap();
        let found: Vec<_> = measures.iter().map(|m| (m.summary.unwrap().p99_9, m.curve.is_some())).collect();
        assert_eq!(found, [(Some(8.5), false), (Some(7.0), true), (None, false)]);
        assert!(read_lines("native", "measure a ns 2000 1 2 3 9 2.5 p99.9\n").is_err());
    }

    #[test]
    fn lines_that_are_none_are_refused() {
        let good = "measure x ns 1 1 1 1 1 1";
        let bad = [
            "",
            "measure x ns 1 2 3",
            "measure x furlongs 1 1 1 1 1 1",
            "measure x ns 1 1 one 1 1 1",
            "measure x ns 1 1 1 1 1 1 curve rate bytes",
            "measure x ns 1 1 1 1 1 1 curve rate bytes many",
            "measure x ns 1 1 1 1 1 1 point rate bytes 8",
        ];
        for text in bad {
            assert!(read_lines("native", text).is_err(), "{text}");
        }
        assert!(read_lines("native", good).is_ok());
        for line in ["histogram y 1:1", "histogram x 1", "histogram x 1:one", "histogram"] {
            assert!(read_lines("native", &format!("{good}\n{line}\n")).is_err(), "{line}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_127() {
        let failure = Program::existing(Path::new("/nonexistent/x")).err().unwrap();
        assert_eq!(failure.status(), 127);
    }
}
