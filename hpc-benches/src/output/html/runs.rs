//! Every run of every side by itself, in the order of time: how the sides took turns, whether the
//! machine drifted, and whether a median hides something.

use maud::{Markup, html};

use super::chart::{BOTTOM, Chart, LEFT, RIGHT, TOP, legend, line, mark};
use super::scale::{Axis, Kind, Quantity};
use super::{figure, scale};
use crate::compare::result::{MeasureComparison, SuiteComparison};
use crate::output::csv::unit_name;
use crate::output::format;
use crate::report::{Statistic, Unit};

const WIDTH: f64 = 344.0;
const HEIGHT: f64 = 176.0;

/// Where the largest run is so many times the smallest, only a logarithmic axis shows both.
const LOG_FROM: f64 = 20.0;

/// A run of a side.
struct Point<'a> {
    side: &'a str,
    run: usize,
    x: f64,
    value: f64,
}

/// One small plot per measure.
pub fn grid(suite: &SuiteComparison) -> Option<Markup> {
    let plots: Vec<Markup> = suite.measures.iter().filter_map(|measure| plot(suite, measure)).collect();
    if plots.is_empty() {
        return None;
    }
    let mut sides: Vec<&str> = Vec::new();
    for side in suite.measures.iter().flat_map(|measure| &measure.sides) {
        if !sides.contains(&side.side.as_str()) {
            sides.push(&side.side);
        }
    }
    let caption = "The compared value of each run, at the time when the run began: the sides took turns, so what \
                   drifts with the machine drifts on all sides. The axes up show the range of the runs and do not \
                   begin at zero.";
    let body = html! { div class="small" { @for plot in &plots { (plot) } } };
    Some(figure("Every run, in the order taken", caption, &legend(&sides), &body))
}

fn plot(suite: &SuiteComparison, measure: &MeasureComparison) -> Option<Markup> {
    let has_times = !suite.order.is_empty() && suite.order.iter().all(|turn| turn.started_seconds.is_some());
    let points = points(suite, measure, has_times);
    let values = || points.iter().map(|point| point.value);
    let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
    let kind = if low > 0.0 && high > low * LOG_FROM { Kind::Log } else { Kind::Linear };
    let (unit, quantity) = quantity_compared(measure);
    let y = Axis::around(values(), kind, quantity, HEIGHT - BOTTOM, TOP)?;
    let x_quantity = Quantity::Number(if has_times { "s" } else { "" }.to_owned());
    let end = suite.order.iter().filter_map(|turn| turn.started_seconds).filter(|_| has_times).reduce(f64::max);
    let end = points.iter().map(|point| point.x).chain(end).reduce(f64::max)?.max(1e-3);
    let x = Axis::between(-0.04 * end, 1.04 * end, Kind::Linear, x_quantity, LEFT, WIDTH - RIGHT);
    let marks = html! {
        @for side in &measure.sides {
            @let own: Vec<&Point> = points.iter().filter(|point| point.side == side.side).collect();
            (line(&side.side, &own.iter().map(|point| (x.at(point.x), y.at(point.value))).collect::<Vec<_>>()))
            @for point in own {
                (mark(point.side, x.at(point.x), y.at(point.value), 3.6, &note(point, measure)))
            }
        }
    };
    let chart = Chart {
        width: WIDTH,
        height: HEIGHT,
        description: &format!("{}: the value of each of {} runs", measure.name, points.len()),
        x: &x,
        y: &y,
        x_title: if has_times { "start of the run" } else { "run" },
        y_title: unit,
        points: points.len(),
    };
    Some(html! { div { h5 { (measure.name) } (chart.draw(&marks)) } })
}

fn points<'a>(suite: &'a SuiteComparison, measure: &'a MeasureComparison, has_times: bool) -> Vec<Point<'a>> {
    let sides = measure.sides.len();
    let mut points = Vec::new();
    for (place, side) in measure.sides.iter().enumerate() {
        let starts: Vec<f64> =
            suite.order.iter().filter(|turn| turn.side == side.side).filter_map(|turn| turn.started_seconds).collect();
        let runs = side.values.iter().flat_map(|values| &values.runs);
        points.extend(runs.enumerate().map(|(run, value)| {
            // Without times: sides in turn, as comparisons are taken.
            let in_turn = (run * sides + place + 1) as f64;
            let x = if has_times { starts.get(run).copied().unwrap_or(in_turn) } else { in_turn };
            Point { side: &side.side, run: run + 1, x, value: *value }
        }));
    }
    points
}

fn note(point: &Point, measure: &MeasureComparison) -> String {
    let value = match measure.compared {
        Statistic::Median => format::value(point.value, measure.unit),
        Statistic::DetoursPerSecond => format!("{} detours/s", format::digits(point.value)),
    };
    format!("{}, run {}: {value}", point.side, point.run)
}

/// What the compared values of a measure are, in words and for an axis.
pub fn quantity_compared(measure: &MeasureComparison) -> (&'static str, Quantity) {
    match measure.compared {
        Statistic::Median => ("median", quantity_of(measure.unit)),
        Statistic::DetoursPerSecond => ("detours/s", Quantity::Number(String::new())),
    }
}

/// The quantity that samples in `unit` are.
pub fn quantity_of(unit: Unit) -> scale::Quantity {
    match unit_name(unit).as_str() {
        "ns" => Quantity::Time,
        "B" => Quantity::Bytes,
        "1/s" => Quantity::Number("/s".to_owned()),
        name => Quantity::Number(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::specimen;

    #[test]
    fn runs_stand_where_they_began() {
        let comparison = specimen::noise();
        let suite = &comparison.suites[0];
        let points = points(suite, &suite.measures[0], true);
        let native: Vec<f64> = points.iter().filter(|p| p.side == "native").map(|p| p.x).collect();
        assert_eq!(native, [0.0, 4.0, 8.0, 12.0, 16.0, 20.0]);
        let cell: Vec<f64> = points.iter().filter(|p| p.side == "process").map(|p| p.x).collect();
        assert_eq!(cell, [2.0, 6.0, 10.0, 14.0, 18.0]);
        assert_eq!(points[1].value, 251.0);
    }

    #[test]
    fn without_times_the_sides_alternate() {
        let mut comparison = specimen::noise();
        comparison.suites[0].order.clear();
        let suite = &comparison.suites[0];
        let mut order: Vec<(u32, &str)> =
            points(suite, &suite.measures[0], false).iter().map(|p| (p.x as u32, p.side)).collect();
        order.sort_unstable();
        assert_eq!(order[..4], [(1, "native"), (2, "process"), (3, "native"), (4, "process")]);
    }
}
