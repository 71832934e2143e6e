//! Drawing: one graph for each run, one under the other, with one scale of time.

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::trace::Run;

/// Width of the picture, and height of a row, in pixels.
const WIDTH: u32 = 1_200;
const ROW: u32 = 15;
/// Pixels of a graph besides its rows: the title, and the scale of time.
const FRAME: u32 = 76;
/// Colours for packets that follow each other; neighbours differ also in brightness.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x2c, 0x66, 0x2c),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x6a, 0x3d, 0x9a),
    RGBColor(0x8c, 0x8c, 0x00),
];
/// What is nobody's: polls.
const NOBODYS: RGBColor = RGBColor(0xbb, 0xbb, 0xbb);

/// The picture of a part of all runs, as SVG.
///
/// # Errors
/// A sentence: what cannot be drawn.
pub(crate) fn picture(runs: &[Run], from: f64, length: f64) -> Result<String, String> {
    let rows: Vec<Vec<usize>> = runs.iter().map(|run| used(run, from, length)).collect();
    let heights: Vec<u32> = rows.iter().map(|rows| height(rows.len())).collect();
    let mut text = String::new();
    {
        let size = (WIDTH, heights.iter().sum());
        let mut rest = SVGBackend::with_string(&mut text, size).into_drawing_area();
        let drawn = rest.fill(&WHITE).and_then(|()| {
            for ((run, rows), height) in runs.iter().zip(&rows).zip(&heights) {
                let (upper, lower) = rest.split_vertically(*height);
                graph(&upper, run, rows, (from, from + length))?;
                rest = lower;
            }
            Ok(())
        });
        drawn.map_err(|error| format!("cannot draw: {error}"))?;
    }
    Ok(text)
}

fn height(rows: usize) -> u32 {
    FRAME + ROW * u32::try_from(rows.max(1)).unwrap_or(1)
}

/// The kinds that occur, in their order: the rows.
fn used(run: &Run, from: f64, length: f64) -> Vec<usize> {
    let inside = |start: f64, took: f64| start < from + length && start + took > from;
    let occurs =
        |kind: &usize| run.events.iter().any(|event| event.2 == *kind && inside(event.0, event.1));
    (0..run.kinds.len()).filter(occurs).collect()
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn graph<'a>(
    area: &DrawingArea<SVGBackend<'a>, Shift>,
    run: &Run,
    rows: &[usize],
    (from, to): (f64, f64),
) -> Drawn<'a> {
    let count = rows.len().max(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(&run.title, ("sans-serif", 18))
        .margin_right(20)
        .x_label_area_size(36)
        .y_label_area_size(140)
        .build_cartesian_2d(from..to, count..0.0)?;
    let name = |row: &f64| {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number of a few rows")]
        let at = (row.floor() >= 0.0 && row.fract() < 0.01).then_some(*row as usize);
        at.and_then(|at| rows.get(at)).map_or_else(String::new, |kind| run.kinds[*kind].clone())
    };
    chart
        .configure_mesh()
        .x_desc("time, us")
        .x_labels(21)
        .y_labels(rows.len() + 1)
        .y_label_offset(i32::try_from(ROW / 2).unwrap_or(0))
        .y_label_formatter(&name)
        .light_line_style(WHITE)
        .draw()?;
    let boxes = run.events.iter().filter_map(|(start, took, kind, message)| {
        let row = rows.iter().position(|row| row == kind)? as f64;
        let (left, right) = (start.max(from), (start + took).min(to));
        let place = [(left, row + 0.1), (right, row + 0.9)];
        (left < right).then(|| Rectangle::new(place, colour(*message).filled()))
    });
    chart.draw_series(boxes)?;
    Ok(())
}

fn colour(message: u64) -> RGBColor {
    let place = message.checked_sub(1).and_then(|n| usize::try_from(n).ok());
    place.map_or(NOBODYS, |n| COLOURS[n % COLOURS.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_inside_are_drawn_and_rows_without_any_are_left_out() {
        let run = Run {
            title: "a run".to_owned(),
            kinds: ["first", "second", "later"].map(str::to_owned).to_vec(),
            events: vec![(1.0, 2.0, 0, 1), (3.0, 8.6, 1, 0), (300.0, 1.0, 2, 1)],
        };
        let svg = picture(&[run], 0.0, 200.0).unwrap();
        for text in ["a run", "first", "second", "time, us"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("later"));
        assert!(svg.contains("#1F77B4") && svg.contains("#BBBBBB"), "a packet and a poll");
    }
}
