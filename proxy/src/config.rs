//! What the administrator of this node has decided: `/etc/tacet.toml`.
//!
//! ```toml
//! [partition]
//! auto = true     # `tacet run` may take bare cores without being told to; false if left out
//! ```
//!
//! The file need not be there. What is in it must be understood: a key that means nothing here
//! is refused by name, because whoever wrote it expects something of it.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::table::printable;

/// Where the file is.
pub const PLACE: &str = "etc/tacet.toml";

/// The decisions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// About bare cores.
    pub partition: Partition,
}

/// `[partition]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Partition {
    /// Whether `--platform auto` may take cores out of Linux.
    pub auto: bool,
}

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Linux refuses.
    #[error("cannot read the configuration {}: {error}; check that it is a text file that you may read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What Linux said.
        error: io::Error,
    },
    /// It says what Tacet does not understand.
    #[error("the configuration {}, line {line} ({text}): {why}; correct that line or take it out", .path.display())]
    NotUnderstood {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is in it.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Config {
    /// That of this node; the defaults where there is none.
    pub fn of_node(root: &Path) -> Result<Self, ConfigError> {
        match Self::read(&root.join(PLACE)) {
            Err(ConfigError::Unreadable { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Config::default())
            }
            other => other,
        }
    }

    /// That in a file, which must be there.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::Unreadable { path: path.to_owned(), error };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        toml::from_str(&text).map_err(|error| {
            let (line, wrong) = line_of(&text, error.span().unwrap_or_default());
            // The parser's explanations may have several lines.
            let why = error.message().lines().collect::<Vec<_>>().join(", ");
            ConfigError::NotUnderstood { path: path.to_owned(), line, text: wrong, why: printable(&why) }
        })
    }
}

/// The number of the line where `span` begins, and its text, cut to what fits a message.
fn line_of(text: &str, span: Range<usize>) -> (usize, String) {
    const MOST: usize = 60;
    let before = text.get(..span.start).unwrap_or_default();
    let number = before.matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default().trim();
    (number + 1, printable(line).chars().take(MOST).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::Fixture;

    fn of(text: &str) -> Result<Config, String> {
        let root = Fixture::new();
        root.file(PLACE, text);
        Config::of_node(root.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn bare_cores_are_taken_only_where_the_administrator_says_so() {
        for (text, auto) in [
            ("", false),
            ("[partition]\n", false),
            ("[partition]\nauto = true # yes\n", true),
            ("partition.auto = false", false),
        ] {
            assert_eq!(of(text), Ok(Config { partition: Partition { auto } }), "{text}");
        }
        assert_eq!(Config::of_node(Fixture::new().path()).expect("no file, no decisions"), Config::default());
    }

    #[test]
    fn what_is_not_understood_is_refused_with_file_line_and_key() {
        for (text, line, words) in [
            ("[partition]\nautos = true\n", 2, ["autos = true", "unknown field `autos`"]),
            ("\n\n[partitions]\n", 3, ["[partitions]", "unknown field `partitions`"]),
            ("[partition]\nauto = 3\n", 2, ["auto = 3", "expected a boolean"]),
            ("[partition]\nauto = maybe\n", 2, ["auto = maybe", "must be quoted"]),
            ("[partition]\nauto = true\nauto = false\n", 3, ["auto = false", "duplicate key"]),
            ("[partition\n", 1, ["[partition", "unclosed table"]),
            ("auto\x1b[2J = true", 1, ["auto?[2J", "key with no value"]),
        ] {
            let error = of(text).expect_err(text);
            for word in [&format!("etc/tacet.toml, line {line} "), words[0], words[1]] {
                assert!(error.contains(word), "{word:?} in {error}");
            }
            assert!(!error.contains(char::is_control) && error.ends_with("take it out"), "{error}");
        }
    }

    #[test]
    fn a_file_that_can_not_be_read_is_named() {
        let root = Fixture::new();
        let error = Config::read(&root.path().join("none")).expect_err("not there").to_string();
        assert!(error.contains("none") && error.contains("No such file"), "{error}");
        std::fs::create_dir_all(root.path().join(PLACE)).expect("own directory");
        assert!(matches!(Config::of_node(root.path()), Err(ConfigError::Unreadable { .. })), "a directory");
        let noise = root.path().join("noise");
        std::fs::write(&noise, [0xff, 0xfe]).expect("own file");
        assert!(matches!(Config::read(&noise), Err(ConfigError::Unreadable { .. })));
    }
}
