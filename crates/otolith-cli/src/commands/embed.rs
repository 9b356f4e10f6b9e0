//! `embed`: the rows that a model makes of a sound.

use super::exit::Failure;
use super::model::ModelArgs;
use super::npy;
use super::output::Output;
use super::sound::{ChannelArgs, tell_remarks};
use otolith::embed::Sound;
use serde_json::json;
use std::path::PathBuf;

/// Print or save the rows that a model makes of a sound.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  otolith embed bark.wav --model wav2vec2-large/ --layer features --out bark.npy\n  otolith embed bark.wav --model facebook/wav2vec2-base --out bark.npy\n  otolith embed stereo.wav --channel left --out left.npy"
)]
pub(super) struct Args {
    /// A sound file
    file: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
    /// Write the rows to this .npy file (f32, rows x dim); printed as text unless given
    #[arg(long, value_name = "FILE.npy")]
    out: Option<PathBuf>,
    #[command(flatten)]
    channel: ChannelArgs,
}

pub(super) fn run(args: Args, output: &mut Output) -> Result<(), Failure> {
    let embedder = args.model.open(output)?;
    let sound = Sound::read_mixed(&args.file, embedder.sample_rate(), args.channel.channel)?;
    let embedded = sound.embed(embedder.as_ref())?;
    tell_remarks(&args.file, &embedded, output);
    let matrix = embedded.matrix.view();
    if let Some(path) = &args.out {
        npy::write_matrix(path, matrix)?;
    }
    if output.is_json() {
        return output.document(&json!({
            "rows": matrix.rows(), "dim": matrix.dim(), "rows_per_second": embedder.rows_per_second(),
            "seconds": embedded.seconds, "model": embedder.identity(), "remarks": embedded.remarks,
        }));
    }
    if args.out.is_some() {
        return output.line(format_args!("{} x {}", matrix.rows(), matrix.dim()));
    }
    for row in matrix.iter() {
        let row: Vec<String> = row.iter().map(f32::to_string).collect();
        output.line(row.join(" "))?;
    }
    Ok(())
}
