//! The frame around the marks of a plot: axes, grid, names. SVG 1.1 elements inside HTML; colours and
//! fonts come from the style sheet, so that both schemes and print use the same drawing.

use maud::{Markup, html};

use super::scale::Axis;

/// A plot without its marks.
pub struct Chart<'a> {
    /// Size in units of the drawing, about pixels.
    pub width: f64,
    /// Size in units of the drawing.
    pub height: f64,
    /// What it shows, for those who can't see it.
    pub description: &'a str,
    /// The axis along.
    pub x: &'a Axis,
    /// The axis up.
    pub y: &'a Axis,
    /// What is along.
    pub x_title: &'a str,
    /// What is up.
    pub y_title: &'a str,
    /// How many values are drawn.
    pub points: usize,
}

/// Room for names around the area of the marks.
pub const LEFT: f64 = 62.0;
/// The same on the right.
pub const RIGHT: f64 = 18.0;
/// The same above.
pub const TOP: f64 = 26.0;
/// The same below.
pub const BOTTOM: f64 = 40.0;

impl Chart<'_> {
    /// The whole drawing with `marks` in it.
    pub fn draw(&self, marks: &Markup) -> Markup {
        let (left, right) = self.x.ends();
        let (bottom, top) = self.y.ends();
        html! {
            svg class="plot" role="img" aria-label=(self.description) data-points=(self.points)
                viewBox={ "0 0 " (px(self.width)) " " (px(self.height)) } {
                g class="grid" {
                    @for tick in self.y.ticks() {
                        line x1=(px(left)) x2=(px(right)) y1=(px(self.y.at(tick))) y2=(px(self.y.at(tick))) {}
                    }
                    @for tick in self.x.ticks() {
                        line x1=(px(self.x.at(tick))) x2=(px(self.x.at(tick))) y1=(px(top)) y2=(px(bottom)) {}
                    }
                }
                line class="axis" x1=(px(left)) x2=(px(right)) y1=(px(bottom)) y2=(px(bottom)) {}
                g class="ticks y" {
                    @for tick in self.y.ticks() {
                        text x=(px(left - 7.0)) y=(px(self.y.at(tick) + 4.0)) { (self.y.quantity().name(tick)) }
                    }
                }
                g class="ticks x" {
                    @for tick in self.x.ticks() {
                        text x=(px(self.x.at(tick))) y=(px(bottom + 16.0)) { (self.x.quantity().name(tick)) }
                    }
                }
                text class="title x" x=(px(right)) y=(px(bottom + 33.0)) { (self.x_title) }
                text class="title y" x="2" y="13" { (self.y_title) }
                g class="marks" { (marks) }
            }
        }
    }
}

/// A length in the drawing: a tenth is finer than any screen.
pub fn px(value: f64) -> String {
    // Adding zero turns the negative zero into the usual one.
    let rounded = (value * 10.0).round() / 10.0 + 0.0;
    rounded.to_string()
}

/// The class that gives a side its colour, the same in all plots, and the shape of its marks.
pub fn side_class(side: &str) -> &'static str {
    match side {
        "native" => "s0",
        "native-tuned" => "s1",
        "process" => "s2",
        "kvm" => "s3",
        "partition" => "s4",
        _ => "s5",
    }
}

/// A mark of its side at a place: sides differ by shape, too, for print and for eyes that don't tell
/// colours apart. `note` shows when pointed at.
pub fn mark(side: &str, x: f64, y: f64, size: f64, note: &str) -> Markup {
    html! {
        path class={ "mark " (side_class(side)) } d=(shape(side, x, y, size)) {
            title { (note) }
        }
    }
}

/// The outline of a side's mark around a place.
fn shape(side: &str, x: f64, y: f64, size: f64) -> String {
    let (x0, x1, y0, y1) = (px(x - size), px(x + size), px(y - size), px(y + size));
    let (x, y, r) = (px(x), px(y), px(size));
    match side_class(side) {
        "s0" => format!("M{x0} {y}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0z", d = px(2.0 * size)),
        "s1" => format!("M{x0} {y1}L{x1} {y1}L{x} {y0}z"),
        "s2" => format!("M{x} {y0}L{x1} {y}L{x} {y1}L{x0} {y}z"),
        "s3" => format!("M{x0} {y0}L{x1} {y0}L{x} {y1}z"),
        "s4" => format!("M{x0} {y0}L{x1} {y0}L{x1} {y1}L{x0} {y1}z"),
        _ => format!("M{x0} {y0}L{x1} {y1}M{x0} {y1}L{x1} {y0}"),
    }
}

/// A line of its side through places.
pub fn line(side: &str, places: &[(f64, f64)]) -> Markup {
    let words: Vec<String> = places.iter().map(|(x, y)| format!("{},{}", px(*x), px(*y))).collect();
    html! { polyline class={ "line " (side_class(side)) } points=(words.join(" ")) {} }
}

/// Which mark is which side.
pub fn legend(sides: &[&str]) -> Markup {
    html! {
        p class="legend" {
            @for side in sides {
                span {
                    svg viewBox="0 0 14 14" aria-hidden="true" {
                        path class={ "mark " (side_class(side)) } d=(shape(side, 7.0, 7.0, 5.0)) {}
                    }
                    (side)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::html::scale::{Kind, Quantity};

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let x = Axis::between(0.0, 1.0, Kind::Linear, Quantity::Number("<&".to_owned()), 0.0, 9.0);
        let chart = Chart {
            width: 9.0,
            height: 9.0,
            description: "\"><script>",
            x: &x,
            y: &x,
            x_title: "<b>",
            y_title: "</svg>",
            points: 1,
        };
        let text = chart.draw(&mark("</path>", 1.0, 1.0, 1.0, "<i>")).into_string();
        for broken in ["<script", "<b>", "<i>", "\"\">", "0 <&"] {
            assert!(!text.contains(broken), "{broken}: {text}");
        }
        assert!(text.contains("&lt;b&gt;") && text.contains("&quot;&gt;&lt;script&gt;"), "{text}");
        assert_eq!(text.matches("</svg>").count(), 1);
    }

    #[test]
    fn lengths_have_a_tenth() {
        assert_eq!((px(1.26), px(3.0), px(-0.04)), ("1.3".to_owned(), "3".to_owned(), "0".to_owned()));
    }
}
