//! Axes: which place a value has, and where the ticks are. Pure.

use crate::output::format;

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Equal distances are equal differences.
    Linear,
    /// Equal distances are equal ratios; only for values above zero.
    Log,
}

/// What an axis counts, which decides how its ticks are named and placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Nanoseconds.
    Time,
    /// Bytes, by powers of two.
    Bytes,
    /// A number, with this behind it.
    Number(String),
}

/// An axis from `low` to `high`, drawn from `start` to `end`.
#[derive(Clone, Debug)]
pub struct Axis {
    kind: Kind,
    quantity: Quantity,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    has_ticks: bool,
}

const MOST_TICKS: usize = 7;

impl Quantity {
    /// A tick's name.
    pub fn name(&self, value: f64) -> String {
        match self {
            Self::Time => {
                let (scale, unit) = match value.abs() {
                    size if size >= 1e9 => (1e9, "s"),
                    size if size >= 1e6 => (1e6, "ms"),
                    size if size >= 1e3 => (1e3, "µs"),
                    _ => (1.0, "ns"),
                };
                format!("{} {unit}", short(value / scale))
            }
            Self::Bytes => {
                let units = ["B", "KiB", "MiB", "GiB", "TiB"];
                let power = (value.max(1.0).log2() / 10.0).floor().clamp(0.0, 4.0);
                format!("{} {}", short(value / 1024_f64.powf(power)), units[power as usize])
            }
            Self::Number(unit) if unit.is_empty() && value >= 1e5 => power_of_ten(value),
            Self::Number(unit) if unit.is_empty() => short(value),
            Self::Number(unit) => format!("{} {unit}", short(value)),
        }
    }
}

/// Four digits at most, without zeros at the end.
fn short(value: f64) -> String {
    let text = format::digits(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A large number, such as 10⁶ or 2·10⁵.
fn power_of_ten(value: f64) -> String {
    let power = value.log10().floor();
    let superscript = |digit: char| digit.to_digit(10).and_then(|digit| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(digit as usize));
    let exponent: String = power.to_string().chars().filter_map(superscript).collect();
    let factor = short(value / 10_f64.powf(power));
    if factor == "1" { format!("10{exponent}") } else { format!("{factor}·10{exponent}") }
}

impl Axis {
    /// An axis that holds all of `values` with some air, or `None` when there is nothing to hold. A
    /// logarithmic axis becomes a linear one when a value is not above zero.
    pub fn around(
        values: impl IntoIterator<Item = f64>,
        kind: Kind,
        quantity: Quantity,
        start: f64,
        end: f64,
    ) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let low = values.iter().copied().reduce(f64::min)?;
        let high = values.iter().copied().reduce(f64::max)?;
        let kind = if low > 0.0 { kind } else { Kind::Linear };
        let (low, high) = match kind {
            Kind::Log => {
                let air = (high / low).max(1.2).powf(0.06);
                (low / air, high * air)
            }
            Kind::Linear => {
                // Less than a few percent must not look like a mountain, nor have ticks of equal names.
                let least = high.abs().max(low.abs()) * 0.02;
                let air = ((high - low) * 0.06).max(least).max(if high == 0.0 && low == 0.0 { 1.0 } else { 0.0 });
                (if low >= 0.0 { (low - air).max(0.0) } else { low - air }, high + air)
            }
        };
        Some(Self::between(low, high, kind, quantity, start, end))
    }

    /// An axis with exactly these bounds.
    pub fn between(low: f64, high: f64, kind: Kind, quantity: Quantity, start: f64, end: f64) -> Self {
        Self { kind, quantity, low, high, start, end, has_ticks: true }
    }

    /// The same without lines and names.
    pub fn without_ticks(self) -> Self {
        Self { has_ticks: false, ..self }
    }

    /// The quantity.
    pub fn quantity(&self) -> &Quantity {
        &self.quantity
    }

    /// Where it is drawn.
    pub fn ends(&self) -> (f64, f64) {
        (self.start, self.end)
    }

    /// Where `value` is drawn. What lies outside is drawn at the end.
    pub fn at(&self, value: f64) -> f64 {
        let value = value.max(self.low).min(self.high);
        let share = match self.kind {
            Kind::Linear => (value - self.low) / (self.high - self.low),
            Kind::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        self.start + share * (self.end - self.start)
    }

    /// Values with a line and a name: a few round ones.
    pub fn ticks(&self) -> Vec<f64> {
        if !self.has_ticks {
            return Vec::new();
        }
        let inside = |tick: &f64| (self.low..=self.high).contains(tick);
        let steps: &[&[f64]] = match (self.kind, &self.quantity) {
            (Kind::Linear, _) => &[],
            (Kind::Log, Quantity::Bytes) => return self.powers_of_two(),
            (Kind::Log, _) => &[&[1.0], &[1.0, 3.0], &[1.0, 2.0, 5.0]],
        };
        for multiples in steps {
            let ticks: Vec<f64> =
                self.decades().flat_map(|d| multiples.iter().map(move |m| m * d)).filter(inside).collect();
            if ticks.len() >= 3 {
                let step = ticks.len().div_ceil(MOST_TICKS);
                return ticks.into_iter().step_by(step).collect();
            }
        }
        self.round_steps().into_iter().filter(inside).collect()
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        (first..=last).map(|power| 10_f64.powi(power))
    }

    fn powers_of_two(&self) -> Vec<f64> {
        let (first, last) = (self.low.log2().ceil() as i32, self.high.log2().floor() as i32);
        let step = usize::try_from(last - first + 1).unwrap_or(1).div_ceil(MOST_TICKS).max(1);
        (first..=last).step_by(step).map(|power| 2_f64.powi(power)).collect()
    }

    /// Multiples of 1, 2 or 5 times a power of ten, about five of them.
    fn round_steps(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step).floor() as i64;
        (first..=last).map(|count| count as f64 * step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(low: f64, high: f64, kind: Kind, quantity: Quantity) -> Axis {
        Axis::between(low, high, kind, quantity, 100.0, 200.0)
    }

    fn number() -> Quantity {
        Quantity::Number(String::new())
    }

    #[test]
    fn values_lie_in_proportion_or_in_ratio() {
        let linear = axis(0.0, 10.0, Kind::Linear, number());
        assert_eq!((linear.at(0.0), linear.at(5.0), linear.at(10.0), linear.at(99.0)), (100.0, 150.0, 200.0, 200.0));
        let log = axis(1.0, 100.0, Kind::Log, number());
        assert!((log.at(10.0) - 150.0).abs() < 1e-9);
        assert_eq!(log.at(0.0), 100.0, "outside is at the end");
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(axis(480.0, 2.3e6, Kind::Log, Quantity::Time).ticks(), [1e3, 1e4, 1e5, 1e6]);
        assert_eq!(axis(480.0, 4500.0, Kind::Log, Quantity::Time).ticks(), [500.0, 1000.0, 2000.0]);
        assert_eq!(axis(0.0, 97.0, Kind::Linear, number()).ticks(), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(axis(1.01, 1.04, Kind::Log, number()).ticks().len(), 4);
        let wide = axis(1e-3, 1e12, Kind::Log, number()).ticks();
        assert!(wide.len() <= MOST_TICKS + 1, "{wide:?}");
    }

    #[test]
    fn bytes_are_ticked_by_powers_of_two() {
        let axis = axis(1.0, 1048576.0, Kind::Log, Quantity::Bytes);
        let names: Vec<String> = axis.ticks().into_iter().map(|tick| Quantity::Bytes.name(tick)).collect();
        assert_eq!(names, ["1 B", "8 B", "64 B", "512 B", "4 KiB", "32 KiB", "256 KiB"]);
    }

    #[test]
    fn an_axis_around_values_has_air_and_a_kind_that_can_hold_them() {
        assert!(Axis::around([], Kind::Log, number(), 0.0, 1.0).is_none());
        assert!(Axis::around([f64::NAN], Kind::Log, number(), 0.0, 1.0).is_none());
        let silent = Axis::around([0.0, 250.0], Kind::Log, number(), 0.0, 1.0).unwrap();
        assert_eq!((silent.kind, silent.low), (Kind::Linear, 0.0));
        for kind in [Kind::Linear, Kind::Log] {
            let single = Axis::around([7.0], kind, number(), 0.0, 100.0).unwrap();
            assert!((single.at(7.0) - 50.0).abs() < 5.0, "one value is in the middle");
            assert!(!single.ticks().is_empty());
        }
    }

    #[test]
    fn ticks_are_named_in_short() {
        assert_eq!(Quantity::Time.name(500.0), "500 ns");
        assert_eq!(Quantity::Time.name(1e4), "10 µs");
        assert_eq!(Quantity::Time.name(0.0), "0 ns");
        assert_eq!(Quantity::Number("%".to_owned()).name(0.5), "0.5 %");
        assert_eq!(number().name(1.25), "1.25");
        assert_eq!(number().name(1e4), "10000");
        assert_eq!(number().name(1e6), "10⁶");
        assert_eq!(number().name(2e12), "2·10¹²");
    }
}
