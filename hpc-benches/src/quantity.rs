//! Quantities on the command line: durations, counts, numbers of ranks.

/// Nanoseconds of a duration such as `250ns`, `100us`, `1.5ms` or `2s`.
pub fn duration(text: &str) -> Result<f64, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic() || c == 'µ').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return Err("give a number and a unit: ns, us, ms or s, such as 100us".to_owned()),
    };
    match number.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value * scale),
        _ => Err(format!("{number:?} is not a number of zero or more")),
    }
}

/// A duration that takes time.
pub fn positive_duration(text: &str) -> Result<f64, String> {
    match duration(text)? {
        0.0 => Err("must be longer than nothing".to_owned()),
        nanoseconds => Ok(nanoseconds),
    }
}

/// The length of a run in seconds.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds < 1e6 => Ok(seconds),
        _ => Err("not a positive number of seconds".to_owned()),
    }
}

/// A share in percent.
pub fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=100.0).contains(&value) => Ok(value),
        _ => Err("give a number from 0 to 100".to_owned()),
    }
}

/// Nanoseconds per byte.
pub fn per_byte(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("give nanoseconds per byte as a number of zero or more, such as 0.04".to_owned()),
    }
}

/// Most ranks that are simulated: 5 GB of memory.
pub const MOST_RANKS: usize = 100_000_000;

/// A number of ranks, such as `4096` or `1e6`.
pub fn ranks(text: &str) -> Result<usize, String> {
    let whole = |value: f64| (value.fract() == 0.0 && (0.0..=1e18).contains(&value)).then_some(value as usize);
    let count = text.parse::<usize>().ok().or_else(|| whole(text.parse::<f64>().ok()?));
    match count {
        None => Err("give a whole number, such as 4096 or 1e6".to_owned()),
        Some(0 | 1) => Err("a collective takes at least 2 ranks".to_owned()),
        Some(count) if count > MOST_RANKS => Err(format!("at most {MOST_RANKS} ranks are simulated")),
        Some(count) => Ok(count),
    }
}

/// A number of things of which there must be some.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("not a number".to_owned()),
    }
}

/// A duration as short as it can be written: `100 µs`.
pub fn show_duration(nanoseconds: f64) -> String {
    let (scale, unit) = match nanoseconds {
        n if n >= 1e9 => (1e9, "s"),
        n if n >= 1e6 => (1e6, "ms"),
        n if n >= 1e3 => (1e3, "µs"),
        _ => (1.0, "ns"),
    };
    format!("{} {unit}", nanoseconds / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("250ns"), Ok(250.0));
        assert_eq!(duration("100us"), Ok(100_000.0));
        assert_eq!(duration("100µs"), Ok(100_000.0));
        assert_eq!(duration("1.5ms"), Ok(1_500_000.0));
        assert_eq!(duration("2s"), Ok(2e9));
        assert_eq!(duration("0ns"), Ok(0.0));
        for wrong in ["", "5", "ms", "-1ms", "1 h", "1minute", "infs", "nans"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(positive_duration("0ms").is_err());
    }

    #[test]
    fn ranks_are_whole_numbers_from_two() {
        assert_eq!(ranks("100"), Ok(100));
        assert_eq!(ranks("1e6"), Ok(1_000_000));
        for wrong in ["1", "0", "-4", "2.5", "x", "1e12", "NaN"] {
            assert!(ranks(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_shown_in_their_unit() {
        assert_eq!(show_duration(100_000.0), "100 µs");
        assert_eq!(show_duration(1_500_000.0), "1.5 ms");
        assert_eq!(show_duration(250.0), "250 ns");
    }
}
