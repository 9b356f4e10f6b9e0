//! A comparison as one page of HTML that needs nothing else: no script, no other file, no network.
//!
//! The page is a function of the comparison and the data set (it bears no date), so the same input gives the same
//! bytes. Everything that comes from outside (names of files, classes, arms) is escaped. Clips are embedded until
//! [`SOUND_BYTES`] are spent, which bounds the page to about 8 MB.

mod charts;
mod examples;
mod sections;

use super::data_set::DataSet;
use super::table::{ArmKind, ArmResult, Comparison};
use otolith::{Error, Result};
use std::fmt::{self, Display};

/// How many bytes of sound files are embedded at most, before base64 makes them a third longer.
pub const SOUND_BYTES: u64 = 6 << 20;

/// The page as text. `set` is the data set that was compared on; its clips are named, and some are read and embedded.
///
/// # Errors
/// [`Error::Mismatch`] when the comparison is not one on this data set; [`Error::Io`] when a clip cannot be read.
pub fn render(comparison: &Comparison, set: &DataSet) -> Result<String> {
    check(comparison, set)?;
    let title = format!("Searching sounds: {} ways on {}", comparison.arms.len(), comparison.dataset);
    let parts = [
        sections::summary(comparison),
        sections::results(comparison),
        sections::confusions(comparison, set),
        sections::per_class(comparison, set),
        examples::section(comparison, set)?,
        sections::notes(comparison),
    ];
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light \
         dark\">\n<title>{title}</title>\n<style>\n{style}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n",
        title = Escaped(&title),
        style = include_str!("style.css"),
        body = parts.concat(),
    ))
}

fn check(comparison: &Comparison, set: &DataSet) -> Result<()> {
    let classes = set.classes.len();
    let examples = || comparison.arms.iter().flat_map(|arm| &arm.examples);
    let clips = examples().flat_map(|example| example.hits.iter().map(|hit| hit.clip).chain([example.query]));
    let most = clips.max().map_or(0, |clip| clip + 1);
    if most > set.clips.len() || comparison.arms.iter().any(|arm| arm.confusion.classes() != classes) {
        let expected = format!("a comparison on {} ({} clips, {classes} classes)", set.name, set.clips.len());
        let found =
            format!("one on {} ({} clips, {} classes)", comparison.dataset, comparison.clips, comparison.classes);
        return Err(Error::mismatch("report", expected, found));
    }
    Ok(())
}

/// The arm with the highest accuracy, the first of equals.
fn best<'a>(arms: impl Iterator<Item = &'a ArmResult>) -> Option<&'a ArmResult> {
    arms.reduce(|best, arm| if arm.measures.top1 > best.measures.top1 { arm } else { best })
}

fn best_of_kind(comparison: &Comparison, kind: ArmKind) -> Option<&ArmResult> {
    best(comparison.arms.iter().filter(|arm| arm.kind == kind))
}

/// Text made harmless for HTML, in elements and in quoted attributes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.0.split_inclusive(['&', '<', '>', '"', '\'']) {
            let (text, last) = part.split_at(part.len() - usize::from(part.ends_with(['&', '<', '>', '"', '\''])));
            f.write_str(text)?;
            f.write_str(match last {
                "&" => "&amp;",
                "<" => "&lt;",
                ">" => "&gt;",
                "\"" => "&quot;",
                "'" => "&#39;",
                _ => "",
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_has_no_character_that_html_reads() {
        assert_eq!(Escaped("a<b>&\"c'é").to_string(), "a&lt;b&gt;&amp;&quot;c&#39;é");
        assert_eq!(Escaped("").to_string(), "");
    }
}
