//! Text for terminals: columns, and strings that come from elsewhere.

use std::path::Path;

/// One row of cells.
pub fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Columns of text, each as wide as its widest cell.
pub fn table(rows: &[Vec<String>]) -> String {
    table_with_numbers(rows, &[])
}

/// As [`table`]; the columns with these indices end, not begin, one below the other.
pub fn table_with_numbers(rows: &[Vec<String>], numbers: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let aligned = cells.map(|(column, (cell, width))| match numbers.contains(&column) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        text.push_str(aligned.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The rows turned: what was a row is a column.
pub fn transposed(rows: &[Vec<String>]) -> Vec<Vec<String>> {
    let columns = rows.first().map_or(0, Vec::len);
    (0..columns).map(|column| rows.iter().map(|row| row[column].clone()).collect()).collect()
}

/// A text that somebody else chose, on one line and without anything that a terminal obeys.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// A path, on one line and without anything that a terminal obeys.
pub fn printable_path(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// Lines of at most `width` characters, broken between words. A word that is longer stays whole:
/// it may be there to be copied.
pub fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let rows = [row(["a", "long cell", ""]), row(["µµµ", "b", "c"])];
        assert_eq!(table(&rows), "a    long cell\nµµµ  b          c\n");
        assert_eq!(transposed(&rows)[1], ["long cell", "b"]);
    }

    #[test]
    fn numbers_end_one_below_the_other() {
        let rows = [row(["core", "calls"]), row(["0", "7"])];
        assert_eq!(table_with_numbers(&rows, &[1]), "core  calls\n0         7\n");
    }

    #[test]
    fn nothing_that_a_terminal_obeys() {
        assert_eq!(printable("a\x1b[2Jb\nc\u{9b}é"), "a?[2Jb?c?é");
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a verylongword b", 4), ["a", "verylongword", "b"]);
        assert!(wrapped("", 9).is_empty());
    }
}
