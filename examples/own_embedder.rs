//! Search by an embedder of your own: here loudness and zero crossings of 20 ms of sound. Needs the feature `audio`.
//!
//! `cargo run -p otolith --example own_embedder --features audio`
#![allow(clippy::print_stdout)] // an example shows what it does

use otolith::audio::Clip;
use otolith::embed::{Embedder, Window, embed_clip};
use otolith::ingest::collection_for;
use otolith::{Database, Matrix, Record, Result};
use std::f32::consts::TAU;

/// Two numbers for every 20 ms: the logarithm of the loudness, and how often the sign changes.
struct Rough;

const FRAME: usize = 320;

impl Embedder for Rough {
    fn identity(&self) -> &str {
        "rough-1" // change it whenever the rows change
    }

    fn sample_rate(&self) -> u32 {
        16_000
    }

    fn dim(&self) -> usize {
        2
    }

    fn hop(&self) -> usize {
        FRAME
    }

    fn receptive_field(&self) -> usize {
        FRAME
    }

    fn window_rows(&self) -> Option<usize> {
        None // any number at once
    }

    fn embed(&self, window: Window<'_>) -> Result<Matrix> {
        let frames = window.samples.chunks_exact(FRAME);
        let rows = frames.len();
        let row = |frame: &[f32]| {
            let loudness = frame.iter().map(|sample| sample * sample).sum::<f32>() / FRAME as f32;
            let crossings = frame.windows(2).filter(|pair| (pair[0] < 0.0) != (pair[1] < 0.0)).count();
            [(loudness + 1e-6).ln(), crossings as f32 / 10.0]
        };
        Matrix::from_rows(rows, 2, frames.flat_map(row).collect())
    }
}

/// A second of a tone.
fn tone(hz: f32, loudness: f32) -> Clip {
    let samples = (0..16_000).map(|n| loudness * (TAU * hz * n as f32 / 16_000.0).sin()).collect();
    Clip { samples, rate: 16_000 }
}

fn main() -> Result<()> {
    let path = std::env::temp_dir().join(format!("otolith-own-embedder-{}", std::process::id()));
    let db = Database::open(&path)?;
    let tones = collection_for(&db, "tones", &Rough)?; // dimension and rows per second from the embedder
    let mut records = Vec::new();
    for hz in [110.0, 440.0, 1_760.0, 5_000.0] {
        records.push(Record::new(format!("{hz} Hz"), embed_clip(&Rough, &tone(hz, 0.5))?).field("hz", f64::from(hz)));
    }
    tones.upsert(records)?;

    let query = embed_clip(&Rough, &tone(1_500.0, 0.4))?;
    for hit in &tones.query(&query).k(2).run()? {
        println!("{:8} {:.4} per row", hit.id, hit.score_per_row);
    }
    drop((tones, db));
    std::fs::remove_dir_all(&path).map_err(|error| otolith::Error::io(path, "remove", error))
}
