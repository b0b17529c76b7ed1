//! What a comparison keeps of the runs' traces and histograms, for plots: enough to see the shape,
//! little enough to send around. Thinning follows rules and draws no lots, so that the same runs
//! give the same plots.

use serde::Serialize;

use crate::report::Measure;

/// Points of a trace that are kept: half of them the longest events, half a sample of the others.
const MOST_EVENTS: usize = 2000;
const MOST_BINS: usize = 1000;
const MOST_STEPS: usize = 200;

/// Bins of different runs that begin this close to each other are one: each run calibrates its clock by
/// itself, so that what is one bin in ticks is not quite one in nanoseconds.
const SAME_BIN: f64 = 1.005;

/// Bins of a histogram made of a trace, or where finer bins are too many: so many to a factor of ten.
const BINS_PER_DECADE: f64 = 20.0;

/// The events of one run in the order of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// Which run of the side, from 1 on.
    pub run: usize,
    /// How many events that run had.
    pub events: usize,
    /// Start since the watch began and length, in nanoseconds. Fewer than `events` where there were too
    /// many to keep: then the longest are here, and of the others as many as there is room for, evenly drawn.
    pub points: Vec<[f64; 2]>,
}

/// The trace of the last run that has one. `measures` are one measure in all runs of a side.
pub fn trace(measures: &[&Measure]) -> Option<Trace> {
    let (index, measure) = measures.iter().enumerate().rfind(|(_, measure)| measure.trace.is_some())?;
    let points = measure.trace.as_ref()?;
    let events = sample_count(measure).max(points.len());
    Some(Trace { run: index + 1, events, points: thinned(points, MOST_EVENTS) })
}

/// At most `most` of `points`, in their order: the longest `most / 2`, and of the others every *n*-th.
fn thinned(points: &[[f64; 2]], most: usize) -> Vec<[f64; 2]> {
    let mut kept: Vec<usize> = (0..points.len()).collect();
    if points.len() > most {
        // Ties keep the order of time.
        kept.sort_by(|&a, &b| points[b][1].total_cmp(&points[a][1]).then(a.cmp(&b)));
        let mut others = kept.split_off(most / 2);
        others.sort_unstable();
        kept.extend(evenly(&others, most - most / 2));
        kept.sort_unstable();
    }
    kept.into_iter().map(|index| points[index].map(tenths)).collect()
}

/// At most `most` of `items` at even distances, first and last among them.
fn evenly<T: Copy>(items: &[T], most: usize) -> Vec<T> {
    if items.len() <= most || most < 2 {
        return items.iter().copied().take(most).collect();
    }
    (0..most).map(|i| items[i * (items.len() - 1) / (most - 1)]).collect()
}

/// No clock is finer, and files get smaller.
fn tenths(nanoseconds: f64) -> f64 {
    (nanoseconds * 10.0).round() / 10.0
}

/// The histogram over all runs: lower bound and count of each bin. A bin ends where the next one begins; an
/// empty one is there where it ends one that is not. Made of the traces where the runs have no histogram and
/// their traces are complete.
pub fn histogram(measures: &[&Measure]) -> Option<Vec<[f64; 2]>> {
    let given: Vec<[f64; 2]> = measures.iter().filter_map(|m| m.histogram.as_ref()).flatten().copied().collect();
    let bins = if given.is_empty() { binned(&complete_lengths(measures)?) } else { merge(given) };
    let bins = if bins.len() <= MOST_BINS { bins } else { coarse(&bins) };
    (!bins.is_empty()).then_some(bins)
}

/// Adds up the counts of equal bins and brings all in order.
fn merge(mut bins: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    bins.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let mut merged: Vec<[f64; 2]> = Vec::new();
    for [low, count] in bins {
        match merged.last_mut() {
            Some(last) if low <= last[0] * SAME_BIN => last[1] += count,
            _ => merged.push([five_digits(low), count]),
        }
    }
    let is_needed = |index: usize| {
        let is_full = |index: usize| merged[index][1] > 0.0;
        is_full(index) || index.checked_sub(1).is_some_and(is_full)
    };
    (0..merged.len()).filter(|&index| is_needed(index)).map(|index| merged[index]).collect()
}

/// A histogram of `values`.
fn binned(values: &[f64]) -> Vec<[f64; 2]> {
    merge(values.iter().flat_map(|value| decade_bins(*value, 1.0)).collect())
}

fn coarse(bins: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let full = bins.iter().filter(|[_, count]| *count > 0.0);
    merge(full.flat_map(|[low, count]| decade_bins(*low, *count)).collect())
}

/// The bin that `value` is in with its count, and the empty one that ends it.
fn decade_bins(value: f64, count: f64) -> [[f64; 2]; 2] {
    // What is below a tenth is so for all that is drawn here. A bound itself must not fall below it by a
    // rounding error.
    let step = (value.max(0.1).log10() * BINS_PER_DECADE + 1e-9).floor();
    [[step, count], [step + 1.0, 0.0]].map(|[step, count]| [10_f64.powf(step / BINS_PER_DECADE), count])
}

fn five_digits(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powf(4.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

/// The cumulative distribution of the lengths of all runs' events: length, and the percentage of
/// events that are not longer. Where a trace has the longest events only, the distribution begins where all
/// runs have all events that are longer.
pub fn cumulative(measures: &[&Measure]) -> Option<Vec<[f64; 2]>> {
    let mut lengths = Vec::new();
    let (mut events, mut begin) = (0, f64::NEG_INFINITY);
    for measure in measures {
        let trace = measure.trace.as_ref()?;
        let own = trace.iter().map(|[_, length]| *length);
        if trace.len() < sample_count(measure) {
            begin = own.clone().fold(f64::INFINITY, f64::min).max(begin);
        }
        events += sample_count(measure).max(trace.len());
        lengths.extend(own);
    }
    lengths.retain(|length| *length >= begin);
    lengths.sort_by(f64::total_cmp);
    let below = events - lengths.len();
    let steps: Vec<[f64; 2]> = lengths
        .iter()
        .enumerate()
        .filter(|(index, length)| lengths.get(index + 1).is_none_or(|next| next > length))
        .map(|(index, length)| [tenths(*length), five_digits((below + index + 1) as f64 / events as f64 * 100.0)])
        .collect();
    (!steps.is_empty()).then(|| evenly(&steps, MOST_STEPS))
}

/// The lengths of all events; none where a trace lacks some.
fn complete_lengths(measures: &[&Measure]) -> Option<Vec<f64>> {
    let mut lengths = Vec::new();
    for measure in measures {
        let trace = measure.trace.as_ref().filter(|trace| trace.len() >= sample_count(measure))?;
        lengths.extend(trace.iter().map(|[_, length]| *length));
    }
    Some(lengths)
}

fn sample_count(measure: &Measure) -> usize {
    measure.summary.map_or(0, |summary| summary.count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traced(points: &[[f64; 2]]) -> Measure {
        let lengths = points.iter().map(|[_, length]| *length).collect();
        Measure { trace: Some(points.to_vec()), ..Measure::time("selfish-detour", lengths) }
    }

    #[test]
    fn a_short_trace_is_kept_whole_and_is_the_last_runs() {
        let (first, last) = (traced(&[[1.0, 9.0]]), traced(&[[1.0, 2.0], [5.0, 700.04]]));
        let without = Measure::time("selfish-detour", vec![1.0]);
        let trace = trace(&[&first, &last, &without]).unwrap();
        assert_eq!(trace, Trace { run: 2, events: 2, points: vec![[1.0, 2.0], [5.0, 700.0]] });
    }

    #[test]
    fn a_long_trace_keeps_the_longest_and_an_even_share() {
        let points: Vec<[f64; 2]> =
            (0..100_000).map(|i| [f64::from(i), if i % 1000 == 7 { 1e6 + f64::from(i) } else { 500.0 }]).collect();
        let measure = traced(&points);
        let kept = trace(&[&measure]).unwrap();
        assert_eq!((kept.events, kept.points.len()), (100_000, MOST_EVENTS));
        assert_eq!(kept.points.iter().filter(|[_, length]| *length > 1e6).count(), 100, "all the long ones");
        assert!(kept.points.is_sorted_by(|a, b| a[0] < b[0]), "in the order of time, none twice");
        let late = kept.points.iter().filter(|[start, _]| *start > 50_000.0).count();
        assert!((400..1200).contains(&late), "the others from everywhere: {late}");
        assert_eq!(trace(&[&measure]), Some(kept), "and the same again");
    }

    fn with_bins(bins: &[[f64; 2]]) -> Measure {
        Measure { histogram: Some(bins.to_vec()), ..Measure::time("x", Vec::new()) }
    }

    #[test]
    fn histograms_of_runs_add_up() {
        let (a, b) = (with_bins(&[[1.0, 5.0], [2.0, 0.0], [4.0, 1.0]]), with_bins(&[[1.0, 7.0], [2.0, 3.0]]));
        assert_eq!(histogram(&[&a, &b]).unwrap(), [[1.0, 12.0], [2.0, 3.0], [4.0, 1.0]]);
        assert_eq!(histogram(&[&Measure::time("x", vec![1.0])]), None);
    }

    #[test]
    fn bins_are_equal_although_clocks_were_calibrated_differently() {
        // The same ticks by clocks that differ by 20 parts in a million.
        let (a, b) = (with_bins(&[[250.0, 5.0], [254.0, 0.0]]), with_bins(&[[250.005, 7.0], [254.005, 0.0]]));
        assert_eq!(histogram(&[&a, &b]).unwrap(), [[250.0, 12.0], [254.0, 0.0]]);
    }

    #[test]
    fn empty_bins_stay_where_they_end_a_full_one() {
        let measure = with_bins(&[[1.0, 0.0], [2.0, 1.0], [3.0, 0.0], [4.0, 0.0], [9.0, 1.0]]);
        assert_eq!(histogram(&[&measure]).unwrap(), [[2.0, 1.0], [3.0, 0.0], [9.0, 1.0]]);
    }

    #[test]
    fn too_many_bins_become_coarse_and_lose_nothing() {
        let bins: Vec<[f64; 2]> = (0..2000).map(|i| [1.01_f64.powi(i), 2.0]).collect();
        let coarse = histogram(&[&with_bins(&bins)]).unwrap();
        assert!(coarse.len() <= 10 * BINS_PER_DECADE as usize, "{}", coarse.len());
        assert_eq!(coarse.iter().map(|[_, count]| count).sum::<f64>(), 4000.0);
    }

    #[test]
    fn a_histogram_of_a_trace_has_bounds_at_powers_of_ten() {
        let measure = traced(&[[0.0, 1000.0], [1.0, 1000.0], [2.0, 999.0], [3.0, 10_000.0]]);
        let bins = histogram(&[&measure]).unwrap();
        let expected = [[891.25, 1.0], [1000.0, 2.0], [1122.0, 0.0], [10_000.0, 1.0], [11_220.0, 0.0]];
        assert_eq!(bins, expected);
    }

    #[test]
    fn the_cumulative_distribution_of_four_events() {
        let (a, b) = (traced(&[[0.0, 20.0], [1.0, 10.0]]), traced(&[[0.0, 40.0], [1.0, 10.0]]));
        assert_eq!(cumulative(&[&a, &b]).unwrap(), [[10.0, 50.0], [20.0, 75.0], [40.0, 100.0]]);
    }

    #[test]
    fn of_thinned_traces_the_long_end_is_exact() {
        // The longest two of four, and all of two: from 30 on everything is known.
        let thin =
            Measure { trace: Some(vec![[0.0, 40.0], [1.0, 30.0]]), ..Measure::time("x", vec![10.0, 20.0, 30.0, 40.0]) };
        let whole = traced(&[[0.0, 25.0], [1.0, 35.0]]);
        let expected = [[30.0, 66.667], [35.0, 83.333], [40.0, 100.0]];
        assert_eq!(cumulative(&[&thin, &whole]).unwrap(), expected);
        assert_eq!(histogram(&[&thin, &whole]), None);
        assert_eq!(trace(&[&thin]).unwrap().events, 4);
    }

    #[test]
    fn the_distribution_is_bounded_and_ends_at_the_longest() {
        let points: Vec<[f64; 2]> = (0..5000).map(|i| [f64::from(i), f64::from(i)]).collect();
        let steps = cumulative(&[&traced(&points)]).unwrap();
        assert_eq!(steps.len(), MOST_STEPS);
        assert_eq!(steps.last(), Some(&[4999.0, 100.0]));
    }

    #[test]
    fn silence_is_an_empty_trace_without_a_distribution() {
        let silent = traced(&[]);
        assert_eq!(trace(&[&silent]), Some(Trace { run: 1, events: 0, points: Vec::new() }));
        assert_eq!((histogram(&[&silent]), cumulative(&[&silent])), (None, None));
    }
}
