//! Slowdown over ranks as a picture: one line per trace and granularity, with bars from p10 to p90.

use std::fmt::Write;

use super::html::escape;
use super::result::{Point, Scaled};
use crate::quantity::show_duration;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 480.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 60.0;
/// Height of a line of the legend.
const LEGEND: f64 = 18.0;

/// Colours that people of all kinds of colour vision can tell apart (M. Okabe, K. Ito, *Color Universal
/// Design*, 2008), one per trace.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// Lines of the granularities.
const DASHES: [&str; 5] = ["none", "7 4", "2 3", "10 3 2 3", "1 5"];

/// One line of the plot.
struct Series<'a> {
    label: String,
    colour: &'static str,
    dash: &'static str,
    points: Vec<&'a Point>,
}

/// From numbers to places.
struct Scale {
    least: f64,
    most: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
}

impl Scale {
    fn place(&self, value: f64) -> f64 {
        let along = |value: f64| if self.logarithmic { value.log10() } else { value };
        let (least, most) = (along(self.least), along(self.most));
        self.from + (along(value) - least) / (most - least) * (self.to - self.from)
    }

    /// Where lines go: powers of ten with 2 and 5 between them where there are few, or steps of 1, 2 or 5.
    fn ticks(&self) -> Vec<f64> {
        if !self.logarithmic {
            let step = round_step((self.most - self.least) / 6.0);
            let first = (self.least / step - 1e-9).ceil() as i64;
            return (first..).map(|i| i as f64 * step).take_while(|&v| v <= self.most + step * 1e-9).collect();
        }
        let decades = (self.most / self.least).log10();
        let within = [1.0, 2.0, 5.0];
        let steps = if decades > 3.0 { &within[..1] } else { &within[..] };
        let exponents = self.least.log10().floor() as i32..=self.most.log10().ceil() as i32;
        let all = exponents.flat_map(|e| steps.iter().map(move |step| step * 10_f64.powi(e)));
        all.filter(|v| (self.least * 0.999..=self.most * 1.001).contains(v)).collect()
    }
}

/// The plot as an SVG document.
pub fn svg(scaled: &Scaled) -> String {
    let series = series(scaled);
    let (x, y) = scales(&scaled.points);
    let height = HEIGHT.max(TOP + LEGEND * (series.len() as f64 + 1.0));
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\" \
         aria-label=\"Slowdown over number of ranks\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    axes(&mut out, &x, &y);
    for series in &series {
        line(&mut out, series, &x, &y);
    }
    for (index, series) in series.iter().enumerate() {
        legend(&mut out, series, TOP + LEGEND * (index as f64 + 0.5));
    }
    out + "</svg>\n"
}

fn series(scaled: &Scaled) -> Vec<Series<'_>> {
    let mut granularities: Vec<f64> = Vec::new();
    let mut series: Vec<Series> = Vec::new();
    let mut last = None;
    for point in &scaled.points {
        let place = granularities.iter().position(|&known| known == point.granularity_ns).unwrap_or_else(|| {
            granularities.push(point.granularity_ns);
            granularities.len() - 1
        });
        if last.replace((point.trace, place)) != Some((point.trace, place)) {
            series.push(Series {
                label: format!("{}, {}", scaled.traces[point.trace].label, show_duration(point.granularity_ns)),
                colour: COLOURS[point.trace % COLOURS.len()],
                dash: DASHES[place % DASHES.len()],
                points: Vec::new(),
            });
        }
        if let Some(series) = series.last_mut() {
            series.points.push(point);
        }
    }
    series
}

/// Ranks always by powers; slowdowns by powers where they differ much.
fn scales(points: &[Point]) -> (Scale, Scale) {
    let ranks = |choose: fn(f64, f64) -> f64| points.iter().map(|p| p.ranks as f64).reduce(choose).unwrap_or(1.0);
    let (fewest, most) = (ranks(f64::min), ranks(f64::max));
    // A single number of ranks stands in the middle.
    let (fewest, most) = if fewest == most { (fewest / 2.0, most * 2.0) } else { (fewest, most) };
    let x = Scale { least: fewest, most, logarithmic: true, from: LEFT, to: WIDTH - RIGHT };
    let worst = points.iter().map(|p| p.slowdown.p90.max(p.slowdown.median)).fold(1.0, f64::max);
    let best = points.iter().map(|p| p.slowdown.p10).fold(1.0, f64::min);
    let logarithmic = worst / best > 3.0;
    let margin = if logarithmic { worst * 0.1 } else { ((worst - best) * 0.05).max(0.005) };
    let y = Scale { least: best, most: worst + margin, logarithmic, from: HEIGHT - BOTTOM, to: TOP };
    (x, y)
}

fn axes(out: &mut String, x: &Scale, y: &Scale) {
    let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
    for tick in x.ticks() {
        let at = x.place(tick);
        put(out, format_args!("<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#dddddd\"/>"));
        put(out, format_args!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>", bottom + 18.0));
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        put(out, format_args!("<path d=\"M{left} {at:.1}H{right}\" stroke=\"#dddddd\"/>"));
        put(
            out,
            format_args!(
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 8.0,
                at + 4.0,
                number(tick)
            ),
        );
    }
    put(out, format_args!("<path d=\"M{left} {top}V{bottom}H{right}\" fill=\"none\" stroke=\"#444444\"/>"));
    let middle = f64::midpoint(left, right);
    put(out, format_args!("<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">ranks</text>", HEIGHT - 18.0));
    let middle = f64::midpoint(top, bottom);
    put(
        out,
        format_args!(
            "<text transform=\"translate(18 {middle}) rotate(-90)\" text-anchor=\"middle\">slowdown (median; bars: p10 to p90)</text>"
        ),
    );
}

fn line(out: &mut String, series: &Series, x: &Scale, y: &Scale) {
    let (colour, dash) = (series.colour, series.dash);
    let at = |point: &Point, value: f64| (x.place(point.ranks as f64), y.place(value));
    let places: Vec<String> = series
        .points
        .iter()
        .map(|point| at(point, point.slowdown.median))
        .map(|(x, y)| format!("{x:.1},{y:.1}"))
        .collect();
    put(
        out,
        format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>",
            places.join(" ")
        ),
    );
    for point in &series.points {
        let slowdown = point.slowdown;
        let ((x, middle), (_, low), (_, high)) =
            (at(point, slowdown.median), at(point, slowdown.p10), at(point, slowdown.p90));
        put(out, format_args!("<path d=\"M{x:.1} {low:.1}V{high:.1}\" stroke=\"{colour}\" stroke-opacity=\"0.5\"/>"));
        put(
            out,
            format_args!(
                "<circle cx=\"{x:.1}\" cy=\"{middle:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{}, {} ranks: {:.3} ({:.3} to {:.3})</title></circle>",
                escape(&series.label),
                point.ranks,
                slowdown.median,
                slowdown.p10,
                slowdown.p90
            ),
        );
    }
}

fn legend(out: &mut String, series: &Series, y: f64) {
    let x = WIDTH - RIGHT + 20.0;
    put(
        out,
        format_args!(
            "<path d=\"M{x} {y}h34\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>",
            series.colour, series.dash
        ),
    );
    put(out, format_args!("<text x=\"{}\" y=\"{}\">{}</text>", x + 42.0, y + 4.0, escape(&series.label)));
}

/// A line of the document. Writing to a string does not fail.
fn put(out: &mut String, line: std::fmt::Arguments) {
    let _ = out.write_fmt(line);
    out.push('\n');
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].iter().map(|step| step * power).find(|&step| step >= least).unwrap_or(10.0 * power)
}

/// Without the dust of binary fractions.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
#[path = "plot_tests.rs"]
mod tests;
