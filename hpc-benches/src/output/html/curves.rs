//! Curves that several measures make up, such as the latency over the size of the message.

use maud::{Markup, html};

use super::chart::{BOTTOM, Chart, LEFT, RIGHT, TOP, legend, line, mark, px, side_class};
use super::figure;
use super::runs::quantity_compared;
use super::scale::{Axis, Kind, Quantity};
use crate::compare::result::{MeasureComparison, SuiteComparison};
use crate::output::format;
use crate::stats::summary::median;

const WIDTH: f64 = 528.0;
const HEIGHT: f64 = 300.0;

/// One side's value at one place of a curve.
struct Point {
    x: f64,
    median: f64,
    low: f64,
    high: f64,
}

/// All curves of a suite; none when no measure is a point of one.
pub fn plots(suite: &SuiteComparison) -> Vec<Markup> {
    let mut names: Vec<&str> = Vec::new();
    for curve in suite.measures.iter().filter_map(|measure| measure.curve.as_ref()) {
        if !names.contains(&curve.curve.as_str()) {
            names.push(&curve.curve);
        }
    }
    names.into_iter().filter_map(|name| plot(suite, name)).collect()
}

fn plot(suite: &SuiteComparison, name: &str) -> Option<Markup> {
    let on_curve = |measure: &&MeasureComparison| measure.curve.as_ref().is_some_and(|curve| curve.curve == name);
    let measures: Vec<&MeasureComparison> = suite.measures.iter().filter(on_curve).collect();
    let specimen = *measures.first()?;
    let x_label = specimen.curve.as_ref().map(|curve| curve.x_label.as_str())?;
    let mut sides: Vec<(&str, Vec<Point>)> = Vec::new();
    for side in measures.iter().flat_map(|measure| &measure.sides) {
        if !sides.iter().any(|(known, _)| *known == side.side) {
            sides.push((&side.side, points(&measures, &side.side)));
        }
    }
    sides.retain(|(_, points)| !points.is_empty());
    let all = || sides.iter().flat_map(|(_, points)| points);
    let x_quantity = if x_label == "bytes" { Quantity::Bytes } else { Quantity::Number(String::new()) };
    let x = Axis::around(all().map(|point| point.x), Kind::Log, x_quantity, LEFT, WIDTH - RIGHT)?;
    let (statistic, y_quantity) = quantity_compared(specimen);
    let bounds = all().flat_map(|point| [point.low, point.high]);
    let y = Axis::around(bounds, Kind::Log, y_quantity, HEIGHT - BOTTOM, TOP)?;
    let marks = html! {
        @for (side, points) in &sides { (curve(side, points, specimen, x_label, &x, &y)) }
    };
    let chart = Chart {
        width: WIDTH,
        height: HEIGHT,
        description: &format!("{name} over {x_label}, on {} sides", sides.len()),
        x: &x,
        y: &y,
        x_title: x_label,
        y_title: statistic,
        points: all().count(),
    };
    let names: Vec<&str> = sides.iter().map(|(side, _)| *side).collect();
    let caption = "Median of the runs; the bar through each mark reaches from the smallest to the largest run.";
    Some(figure(name, caption, &legend(&names), &chart.draw(&marks)))
}

fn points(measures: &[&MeasureComparison], side: &str) -> Vec<Point> {
    let point = |measure: &&MeasureComparison| {
        let values = measure.sides.iter().find(|candidate| candidate.side == side)?.values.as_ref()?;
        Some(Point {
            x: measure.curve.as_ref()?.x,
            median: median(values.runs.clone())?,
            low: values.runs.iter().copied().reduce(f64::min)?,
            high: values.runs.iter().copied().reduce(f64::max)?,
        })
    };
    let mut points: Vec<Point> = measures.iter().filter_map(point).collect();
    points.sort_by(|a, b| a.x.total_cmp(&b.x));
    points
}

fn curve(side: &str, points: &[Point], measure: &MeasureComparison, x_label: &str, x: &Axis, y: &Axis) -> Markup {
    let places: Vec<(f64, f64)> = points.iter().map(|point| (x.at(point.x), y.at(point.median))).collect();
    html! {
        (line(side, &places))
        @for point in points {
            line class={ "whisker " (side_class(side)) } x1=(px(x.at(point.x))) x2=(px(x.at(point.x)))
                y1=(px(y.at(point.low))) y2=(px(y.at(point.high))) {}
            @let at = match x.quantity() {
                Quantity::Bytes => x.quantity().name(point.x),
                _ => format!("{} {x_label}", point.x),
            };
            (mark(side, x.at(point.x), y.at(point.median), 4.0,
                &format!("{side}, {at}: {}", format::value(point.median, measure.unit))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::assemble::assemble;
    use crate::compare::result::Run;
    use crate::output::specimen::side;
    use crate::report::{CurvePoint, Measure};

    /// Latencies of three sizes, given out of order.
    fn suite() -> SuiteComparison {
        let run = |factor: f64| {
            let measure = |bytes: f64| Measure {
                curve: Some(CurvePoint { curve: "latency".to_owned(), x: bytes, x_label: "bytes".to_owned() }),
                ..Measure::time(&format!("latency-{bytes}"), vec![bytes * factor])
            };
            Run::of([4096.0, 1.0, 64.0].map(measure).to_vec())
        };
        assemble("mpi", vec![side("native", vec![run(1.0), run(3.0), run(2.0)]), side("process", vec![run(9.0); 2])])
    }

    #[test]
    fn points_are_in_order_with_the_range_of_their_runs() {
        let suite = suite();
        let measures: Vec<&MeasureComparison> = suite.measures.iter().collect();
        let native = points(&measures, "native");
        let found: Vec<_> = native.iter().map(|p| (p.x, p.median, p.low, p.high)).collect();
        assert_eq!(found, [(1.0, 2.0, 1.0, 3.0), (64.0, 128.0, 64.0, 192.0), (4096.0, 8192.0, 4096.0, 12288.0)]);
    }

    #[test]
    fn each_side_is_a_line_with_all_its_points() {
        let plots = plots(&suite());
        assert_eq!(plots.len(), 1);
        let text = plots[0].clone().into_string();
        assert_eq!(text.matches("<polyline").count(), 2);
        assert_eq!(text.matches("class=\"whisker").count(), 6);
        assert!(text.contains("data-points=\"6\"") && text.contains("process, 4 KiB: 36.86 µs"), "{text}");
    }

    #[test]
    fn a_suite_without_curves_has_no_plot() {
        assert!(plots(&crate::output::specimen::noise().suites[0]).is_empty());
    }
}
