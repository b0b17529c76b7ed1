//! Reports whose table has cycles beside times.

use serde::{Serialize, Serializer};

use super::Text;

/// A report, printed with cycles or without; its JSON always has them.
pub struct WithCycles<R> {
    report: R,
    shown: bool,
}

impl<R> WithCycles<R> {
    /// `report`, with cycles in its table if `shown`.
    pub fn of(report: R, shown: bool) -> Self {
        Self { report, shown }
    }
}

impl<R: Serialize> Serialize for WithCycles<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.report.serialize(serializer)
    }
}

impl<R: Text> Text for WithCycles<R> {
    fn text(&self) -> String {
        if self.shown { self.report.text_with_cycles() } else { self.report.text() }
    }
}
