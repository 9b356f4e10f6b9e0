//! Where a command prints: results on stdout, progress and remarks on stderr.

use super::exit::Failure;
use super::shown::{shown, shown_lines, tell};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Places of damage told one by one.
const DAMAGE_SHOWN: usize = 8;

pub(super) struct Output {
    json: bool,
    quiet: bool,
    stdout: io::BufWriter<io::Stdout>,
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Output {
        Output { json, quiet, stdout: io::BufWriter::new(io::stdout()) }
    }

    /// Whether the result is to be one JSON document.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// The result for machines.
    pub(super) fn document(&mut self, value: &Value) -> Result<(), Failure> {
        writeln!(self.stdout, "{value}")?;
        Ok(self.stdout.flush()?)
    }

    /// The result, or a part of it, for people.
    pub(super) fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.stdout, "{}", shown(&line.to_string()))?)
    }

    /// Text of several lines.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.stdout.write_all(shown_lines(text).as_bytes())?;
        Ok(self.stdout.flush()?)
    }

    /// Hands all that was printed to the system: a full disk behind stdout is a failure, too.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        Ok(self.stdout.flush()?)
    }

    /// Something that people may want to know, on stderr.
    pub(super) fn remark(&self, remark: impl Display) {
        if !self.quiet {
            tell(&remark.to_string());
        }
    }

    /// A problem with a part of the work, on stderr.
    pub(super) fn problem(&self, problem: impl Display) {
        tell(&format!("error: {problem}"));
    }

    /// Tells of damage met on the way, the first places of it one by one, as the failure that a command ends with after
    /// it has done what it could; none when there was none.
    pub(super) fn damage<D: Display>(&self, damage: &[D], records: u64) -> Result<(), Failure> {
        if damage.is_empty() {
            return Ok(());
        }
        for place in damage.iter().take(DAMAGE_SHOWN) {
            self.problem(place);
        }
        let rest = "the others are as they should be: `otolith repair` saves them";
        Err(Failure::Damage(format!("{records} records could not be read; {rest}")))
    }

    /// A bar on stderr with rate and time left, when stderr is a terminal.
    pub(super) fn progress(&self, length: u64, what: &str) -> ProgressBar {
        if self.quiet || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        let style = "{msg:20} {bar:30} {human_pos}/{human_len}  {per_sec:12} {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar.set_message(shown(what).into_owned());
        bar
    }

    /// A bar for bytes on stderr, when stderr is a terminal.
    pub(super) fn bytes(&self) -> ProgressBar {
        let bar = self.progress(0, "");
        let style = "{msg:26} {bar:24} {bytes}/{total_bytes}  {bytes_per_sec:12} {eta} left";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar
    }
}

/// Rows under a head, each column as wide as it needs; the first `words` columns are words, the others numbers.
pub(super) fn table(head: &[&str], words: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_header(head);
    for column in table.column_iter_mut().skip(words) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.add_rows(
        rows.into_iter().map(|cells| cells.into_iter().map(|cell| shown(&cell).into_owned()).collect::<Vec<_>>()),
    );
    format!("{table}\n")
}

impl Drop for Output {
    fn drop(&mut self) {
        // After a failure, which is what is told: what was printed before it still goes out.
        let _ = self.stdout.flush();
    }
}
