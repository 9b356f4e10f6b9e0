//! Recall against queries a second, as an SVG.

use super::report::{Asked, Report, Setting};
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 480);
const EXACT: RGBColor = RGBColor(90, 90, 90);
/// One for each way, in order.
const COLOURS: [RGBColor; 3] = [RGBColor(0x2A, 0x78, 0xD6), RGBColor(0xC9, 0x74, 0x1F), RGBColor(0x2E, 0x8B, 0x57)];

type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A mark of an answer to a recall asked for.
fn triangle<C>(at: C, colour: RGBColor) -> TriangleMarker<C, i32> {
    TriangleMarker::new(at, 7, colour.mix(0.6).filled())
}

/// Draws each way as a line through its settings; triangles are what came of asking for a recall.
pub(super) fn draw(report: &Report) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        // Drawing into memory fails only by running out of it.
        let _ = draw_on(&area, report).and_then(|()| area.present());
    }
    svg
}

fn draw_on(area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>, report: &Report) -> Drawn {
    let points = |settings: &[Setting]| -> Vec<(f64, f64)> {
        settings.iter().map(|setting| (setting.recall, setting.speed.queries_per_second)).collect()
    };
    let asked = |asked: &[Asked]| -> Vec<(f64, f64)> {
        asked.iter().map(|asked| (asked.recall, asked.speed.queries_per_second)).collect()
    };
    let exact = (1.0, report.exact.queries_per_second);
    let all = || report.ways.iter().flat_map(|way| [points(&way.settings), asked(&way.asked)].concat()).chain([exact]);
    let least = all().map(|(recall, _)| recall).fold(0.95, f64::min);
    let (low, high) = all().fold((f64::MAX, f64::MIN), |(low, high), (_, rate)| (low.min(rate), high.max(rate)));

    area.fill(&WHITE)?;
    let title = format!("{}: {} records, dim {}, top {}", report.input, report.records, report.dim, report.k);
    let recalls = (least * 20.0).floor() / 20.0..1.005;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(recalls, (low / 1.5..high * 1.5).log_scale())?;
    chart
        .configure_mesh()
        .max_light_lines(0)
        .bold_line_style(BLACK.mix(0.12))
        .y_labels(8)
        .x_label_formatter(&|recall| format!("{recall:.2}"))
        .y_label_formatter(&|rate| if *rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") })
        .x_desc(format!("recall@{}", report.k))
        .y_desc("queries a second, one thread")
        .label_style(("sans-serif", 15))
        .draw()?;
    let key = |colour: RGBColor| move |(x, y)| Circle::new((x + 8, y), 4, colour.filled());
    let dot = |point, colour: RGBColor| Circle::new(point, 4, colour.filled());
    chart.draw_series([dot(exact, EXACT)])?.label("exact").legend(key(EXACT));
    for (way, colour) in report.ways.iter().zip(COLOURS.into_iter().cycle()) {
        let settings = points(&way.settings);
        chart.draw_series(LineSeries::new(settings.clone(), colour.stroke_width(2)))?;
        chart.draw_series(settings.into_iter().map(|point| dot(point, colour)))?.label(&way.way).legend(key(colour));
        chart.draw_series(asked(&way.asked).into_iter().map(|point| triangle(point, colour)))?;
    }
    if !report.ways.is_empty() {
        let none: [(f64, f64); 0] = [];
        let key = |(x, y)| triangle((x + 8, y), EXACT);
        chart.draw_series(none.map(|point| triangle(point, EXACT)))?.label("asked for a recall").legend(key);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .label_font(("sans-serif", 15))
        .background_style(WHITE)
        .border_style(BLACK.mix(0.2))
        .draw()
}
