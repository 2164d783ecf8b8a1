//! Pictures as SVG, by hand: bars with their ranges.

use std::fmt::Write as _;

use crate::statistics::Spread;

const WIDTH: f64 = 760.0;
const INK: &str = "#24292f";
const OURS: &str = "#0969da";

/// A bar.
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) value: Spread,
    /// Whether it is the product's.
    pub(crate) is_ours: bool,
}

fn begin(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"{INK}\">\n\
         <title>{title}</title>\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"16\" font-weight=\"600\">{title}</text>\n"
    )
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = escaped(words);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, rest: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"{rest}/>",
        from.0, from.1, to.0, to.1
    );
}

/// Bars of medians, each with its range, and a line at an aim.
pub(crate) fn bars(title: &str, bars: &[Bar], aim: Option<f64>, shown: impl Fn(f64) -> String) -> String {
    const LEFT: f64 = 270.0;
    const RIGHT: f64 = 90.0;
    const ROW: f64 = 30.0;
    let height = 60.0 + ROW * bars.len() as f64;
    let most = bars.iter().map(|bar| bar.value.most).chain(aim).fold(0.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / if most > 0.0 { most } else { 1.0 };
    let mut svg = begin(title, height);
    for (place, bar) in bars.iter().enumerate() {
        let (top, value) = (44.0 + ROW * place as f64, bar.value);
        let middle = top + ROW / 2.0 - 4.0;
        let colour = if bar.is_ours { OURS } else { "#8c959f" };
        text(&mut svg, LEFT - 10.0, middle + 4.0, "end", &bar.label);
        let _ = writeln!(
            svg,
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"18\" rx=\"2\" fill=\"{colour}\"/>",
            middle - 9.0,
            (value.median * scale).max(1.0)
        );
        let at = |value: f64| LEFT + value * scale;
        line(&mut svg, (at(value.least), middle), (at(value.most), middle), INK, " stroke-width=\"1.5\"");
        for end in [value.least, value.most] {
            line(&mut svg, (at(end), middle - 4.0), (at(end), middle + 4.0), INK, " stroke-width=\"1.5\"");
        }
        text(&mut svg, at(value.most.max(value.median)) + 8.0, middle + 4.0, "start", &shown(value.median));
    }
    if let Some(aim) = aim {
        let x = LEFT + aim * scale;
        line(&mut svg, (x, 40.0), (x, height - 14.0), "#cf222e", " stroke-dasharray=\"4 3\"");
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#cf222e\">aim {}</text>",
            height - 3.0,
            shown(aim)
        );
    }
    svg + "</svg>\n"
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_letter_is_escaped() {
        let bar = Bar { label: "a < b".into(), value: Spread::of([1.0]), is_ours: true };
        assert!(bars("this & that", &[bar], None, |value| value.to_string()).contains("a &lt; b"));
    }
}
