//! Pictures as SVG, by hand: bars with their ranges, and lines over powers of ten.

use std::fmt::Write as _;

use crate::statistics::Spread;

const WIDTH: f64 = 760.0;
const INK: &str = "#24292f";
const FAINT: &str = "#d0d7de";
const COLOURS: [&str; 5] = ["#0969da", "#bf8700", "#1a7f37", "#8250df", "#57606a"];

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
        let colour = if bar.is_ours { COLOURS[0] } else { "#8c959f" };
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

/// A line with its points.
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, Spread)>,
}

/// Lines over an axis of powers of ten, from nothing upwards.
pub(crate) fn lines(title: &str, along: &str, lines: &[Line], shown: impl Fn(f64) -> String) -> String {
    const LEFT: f64 = 80.0;
    const RIGHT: f64 = 200.0;
    const TOP: f64 = 50.0;
    const BOTTOM: f64 = 320.0;
    let points = || lines.iter().flat_map(|line| &line.points);
    let first = points().map(|(x, _)| x.log10()).fold(f64::INFINITY, f64::min);
    let last = points().map(|(x, _)| x.log10()).fold(f64::NEG_INFINITY, f64::max);
    let most = points().map(|(_, y)| y.most).fold(0.0, f64::max) * 1.08;
    let span = if last > first { last - first } else { 1.0 };
    let x = |value: f64| LEFT + (value.log10() - first) / span * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| BOTTOM - value / if most > 0.0 { most } else { 1.0 } * (BOTTOM - TOP);
    let mut svg = begin(title, BOTTOM + 50.0);
    let step = step(most / 4.0);
    for value in (0..).map(|i| f64::from(i) * step).take_while(|value| *value <= most) {
        line(&mut svg, (LEFT, y(value)), (WIDTH - RIGHT, y(value)), FAINT, "");
        text(&mut svg, LEFT - 8.0, y(value) + 4.0, "end", &shown(value));
    }
    if first.is_finite() {
        for power in first.floor() as i32..=last.ceil() as i32 {
            let value = 10_f64.powi(power);
            if (first..=last).contains(&f64::from(power)) {
                text(&mut svg, x(value), BOTTOM + 18.0, "middle", &crate::statistics::whole(value));
            }
        }
    }
    text(&mut svg, f64::midpoint(LEFT, WIDTH - RIGHT), BOTTOM + 38.0, "middle", along);
    for (place, one) in lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let path: Vec<String> =
            one.points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(value.median))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (at, value) in &one.points {
            line(&mut svg, (x(*at), y(value.least)), (x(*at), y(value.most)), colour, "");
            let (cx, cy) = (x(*at), y(value.median));
            let _ = writeln!(svg, "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
        }
        let top = TOP + 6.0 + 22.0 * place as f64;
        line(
            &mut svg,
            (WIDTH - RIGHT + 16.0, top),
            (WIDTH - RIGHT + 36.0, top),
            colour,
            " stroke-width=\"3\"",
        );
        text(&mut svg, WIDTH - RIGHT + 42.0, top + 4.0, "start", &one.label);
    }
    svg + "</svg>\n"
}

/// The next of 1, 2 and 5 by a power of ten.
fn step(least: f64) -> f64 {
    if least <= 0.0 || !least.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|part| part * power).into_iter().find(|step| *step >= least).unwrap_or(power)
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!(
            [step(0.7), step(3.0), step(12.0), step(0.0)].map(|it| (it * 10.0).round()),
            [10.0, 50.0, 200.0, 10.0]
        );
    }

    #[test]
    fn what_is_no_letter_is_escaped() {
        let bar = Bar { label: "a < b".into(), value: Spread::of([1.0]), is_ours: true };
        assert!(bars("this & that", &[bar], None, |value| value.to_string()).contains("a &lt; b"));
    }
}
