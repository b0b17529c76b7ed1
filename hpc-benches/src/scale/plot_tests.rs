//! Plots of synthetic results.

use super::super::collective::Collective;
use super::super::network::Network;
use super::super::result::{SCALE_SCHEMA, Slowdown, TraceRecord};
use super::super::trace::Trace;
use super::super::{html, plot};
use super::*;

fn scaled(slowdowns: &[(usize, f64, usize, f64)]) -> Scaled {
    let trace = |side: &str| Trace {
        file: "t.json".to_owned(),
        side: side.to_owned(),
        core: 1,
        seconds: 1.0,
        threshold_ns: 500.0,
        detours: vec![[0.0, 1000.0]],
    };
    let point = |&(trace, granularity_ns, ranks, median): &(usize, f64, usize, f64)| Point {
        trace,
        granularity_ns,
        ranks,
        ideal_ns: granularity_ns,
        slowdown: Slowdown { mean: median, median, p10: median, p90: median * 1.1, max: median * 2.0 },
        iterations: 100,
        whole_trace: ranks > 1000,
    };
    Scaled {
        schema: SCALE_SCHEMA,
        date: "2026-01-02T03:04:05Z".to_owned(),
        version: "0",
        command_line: vec!["tacet-bench".to_owned(), "<script>".to_owned()],
        collective: Collective::Barrier,
        bytes: 1,
        network: Network::FREE,
        iterations: 1,
        precision_percent: 2.0,
        seed: 1,
        traces: TraceRecord::of(&[trace("native"), trace("a<b")]),
        points: slowdowns.iter().map(point).collect(),
    }
}

const FOUR: [(usize, f64, usize, f64); 6] = [
    (0, 1e5, 100, 1.0),
    (0, 1e5, 1_000_000, 8.0),
    (0, 1e6, 100, 1.0),
    (0, 1e6, 1_000_000, 2.0),
    (1, 1e5, 100, 1.0),
    (1, 1e5, 1_000_000, 1.0),
];

#[test]
fn one_line_per_trace_and_granularity() {
    let svg = plot::svg(&scaled(&FOUR));
    assert_eq!(svg.matches("<polyline").count(), 3);
    assert_eq!(svg.matches("<circle").count(), 6);
    for label in ["native core 1, 100 µs</text>", "native core 1, 1 ms</text>", "a&lt;b core 1, 100 µs</text>"] {
        assert!(svg.contains(label), "{label}");
    }
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn lines_rise_with_the_slowdown_and_stay_within_the_axes() {
    let all = scaled(&FOUR);
    let (x, y) = scales(&all.points);
    assert!(y.logarithmic);
    assert_eq!((x.place(100.0), x.place(1e6)), (LEFT, WIDTH - RIGHT));
    assert_eq!(x.place(1e4), f64::midpoint(LEFT, WIDTH - RIGHT));
    assert_eq!(y.place(1.0), HEIGHT - BOTTOM);
    assert!(y.place(8.0) < y.place(2.0) && y.place(8.8) > TOP);
}

#[test]
fn a_single_point_and_a_flat_line_can_be_drawn() {
    for points in [&FOUR[..1], &FOUR[4..]] {
        let svg = plot::svg(&scaled(points));
        assert!(svg.contains("<circle") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

#[test]
fn ticks_are_round() {
    let scale = |least, most, logarithmic| Scale { least, most, logarithmic, from: 0.0, to: 1.0 };
    assert_eq!(scale(100.0, 1e6, true).ticks(), [1e2, 1e3, 1e4, 1e5, 1e6]);
    assert_eq!(scale(1.0, 8.0, true).ticks(), [1.0, 2.0, 5.0]);
    let labels = |scale: Scale| scale.ticks().into_iter().map(number).collect::<Vec<_>>();
    assert_eq!(labels(scale(1.0, 1.1, false)), ["1", "1.02", "1.04", "1.06", "1.08", "1.1"]);
}

#[test]
fn the_page_has_everything_in_it() {
    let page = html::page(&scaled(&FOUR));
    assert!(page.contains("<svg") && page.contains("1000000*"));
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
    // Nothing is fetched: the only address is the name of SVG's namespace.
    assert_eq!(page.matches("http").count(), 1);
    assert!(!page.contains("src=") && !page.contains("href="));
    // A header and a row per point.
    assert_eq!(page.matches("<tr>").count(), 7);
}
