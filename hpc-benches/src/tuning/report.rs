//! What tuning did, item by item, as tables and JSON show it.

use serde::Serialize;

/// Whether an item is as a tuned Linux has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Changed for the runs of this side, and put back.
    Applied,
    /// It was so before.
    AlreadySo,
    /// This node does not have it or does not let us.
    NotPossible,
}

/// One thing that a tuned Linux has otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Its name.
    pub name: String,
    /// Whether it was had.
    pub outcome: Outcome,
    /// What was changed, from what to what; or why not.
    pub detail: String,
}

/// What the side `native-tuned` of a suite ran on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tuning {
    /// The cores that were measured.
    pub measured: String,
    /// Those that were kept free for them: with siblings of the same physical cores. Empty when the suite
    /// uses all.
    pub isolated: String,
    /// Everything that was tried, applied or not.
    pub items: Vec<Item>,
}

impl Outcome {
    /// As tables print it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::AlreadySo => "already so",
            Self::NotPossible => "not possible",
        }
    }
}

impl Item {
    /// It was changed.
    pub fn applied(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::Applied, detail: detail.into() }
    }

    /// It needed no change.
    pub fn already(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::AlreadySo, detail: detail.into() }
    }

    /// It could not be had.
    pub fn not_possible(name: &str, why: impl Into<String>) -> Self {
        Self { name: name.to_owned(), outcome: Outcome::NotPossible, detail: why.into() }
    }
}

impl Tuning {
    /// Whether anything was changed at all.
    pub fn is_any_applied(&self) -> bool {
        self.items.iter().any(|item| item.outcome == Outcome::Applied)
    }

    /// One report for several runs, each of which was set up anew. An item that went otherwise in one of them
    /// is told with its worst outcome and in how many runs it was so.
    pub fn merge(runs: Vec<Self>) -> Option<Self> {
        let total = runs.len();
        let mut merged = runs.first()?.clone();
        for item in &mut merged.items {
            let same: Vec<&Item> =
                runs.iter().filter_map(|run| run.items.iter().find(|other| other.name == item.name)).collect();
            let Some(worst) = same.iter().max_by_key(|other| other.outcome as u8) else { continue };
            let so = same.iter().filter(|other| other.outcome == worst.outcome).count();
            *item = (*worst).clone();
            if so < total {
                item.detail = format!("in {so} of {total} runs: {}", item.detail);
            }
        }
        Some(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(items: Vec<Item>) -> Tuning {
        Tuning { measured: "3".to_owned(), isolated: "3".to_owned(), items }
    }

    #[test]
    fn runs_that_agree_are_told_once() {
        let same = run(vec![Item::applied("irqs", "moved"), Item::not_possible("cpuset", "read-only")]);
        assert_eq!(Tuning::merge(vec![same.clone(), same.clone()]), Some(same.clone()));
        assert!(same.is_any_applied());
        assert_eq!(Tuning::merge(Vec::new()), None);
    }

    #[test]
    fn one_run_that_failed_is_not_hidden() {
        let well = run(vec![Item::applied("irqs", "moved")]);
        let badly = run(vec![Item::not_possible("irqs", "refused")]);
        let merged = Tuning::merge(vec![well.clone(), badly.clone(), well]).unwrap();
        assert_eq!(merged.items, [Item::not_possible("irqs", "in 1 of 3 runs: refused")]);
        assert!(!badly.is_any_applied());
    }
}
