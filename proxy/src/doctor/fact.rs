//! One thing that was looked at.

use serde::Serialize;

/// What follows from it for cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Cells run, but less well than they could.
    Note,
    /// Cells do not run.
    Missing,
    /// It can't be seen from here whether cells run.
    Unknown,
}

impl Verdict {
    /// As it is printed.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Missing => "missing",
            Verdict::Unknown => "unknown",
        }
    }
}

/// A fact about this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What was looked at.
    pub check: String,
    /// What follows.
    pub verdict: Verdict,
    /// What this node has.
    pub value: String,
    /// The command or setting that would supply what is missing or tell what is unknown.
    pub cure: Option<String>,
}

impl Fact {
    fn new(check: &str, verdict: Verdict, value: impl Into<String>, cure: Option<String>) -> Self {
        Fact { check: check.to_owned(), verdict, value: value.into(), cure }
    }

    /// As it should be.
    pub fn ok(check: &str, value: impl Into<String>) -> Self {
        Fact::new(check, Verdict::Ok, value, None)
    }

    /// Less good than it could be, and nothing to be done about it here.
    pub fn remark(check: &str, value: impl Into<String>) -> Self {
        Fact::new(check, Verdict::Note, value, None)
    }

    /// Less good than it could be.
    pub fn note(check: &str, value: impl Into<String>, cure: impl Into<String>) -> Self {
        Fact::new(check, Verdict::Note, value, Some(cure.into()))
    }

    /// A need that is not met.
    pub fn missing(check: &str, value: impl Into<String>, cure: impl Into<String>) -> Self {
        Fact::new(check, Verdict::Missing, value, Some(cure.into()))
    }

    /// A need of which nothing can be said from here.
    pub fn unknown(check: &str, value: impl Into<String>, what_would_tell: impl Into<String>) -> Self {
        Fact::new(check, Verdict::Unknown, value, Some(what_would_tell.into()))
    }

    /// Whether it is a need that is not met, as far as is known.
    pub fn is_unmet(&self) -> bool {
        matches!(self.verdict, Verdict::Missing | Verdict::Unknown)
    }
}
