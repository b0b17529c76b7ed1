//! Plots of single events and samples: when detours were and how long, how often which length, and
//! which share was not longer.

use maud::{Markup, html};

use super::chart::{BOTTOM, Chart, LEFT, RIGHT, TOP, legend, line, mark, px, side_class};
use super::figure;
use super::runs::quantity_of;
use super::scale::{Axis, Kind, Quantity};
use crate::compare::distribution::Trace;
use crate::compare::result::{MeasureComparison, SideValues};
use crate::output::format;
use crate::report::Unit;

const WIDE: f64 = 1080.0;
const HALF: f64 = 528.0;
const PLOT_HEIGHT: f64 = 300.0;
const STRIP_HEIGHT: f64 = 196.0;

/// So many of the longest events say when and how long when pointed at.
const NAMED_EVENTS: usize = 60;

/// One strip per side, with the same axes: start of each event, and its length.
pub fn scatter(measure: &MeasureComparison) -> Option<Markup> {
    let traced = with(measure, |side| side.trace.as_ref());
    let points = || traced.iter().flat_map(|(_, trace)| &trace.points);
    let (left, right) = (LEFT, WIDE - RIGHT);
    let (bottom, top) = (STRIP_HEIGHT - BOTTOM, TOP);
    // Events start at zero at the earliest; an axis of seconds reads better than one of nanoseconds.
    let end = points().map(|[start, _]| start / 1e9).reduce(f64::max)?;
    let seconds = Quantity::Number("s".to_owned());
    let x = Axis::between(0.0, if end > 0.0 { end * 1.01 } else { 1.0 }, Kind::Linear, seconds, left, right);
    let y = Axis::around(points().map(|[_, length]| *length), Kind::Log, Quantity::Time, bottom, top)?;
    let strips = html! {
        @for (side, trace) in &traced { (strip(&measure.name, side, trace, &x, &y)) }
    };
    let caption = "Each mark is an interruption of a loop that does nothing but watch: when it began, and how long \
                   the core was elsewhere. Rows of marks at a distance are a timer; marks high up hurt most.";
    Some(figure(&format!("{}: detours over time", measure.name), caption, &html! {}, &strips))
}

fn strip(measure: &str, side: &str, trace: &Trace, x: &Axis, y: &Axis) -> Markup {
    let shown = trace.points.len();
    let what = match trace.events {
        0 => "no detour in the whole run".to_owned(),
        events if shown < events => {
            format!("{events} detours, of which {shown} are drawn, all of the longest among them")
        }
        1 => "1 detour".to_owned(),
        events => format!("{events} detours"),
    };
    let mut by_length: Vec<f64> = trace.points.iter().map(|[_, length]| *length).collect();
    by_length.sort_by(|a, b| b.total_cmp(a));
    let named = by_length.get(NAMED_EVENTS).copied().unwrap_or(f64::NEG_INFINITY);
    let marks = html! {
        @if shown == 0 {
            @let (left, right) = x.ends();
            @let (bottom, top) = y.ends();
            text class="silence" x=(px((left + right) / 2.0)) y=(px((bottom + top) / 2.0)) { "silent" }
        }
        g class={ "dots " (side_class(side)) } {
            @for [start, length] in &trace.points {
                circle cx=(px(x.at(start / 1e9))) cy=(px(y.at(*length))) r="2.1" {
                    @if *length > named {
                        title { (format::value(*length, Unit::Nanoseconds)) " at " (format!("{:.6} s", start / 1e9)) }
                    }
                }
            }
        }
    };
    let chart = Chart {
        width: WIDE,
        height: STRIP_HEIGHT,
        description: &format!("{measure} on {side}: {what}"),
        x,
        y,
        x_title: "since the watch began",
        y_title: "length",
        points: shown,
    };
    html! {
        div class="strip" { (legend(&[side])) span class="quiet" { "run " (trace.run) ": " (what) } }
        (chart.draw(&marks))
    }
}

/// Samples per run in each bin, both axes logarithmic.
pub fn histogram(measure: &MeasureComparison) -> Option<Markup> {
    let given = with(measure, |side| {
        let runs = side.values.as_ref().map_or(1, |values| values.runs.len().max(1));
        side.histogram.as_ref().filter(|bins| !bins.is_empty()).map(|bins| per_run(bins, runs))
    });
    let bins = || given.iter().flat_map(|(_, bins)| bins);
    let (bottom, top) = (PLOT_HEIGHT - BOTTOM, TOP);
    let bounds = given.iter().flat_map(|(_, bins)| (0..bins.len()).flat_map(|i| [bins[i][0], end_of(bins, i)]));
    let x = Axis::around(bounds, Kind::Log, quantity_of(measure.unit), LEFT, HALF - RIGHT)?;
    let counts = || bins().map(|[_, count]| *count).filter(|count| *count > 0.0);
    let (least, most) = (counts().reduce(f64::min)?, counts().reduce(f64::max)?);
    let count = Quantity::Number(String::new());
    let y = Axis::between(least / 2.0, most * 1.5, Kind::Log, count, bottom, top);
    let marks = html! {
        @for (side, bins) in &given {
            path class={ "steps " (side_class(side)) } d=(steps(bins, &x, &y)) {}
        }
    };
    let chart = Chart {
        width: HALF,
        height: PLOT_HEIGHT,
        description: &format!("How often {} had which value", measure.name),
        x: &x,
        y: &y,
        x_title: &measure.name,
        y_title: "samples per run",
        points: counts().count(),
    };
    let caption = "How many samples of a run lay where; mean over the runs. Both axes are logarithmic: one sample in \
                   a million is as easy to see as the bulk.";
    let names: Vec<&str> = given.iter().map(|(side, _)| *side).collect();
    Some(figure(&format!("{}: histogram", measure.name), caption, &legend(&names), &chart.draw(&marks)))
}

fn per_run(bins: &[[f64; 2]], runs: usize) -> Vec<[f64; 2]> {
    coarse(bins).iter().map(|[low, count]| [*low, count / runs as f64]).collect()
}

/// Finer bins than this factor are a comb to the eye and tell nothing more.
const FINEST_DRAWN: f64 = 1.15;

/// Joins bins until one spans [`FINEST_DRAWN`], gaps in it included; wider gaps stay.
fn coarse(bins: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let mut joined: Vec<[f64; 2]> = Vec::new();
    let mut end = None;
    for [low, count] in bins {
        match joined.last_mut() {
            Some(last) if last[1] > 0.0 && *low < last[0] * FINEST_DRAWN => last[1] += count,
            _ => {
                joined.extend(end.map(|end| [end, 0.0]));
                joined.push([*low, *count]);
            }
        }
        // An empty bin that was joined still ends the full ones before it.
        let is_joined = joined.last().is_some_and(|last| last[1] > 0.0);
        end = (*count == 0.0 && is_joined).then_some(*low);
    }
    joined.extend(end.map(|end| [end, 0.0]));
    joined
}

/// A last bin ends nowhere: as far as a neighbour would be away by ratio.
const LAST_BIN: f64 = 1.03;

/// Where the bin `index` ends.
fn end_of(bins: &[[f64; 2]], index: usize) -> f64 {
    bins.get(index + 1).map_or(bins[index][0] * LAST_BIN, |next| next[0])
}

/// The outline of the bins; where they are empty it is on the axis.
fn steps(bins: &[[f64; 2]], x: &Axis, y: &Axis) -> String {
    let floor = px(y.ends().0);
    let mut path = String::new();
    for (index, [low, count]) in bins.iter().enumerate() {
        let (left, right) = (px(x.at(*low)), px(x.at(end_of(bins, index))));
        let height = if *count > 0.0 { px(y.at(*count)) } else { floor.clone() };
        if index == 0 {
            path += &format!("M{left} {floor}");
        }
        path += &format!("V{height}H{right}");
    }
    path + "V" + &floor
}

/// Which share of the events was not longer.
pub fn cumulative(measure: &MeasureComparison) -> Option<Markup> {
    let given = with(measure, |side| side.cumulative.as_ref().filter(|steps| !steps.is_empty()));
    let steps = || given.iter().flat_map(|(_, steps)| steps.iter());
    let (bottom, top) = (PLOT_HEIGHT - BOTTOM, TOP);
    let x = Axis::around(steps().map(|[length, _]| *length), Kind::Log, Quantity::Time, LEFT, HALF - RIGHT)?;
    let y = Axis::between(0.0, 100.0, Kind::Linear, Quantity::Number("%".to_owned()), bottom, top);
    let marks = html! {
        @for (side, steps) in &given {
            @let places = stairs(steps, &x, &y);
            (line(side, &places))
            @if let Some([longest, _]) = steps.last() {
                (mark(side, x.at(*longest), y.at(100.0), 4.0,
                    &format!("{side}: longest {}", format::value(*longest, Unit::Nanoseconds))))
            }
        }
    };
    let chart = Chart {
        width: HALF,
        height: PLOT_HEIGHT,
        description: &format!("Cumulative distribution of the lengths of {}", measure.name),
        x: &x,
        y: &y,
        x_title: "length",
        y_title: "detours not longer",
        points: steps().count(),
    };
    let caption = "Which share of the detours of all runs was not longer than a length. It says nothing of how many \
                   there were: that is detours/s in the table.";
    let names: Vec<&str> = given.iter().map(|(side, _)| *side).collect();
    let title = format!("{}: cumulative distribution", measure.name);
    Some(figure(&title, caption, &legend(&names), &chart.draw(&marks)))
}

/// The distribution jumps at each length and is level between.
fn stairs(steps: &[[f64; 2]], x: &Axis, y: &Axis) -> Vec<(f64, f64)> {
    let mut places = Vec::new();
    // A single length is a jump from nothing; else the line begins with the shortest known one.
    let mut share_before = if steps.len() == 1 { 0.0 } else { steps[0][1] };
    for [length, share] in steps {
        places.push((x.at(*length), y.at(share_before)));
        places.push((x.at(*length), y.at(*share)));
        share_before = *share;
    }
    places
}

/// What `find` finds, by side.
fn with<'a, T>(measure: &'a MeasureComparison, find: impl Fn(&'a SideValues) -> Option<T>) -> Vec<(&'a str, T)> {
    measure.sides.iter().filter_map(|side| Some((side.side.as_str(), find(side)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> (Axis, Axis) {
        let number = || Quantity::Number(String::new());
        let x = Axis::between(1.0, 1000.0, Kind::Log, number(), 0.0, 300.0);
        let y = Axis::between(0.0, 100.0, Kind::Linear, number(), 100.0, 0.0);
        (x, y)
    }

    #[test]
    fn neighbouring_bins_touch_and_empty_ones_are_on_the_axis() {
        let (x, y) = axes();
        let path = steps(&[[1.0, 50.0], [10.0, 0.0], [100.0, 20.0]], &x, &y);
        assert_eq!(path, "M0 100V50H100V100H200V80H201.3V100");
    }

    #[test]
    fn fine_bins_are_drawn_as_one_and_gaps_stay() {
        let bins = [[100.0, 1.0], [103.0, 0.0], [106.0, 4.0], [116.0, 8.0], [119.0, 0.0], [200.0, 16.0], [206.0, 0.0]];
        let expected = [[100.0, 5.0], [116.0, 8.0], [119.0, 0.0], [200.0, 16.0], [206.0, 0.0]];
        assert_eq!(coarse(&bins), expected);
        assert_eq!(coarse(&[[1.0, 2.0], [2.0, 0.0]]), [[1.0, 2.0], [2.0, 0.0]]);
    }

    #[test]
    fn the_distribution_climbs_at_each_length() {
        let (x, y) = axes();
        let places = stairs(&[[1.0, 25.0], [1000.0, 100.0]], &x, &y);
        assert_eq!(places, [(0.0, 75.0), (0.0, 75.0), (300.0, 75.0), (300.0, 0.0)]);
        assert_eq!(stairs(&[[1.0, 100.0]], &x, &y), [(0.0, 100.0), (0.0, 0.0)]);
    }
}
