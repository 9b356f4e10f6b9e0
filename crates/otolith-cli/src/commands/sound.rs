//! What commands that read sounds have in common: the choice of a channel, what is told of files.

use super::output::Output;
use otolith::audio::Mix;
use otolith::audio::folder::{Found, LeftOut, text};
use otolith::embed::Embedded;
use serde_json::{Value, json};
use std::path::Path;

/// Which of several channels.
#[derive(clap::Args)]
pub(super) struct ChannelArgs {
    /// What to take of a sound of several channels: their mean, or one of them: left, right, or its number from 1
    #[arg(long, value_name = "mean|left|right|N", default_value = "mean")]
    pub(super) channel: Mix,
}

/// Tells what the user of a file should know.
pub(super) fn tell_remarks(path: &Path, embedded: &Embedded, output: &Output) {
    for remark in &embedded.remarks {
        output.remark(format_args!("{}: {remark}", path.display()));
    }
}

/// Tells what the folders of a set held that was not taken for a clip.
pub(super) fn tell_beside(beside: &Found, output: &Output) {
    for (path, why) in &beside.failed {
        output.problem(format_args!("{}: {why}", path.display()));
    }
    if !beside.left_out.is_empty() {
        output.remark(&beside.left_out);
    }
}

/// What of folders was left out: each reason, how many files, and the first few of them.
pub(super) fn left_out_json(left_out: &LeftOut) -> Value {
    let group = |(why, count, first): (&str, usize, &[std::path::PathBuf])| {
        let first: Vec<String> = first.iter().map(|path| text(path.as_os_str())).collect();
        json!({ "why": why, "files": count, "first": first })
    };
    left_out.groups().map(group).collect()
}
