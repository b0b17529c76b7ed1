//! The overview of a suite: the ratio of each side to native with the range of its pairs, before the
//! band within which native differs from itself.

use maud::{Markup, html};

use super::chart::{Chart, legend, mark, px, side_class};
use super::figure;
use super::scale::{Axis, Kind, Quantity};
use crate::compare::NATIVE;
use crate::compare::result::{MeasureComparison, SideValues, SuiteComparison};
use crate::output::{format, table};
use crate::stats::summary::median;

const WIDTH: f64 = 1080.0;
const ROW: f64 = 24.0;
const LEFT: f64 = 236.0;
const RIGHT: f64 = 250.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 44.0;

/// Ratios beyond these are drawn at the end of the axis, which is said; the column beside it has their value.
const SMALLEST: f64 = 0.001;
const LARGEST: f64 = 1000.0;

/// A side's ratio on one measure.
struct Row<'a> {
    measure: &'a str,
    side: &'a str,
    ratio: f64,
    low: f64,
    high: f64,
    band: f64,
    conclusion: &'static str,
}

/// The overview; none when nothing was compared.
pub fn plot(suite: &SuiteComparison) -> Option<Markup> {
    let rows: Vec<Row> = suite.measures.iter().flat_map(rows_of).collect();
    if rows.is_empty() {
        return None;
    }
    let bottom = TOP + ROW * rows.len() as f64;
    // A band may be wider than all that is compared, and is cut off.
    let bounds = rows.iter().flat_map(|row| [row.low, row.high, row.ratio]);
    let bounds = bounds.chain([0.66, 1.5]).map(|ratio| ratio.clamp(SMALLEST, LARGEST));
    let x = Axis::around(bounds, Kind::Log, Quantity::Number(String::new()), LEFT, WIDTH - RIGHT)?;
    let y = Axis::between(0.0, rows.len() as f64, Kind::Linear, Quantity::Number(String::new()), TOP, bottom);
    let marks = html! {
        line class="one" x1=(px(x.at(1.0))) x2=(px(x.at(1.0))) y1=(px(TOP)) y2=(px(bottom)) {}
        @for (index, row) in rows.iter().enumerate() {
            @let is_first = index == 0 || rows[index - 1].measure != row.measure;
            (draw_row(row, is_first, y.at(index as f64 + 0.5), &x))
        }
    };
    let chart = Chart {
        width: WIDTH,
        height: bottom + BOTTOM,
        description: &format!("Ratio to native of {} values of suite {}", rows.len(), suite.suite),
        x: &x,
        y: &Axis::between(0.0, 1.0, Kind::Linear, Quantity::Number(String::new()), bottom, TOP).without_ticks(),
        x_title: "side / native, logarithmic",
        y_title: "",
        points: rows.len(),
    };
    let mut sides: Vec<&str> = Vec::new();
    for row in &rows {
        if !sides.contains(&row.side) {
            sides.push(row.side);
        }
    }
    let caption = "The mark is the median ratio of the pairs, the line its smallest and largest pair. The grey band \
                   is the control: as far apart are native runs among themselves. A mark inside it shows nothing. A \
                   ratio beyond 1000, or below a thousandth, is drawn at the end of the axis.";
    Some(figure("Ratio to native", caption, &legend(&sides), &chart.draw(&marks)))
}

fn rows_of(measure: &MeasureComparison) -> Vec<Row<'_>> {
    let native = measure.sides.iter().find(|side| side.side == NATIVE).and_then(|side| side.values.as_ref());
    match native {
        Some(native) => measure.sides.iter().filter_map(|side| row_of(measure, side, &native.runs)).collect(),
        None => Vec::new(),
    }
}

/// None where there is nothing to divide by.
fn row_of<'a>(measure: &'a MeasureComparison, side: &'a SideValues, native: &[f64]) -> Option<Row<'a>> {
    let effect = side.effect?;
    let middle = median(native.to_vec()).filter(|middle| *middle != 0.0)?;
    let runs = &side.values.as_ref()?.runs;
    let pairs = || native.iter().zip(runs).filter(|(native, _)| **native != 0.0).map(|(native, side)| side / native);
    Some(Row {
        measure: &measure.name,
        side: &side.side,
        ratio: effect.ratio?,
        low: pairs().reduce(f64::min)?,
        high: pairs().reduce(f64::max)?,
        band: effect.control_band / middle.abs(),
        conclusion: table::conclusion(effect.verdict),
    })
}

fn draw_row(row: &Row, is_first: bool, y: f64, x: &Axis) -> Markup {
    let (band_from, band_to) = (x.at(1.0 - row.band), x.at(1.0 + row.band));
    html! {
        @if is_first { text class="name" x="2" y=(px(y + 4.0)) { (row.measure) } }
        text class="side" x=(px(LEFT - 10.0)) y=(px(y + 4.0)) { (row.side) }
        rect class="band" x=(px(band_from)) y=(px(y - ROW * 0.42)) width=(px((band_to - band_from).max(1.0)))
            height=(px(ROW * 0.84)) {}
        line class={ "whisker " (side_class(row.side)) } x1=(px(x.at(row.low))) x2=(px(x.at(row.high)))
            y1=(px(y)) y2=(px(y)) {}
        (mark(row.side, x.at(row.ratio), y, 5.0,
            &format!("{}: {} is {} × native", row.measure, row.side, format::ratio(Some(row.ratio)))))
        text class="value" x=(px(WIDTH - RIGHT + 50.0)) y=(px(y + 4.0)) { (format::ratio(Some(row.ratio))) }
        text class="note" x=(px(WIDTH - RIGHT + 62.0)) y=(px(y + 4.0)) { (row.conclusion) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::specimen;

    #[test]
    fn a_row_has_the_range_of_its_pairs_and_the_band_of_the_control() {
        let comparison = specimen::noise();
        let rows = rows_of(&comparison.suites[0].measures[0]);
        assert_eq!(rows.len(), 1, "native is what the others are compared with");
        let row = &rows[0];
        assert_eq!((row.side, row.ratio), ("process", 0.5));
        assert!((row.low - 125.0 / 251.0).abs() < 1e-12 && (row.high - 125.0 / 249.0).abs() < 1e-12);
        assert_eq!(row.band, 2.0 / 250.0);
        assert_eq!(row.conclusion, "better");
    }

    #[test]
    fn what_native_lacks_has_no_ratio() {
        assert!(plot(&specimen::with_missing("none").suites[0]).is_none());
    }
}
