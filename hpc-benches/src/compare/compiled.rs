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
use crate::report::{Measure, Unit};
use crate::stats::summary::Summary;
use crate::stats::verdict::Better;

const HEADER: &str = include_str!("../../programs/measure.h");
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
        let unwritable = |error| {
            Failure::new(format!(
                "cannot write {}.c to the temporary folder: {error}; set TMPDIR to a folder with space",
                source.name
            ))
        };
        let folder = ScratchFolder::new(&env::temp_dir()).map_err(unwritable)?;
        let file = folder.path().join(source.name).with_extension("c");
        let path = folder.path().join(source.name);
        fs::write(&file, source.text).map_err(unwritable)?;
        fs::write(folder.path().join("measure.h"), HEADER).map_err(unwritable)?;
        let mut command: Vec<OsString> = vec![compiler.into(), "-O2".into()];
        command.extend(source.options.iter().map(OsString::from));
        command.extend(["-o".into(), path.clone().into(), file.into()]);
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

/// Reads `measure NAME UNIT COUNT MIN MEDIAN P99 MAX MEAN` lines; other lines are the program's
/// own affair.
pub fn read_lines(side: &str, stdout: &str) -> Result<Vec<Measure>, Failure> {
    let lines = stdout.lines().filter(|line| line.starts_with("measure "));
    let measures: Vec<Measure> = lines
        .map(|line| {
            read_line(line).ok_or_else(|| {
                Failure::new(format!(
                    "side {side} printed a measure that can't be read: {line}; see programs/measure.h for the layout"
                ))
            })
        })
        .collect::<Result<_, _>>()?;
    if measures.is_empty() {
        return Err(Failure::new(format!(
            "side {side} printed no measure; use a program that prints lines as programs/measure.h does"
        )));
    }
    Ok(measures)
}

fn read_line(line: &str) -> Option<Measure> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, name, unit, count, min, median, p99, max, mean] = words[..] else {
        return None;
    };
    let summary = Summary {
        count: count.parse().ok()?,
        min: min.parse().ok()?,
        median: median.parse().ok()?,
        p99: p99.parse().ok()?,
        max: max.parse().ok()?,
        mean: mean.parse().ok()?,
    };
    let (unit, better) = match unit {
        "ns" => (Unit::Nanoseconds, Better::Lower),
        "MB/s" => (Unit::MegabytesPerSecond, Better::Higher),
        _ => return None,
    };
    Some(Measure { unit, better, summary: Some(summary), ..Measure::time(name, Vec::new()) })
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
    fn lines_that_are_none_are_refused() {
        for text in ["", "measure x ns 1 2 3", "measure x furlongs 1 1 1 1 1 1", "measure x ns 1 1 one 1 1 1"] {
            assert!(read_lines("native", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_127() {
        let failure = Program::existing(Path::new("/nonexistent/x")).err().unwrap();
        assert_eq!(failure.status(), 127);
    }
}
