//! The drawings: bars of accuracy with intervals, confusion matrices. SVG that takes its colours from the page, so that
//! it follows light and dark.

use super::super::measure::Confusion;
use super::super::table::{ArmKind, ArmResult};
use super::Escaped;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Stand-ins that [`finish`] hands over to the style sheet; a viewer without one shows the colour named second.
const INK: RGBColor = RGBColor(1, 2, 3);
const SEARCH: (RGBColor, &str, &str) = (RGBColor(1, 2, 4), "#2A78D6", "search");
const CLASSIFIER: (RGBColor, &str, &str) = (RGBColor(1, 2, 5), "#C9741F", "classifier");

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

fn colour(kind: ArmKind) -> RGBColor {
    match kind {
        ArmKind::Search => SEARCH.0,
        ArmKind::Classifier => CLASSIFIER.0,
    }
}

/// Draws, gives the drawing a name for those who cannot see it, and hands its colours to the style sheet.
fn drawing(width: i32, height: i32, label: &str, draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width as u32, height as u32)).into_drawing_area();
        // drawing into memory fails only by running out of it
        let _ = draw(&area).and_then(|()| area.present());
    }
    finish(svg, label)
}

fn finish(mut svg: String, label: &str) -> String {
    for (stand_in, colour, class) in [SEARCH, CLASSIFIER] {
        let RGBColor(r, g, b) = stand_in;
        svg = svg.replace(&format!("fill=\"#{r:02X}{g:02X}{b:02X}\""), &format!("fill=\"{colour}\" class=\"{class}\""));
    }
    let RGBColor(r, g, b) = INK;
    svg.replace(&format!("#{r:02X}{g:02X}{b:02X}"), "currentColor")
        // inside a page neither the name space nor a font of its own is needed
        .replace(" xmlns=\"http://www.w3.org/2000/svg\"", "")
        .replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{}\" ", Escaped(label)), 1)
}

fn text(size: i32, opacity: f64, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK.mix(opacity)).pos(Pos::new(horizontal, vertical))
}

fn write(area: &Area<'_>, words: &str, at: (i32, i32), style: TextStyle<'static>) -> Drawn {
    area.draw(&Text::new(words.to_owned(), at, style))
}

/// Horizontal bars of top-1 accuracy, one an arm, with their 95 % intervals and top-3 as a tick.
pub(super) fn accuracy(arms: &[ArmResult]) -> String {
    const LEFT: i32 = 130;
    const WIDTH: i32 = 560;
    const ROW: i32 = 30;
    const TOP: i32 = 8;
    let x = |fraction: f64| LEFT + (fraction * f64::from(WIDTH)).round() as i32;
    let bottom = TOP + ROW * arms.len() as i32;
    let label = "top-1 accuracy of each arm with its 95 % interval; the values are in the table below";
    drawing(LEFT + WIDTH + 70, bottom + 34, label, |area| {
        for tick in 0..=5 {
            let (at, fraction) = (x(f64::from(tick) / 5.0), f64::from(tick) / 5.0);
            area.draw(&PathElement::new(vec![(at, TOP), (at, bottom)], INK.mix(0.15)))?;
            write(area, &format!("{fraction:.1}"), (at, bottom + 8), text(14, 0.7, HPos::Center, VPos::Top))?;
        }
        for (row, arm) in arms.iter().enumerate() {
            let (top, measures) = (TOP + ROW * row as i32, &arm.measures);
            let middle = top + ROW / 2;
            write(area, &arm.arm, (LEFT - 8, middle), text(16, 1.0, HPos::Right, VPos::Center))?;
            let bar = [(x(0.0), top + 6), (x(measures.top1), top + ROW - 6)];
            area.draw(&Rectangle::new(bar, colour(arm.kind).filled()))?;
            let (low, high) = (x(measures.top1_low), x(measures.top1_high));
            for line in [
                [(low, middle), (high, middle)],
                [(low, middle - 4), (low, middle + 4)],
                [(high, middle - 4), (high, middle + 4)],
            ] {
                area.draw(&PathElement::new(line.to_vec(), INK.stroke_width(2)))?;
            }
            let third = x(measures.top3);
            area.draw(&PathElement::new(
                vec![(third, top + 6), (third, top + ROW - 6)],
                INK.mix(0.45).stroke_width(2),
            ))?;
            let value = format!("{:.3}", measures.top1);
            write(area, &value, (LEFT + WIDTH + 14, middle), text(16, 1.0, HPos::Left, VPos::Center))?;
        }
        Ok(())
    })
}

/// A matrix of true class (down) by answered class (across); the darker, the more of the true class's queries.
pub(super) fn confusion(confusion: &Confusion, classes: &[String], arm: &ArmResult) -> String {
    let count = classes.len() as i32;
    let cell = (560 / count.max(1)).clamp(9, 34);
    let letter = cell.clamp(11, 16);
    let longest = classes.iter().map(|class| class.chars().count()).max().unwrap_or(0) as i32;
    let margin = (longest * letter / 2 + 14).min(190);
    let side = margin + cell * count + 2;
    let label = format!("confusion matrix of {}; its largest confusions are listed beside it", arm.arm);
    drawing(side, side, &label, |area| {
        for (number, class) in classes.iter().enumerate() {
            let middle = margin + cell * number as i32 + cell / 2;
            write(area, class, (margin - 6, middle), text(letter, 0.9, HPos::Right, VPos::Center))?;
            let upward = ("sans-serif", letter).into_font().transform(FontTransform::Rotate270).color(&INK.mix(0.9));
            write(area, class, (middle, margin - 6), upward.pos(Pos::new(HPos::Left, VPos::Center)))?;
        }
        for truth in 0..classes.len() {
            let queries = confusion.queries(truth).max(1) as f64;
            for answer in 0..classes.len() {
                let (left, top) = (margin + cell * answer as i32, margin + cell * truth as i32);
                let (times, corner) = (confusion.count(truth, answer), (left + cell - 1, top + cell - 1));
                let strength = if times == 0 { 0.05 } else { 0.12 + 0.73 * times as f64 / queries };
                area.draw(&Rectangle::new([(left, top), corner], colour(arm.kind).mix(strength).filled()))?;
                if times > 0 && cell >= 20 {
                    let at = (left + cell / 2, top + cell / 2);
                    write(area, &times.to_string(), at, text(14, 1.0, HPos::Center, VPos::Center))?;
                }
            }
        }
        let frame = [(margin - 1, margin - 1), (margin + cell * count, margin + cell * count)];
        area.draw(&Rectangle::new(frame, INK.mix(0.3)))
    })
}
