//! A few queries with their hits: to hear, and to see which moments matched.

use super::super::table::{Comparison, Example, ExampleHit, Moment};
use super::{DataSet, Escaped, SOUND_BYTES, best};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use otolith::{Error, Result};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

/// Most examples of each kind, right and wrong, that are shown.
const EACH: usize = 4;
/// Most hits that are shown of an example: those that top-3 looks at.
const HITS: usize = 3;
/// Most moments that are drawn and listed of a hit.
const MOMENTS: usize = 4;

/// The examples of the best arm that has any, wrong ones first.
pub(super) fn section(comparison: &Comparison, set: &DataSet) -> Result<String> {
    let Some(arm) = best(comparison.arms.iter().filter(|arm| !arm.examples.is_empty())) else {
        return Ok(String::new());
    };
    let is_right =
        |example: &&Example| example.hits.first().is_some_and(|hit| same_class(set, example.query, hit.clip));
    let (right, wrong): (Vec<&Example>, Vec<&Example>) = arm.examples.iter().partition(is_right);
    let mut sounds = Sounds { left: SOUND_BYTES, seen: HashSet::new() };
    let mut html = format!(
        "<section>\n<h2>Queries and what was found</h2>\n<p>Some answers of {}, wrong ones first. Where the arm \
         compares moments, the \
         upper strip is the query and the lower one the hit: linked stretches matched, the stronger the more they add to the \
         score. Each clip has one player, where it is named first.</p>\n",
        Escaped(&arm.arm)
    );
    for example in wrong.into_iter().take(EACH).chain(right.into_iter().take(EACH)) {
        let query = &set.clips[example.query];
        let (name, class) = (Escaped(&query.name), Escaped(&set.classes[query.class]));
        let _ = write!(
            html,
            "<article>\n<h3>{class} <small>{name}</small></h3>\n{}<ol class=\"hits\">\n",
            sounds.player(&query.path)?
        );
        let length = example
            .hits
            .iter()
            .flat_map(|hit| &hit.moments)
            .fold(1.0, |most: f64, moment| most.max(moment.query.1).max(moment.record.1));
        for (rank, hit) in example.hits.iter().take(HITS).enumerate() {
            // the first hit explains the answer; the others would spend the page on sounds nobody asked for
            let player = if rank == 0 { sounds.player(&set.clips[hit.clip].path)? } else { String::new() };
            html.push_str(&hit_item(set, example.query, hit, length, &player));
        }
        html.push_str("</ol>\n</article>\n");
    }
    html.push_str("</section>\n");
    Ok(html)
}

fn same_class(set: &DataSet, one: usize, other: usize) -> bool {
    set.clips[one].class == set.clips[other].class
}

fn hit_item(set: &DataSet, query: usize, hit: &ExampleHit, length: f64, player: &str) -> String {
    let clip = &set.clips[hit.clip];
    let (class, mark) =
        if same_class(set, query, hit.clip) { ("right", "&#10003; right") } else { ("wrong", "&#10007; wrong") };
    let mut html = format!(
        "<li class=\"{class}\"><span class=\"mark\">{mark}</span> <strong>{}</strong> <small>{}</small> <span \
         class=\"score\">score \
         {:.3}</span>\n{player}",
        Escaped(&set.classes[clip.class]),
        Escaped(&clip.name),
        hit.score,
    );
    let moments = &hit.moments[..hit.moments.len().min(MOMENTS)];
    if !moments.is_empty() {
        let words = |Moment { query: (from, to), record: (start, end), share }: &Moment| {
            format!("{from:.1} to {to:.1} s in the query is {start:.1} to {end:.1} s ({:.0} %)", share * 100.0)
        };
        let listed: Vec<String> = moments.iter().map(words).collect();
        let _ = writeln!(html, "{}<p class=\"moments\">{}</p>", strips(moments, length), listed.join("; "));
    }
    html + "</li>\n"
}

/// Query above, hit below, a band between the stretches of each moment.
fn strips(moments: &[Moment], length: f64) -> String {
    let x = |seconds: f64| (seconds / length * 600.0).clamp(0.0, 600.0);
    let mut svg = String::from(
        "<svg class=\"strips\" viewBox=\"0 0 600 46\" aria-hidden=\"true\"><rect class=\"strip\" width=\"600\" \
                                height=\"10\"/><rect class=\"strip\" y=\"36\" width=\"600\" height=\"10\"/>",
    );
    let most = moments.iter().map(|moment| moment.share).fold(f64::MIN_POSITIVE, f64::max);
    for Moment { query, record, share } in moments {
        let ([a, b], [c, d]) = ([query.0, query.1].map(x), [record.0, record.1].map(x));
        let strength = 0.2 + 0.5 * (share / most).clamp(0.0, 1.0);
        let _ = write!(
            svg,
            "<path class=\"search\" opacity=\"{strength:.2}\" d=\"M{a:.1} 0H{b:.1}V10L{d:.1} 36V46H{c:.1}V36L{a:.1} \
             10Z\"/>"
        );
    }
    svg + "</svg>\n"
}

/// Sounds for the page, each embedded once, until their bytes are spent.
struct Sounds {
    left: u64,
    seen: HashSet<std::path::PathBuf>,
}

impl Sounds {
    fn player(&mut self, path: &Path) -> Result<String> {
        let Some(kind) = media_type(path) else { return Ok(String::new()) };
        if !self.seen.insert(path.to_path_buf()) {
            return Ok(String::new());
        }
        let bytes = std::fs::metadata(path).map_err(|source| Error::io(path, "look at", source))?.len();
        if bytes > self.left {
            return Ok("<p class=\"moments\">(this clip is left out to keep the page small)</p>\n".to_owned());
        }
        self.left -= bytes;
        let sound = std::fs::read(path).map_err(|source| Error::io(path, "read", source))?;
        Ok(format!("<audio controls src=\"data:{kind};base64,{}\"></audio>\n", BASE64_STANDARD.encode(sound)))
    }
}

/// What browsers call the formats that they play.
fn media_type(path: &Path) -> Option<&'static str> {
    Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "wav" | "wave" => "audio/wav",
        "ogg" | "oga" => "audio/ogg",
        "flac" => "audio/flac",
        "mp3" => "audio/mpeg",
        "m4a" | "mp4" => "audio/mp4",
        "aac" => "audio/aac",
        _ => return None,
    })
}
