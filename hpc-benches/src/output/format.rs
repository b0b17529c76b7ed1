//! Numbers as tables print them: four significant digits and a unit that keeps them readable.

use crate::report::Unit;

/// `value` in `unit`.
pub fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Nanoseconds => time(value),
        Unit::Percent => format!("{} %", digits(value)),
        Unit::MegabytesPerSecond => format!("{} MB/s", digits(value)),
        Unit::PerSecond => format!("{} /s", digits(value)),
        Unit::Bytes => bytes(value),
    }
}

/// `1 pair`, `2 pairs`.
pub fn count(number: usize, what: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{number} {what}{end}")
}

/// A ratio. None: native is zero, there is nothing to divide by.
pub fn ratio(ratio: Option<f64>) -> String {
    match ratio {
        None => "-".to_owned(),
        Some(ratio) if (0.1..10.0).contains(&ratio) => format!("{ratio:.3}"),
        Some(ratio) => digits(ratio),
    }
}

/// Four significant digits, but no fraction above 1000 and at most four places below 1.
pub fn digits(value: f64) -> String {
    let magnitude = value.abs();
    let places = match magnitude {
        _ if magnitude == 0.0 => 0,
        _ if magnitude >= 1000.0 => 0,
        _ if magnitude >= 100.0 => 1,
        _ if magnitude >= 10.0 => 2,
        _ if magnitude >= 1.0 => 3,
        _ => 4,
    };
    format!("{value:.places$}")
}

/// A time in the unit that keeps it readable.
pub fn time(nanoseconds: f64) -> String {
    let (scale, unit) = match nanoseconds.abs() {
        size if size >= 1e9 => (1e9, "s"),
        size if size >= 1e6 => (1e6, "ms"),
        size if size >= 1e3 => (1e3, "µs"),
        _ => (1.0, "ns"),
    };
    format!("{} {unit}", digits(nanoseconds / scale))
}

fn bytes(bytes: f64) -> String {
    let (scale, unit) = match bytes.abs() {
        size if size >= f64::from(1 << 30) => (f64::from(1 << 30), "GiB"),
        size if size >= f64::from(1 << 20) => (f64::from(1 << 20), "MiB"),
        size if size >= 1024.0 => (1024.0, "KiB"),
        _ => (1.0, "B"),
    };
    format!("{} {unit}", digits(bytes / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_choose_their_unit() {
        let ns = |nanoseconds| value(nanoseconds, Unit::Nanoseconds);
        assert_eq!(ns(0.0), "0 ns");
        assert_eq!(ns(23.456), "23.46 ns");
        assert_eq!(ns(2514.0), "2.514 µs");
        assert_eq!(ns(12_345_678.0), "12.35 ms");
        assert_eq!(ns(1_002_345_678.0), "1.002 s");
    }

    #[test]
    fn other_units_keep_theirs() {
        assert_eq!(value(0.01234, Unit::Percent), "0.0123 %");
        assert_eq!(value(9512.4, Unit::MegabytesPerSecond), "9512 MB/s");
        assert_eq!(value(2_512_345.0, Unit::PerSecond), "2512345 /s");
        assert_eq!(value(512.0, Unit::Bytes), "512.0 B");
        assert_eq!(value(3_670_016.0, Unit::Bytes), "3.500 MiB");
    }

    #[test]
    fn a_ratio_to_nothing_is_none() {
        assert_eq!(ratio(Some(1.0014)), "1.001");
        assert_eq!(ratio(Some(0.99999)), "1.000");
        assert_eq!(ratio(Some(0.0123)), "0.0123");
        assert_eq!(ratio(Some(20.833)), "20.83");
        assert_eq!(ratio(Some(0.0)), "0");
        assert_eq!(ratio(None), "-");
    }
}
