//! A data set made by the program itself, for machines that have none: ten classes of forty clips in ESC-50's own
//! layout.
//!
//! Each clip is synthesised from a model of the sound's physics (ringing modes, filtered noise, grains, gliding tones)
//! and then put into a scene: distance, room, microphone, background, sometimes padded silence. Of a *source*, which
//! stands for one recording, one to three *takes* are cut; they share the parameters and the scene and lie in one fold.
//! Classes vary within and overlap, so that no way of searching is near perfect and better ones rank higher.
//!
//! The bytes depend on the seed, and on the last bits of the machine's sine. The whole set takes some seconds of one
//! core and 64 MB of disk.

mod dice;
mod dsp;
mod events;
mod scene;
mod weather;

use super::data_set::DataSet;
use dice::Dice;
use dsp::{RATE, SAMPLES};
use otolith::{Error, Result};
use rayon::prelude::*;
use scene::Scene;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Makes one take of a source, as long as a clip.
type Take = Box<dyn Fn(&mut Dice) -> Vec<f32> + Send + Sync>;

/// Draws a source of a class.
type Class = fn(&mut Dice) -> Take;

/// The classes, in the order of their targets.
const CLASSES: [(&str, Class); 10] = [
    ("rain", weather::rain),
    ("wind", weather::wind),
    ("sea_waves", weather::sea_waves),
    ("chirping_birds", events::chirping_birds),
    ("dog", events::dog),
    ("engine", weather::engine),
    ("clock_tick", events::clock_tick),
    ("siren", weather::siren),
    ("footsteps", events::footsteps),
    ("church_bells", events::church_bells),
];

const FOLDS: usize = 5;

/// Takes of the sources of one class in one fold: eight clips.
const TAKES: [usize; 5] = [1, 2, 1, 3, 1];

/// One source: where it is and how often it is cut.
struct Source {
    number: usize,
    class: usize,
    fold: usize,
    takes: usize,
}

impl Source {
    fn all() -> Vec<Source> {
        let mut all = Vec::new();
        for fold in 1..=FOLDS {
            for class in 0..CLASSES.len() {
                for takes in TAKES {
                    // below no number of six digits, so that names sort as numbers
                    all.push(Source { number: 100_000 + all.len(), class, fold, takes });
                }
            }
        }
        all
    }

    fn file(&self, take: usize) -> String {
        format!("{}-{}-{}-{}.wav", self.fold, self.number, letter(take), self.class)
    }

    /// The takes as samples within -1..1.
    fn sounds(&self, seed: u64) -> Vec<Vec<f32>> {
        // streams of a source and its takes: four apart
        let stream = 4 * self.number as u64;
        let mut dice = Dice::new(seed, stream);
        let take = (CLASSES[self.class].1)(&mut dice);
        let scene = Scene::draw(&mut dice, self.class);
        (1..=self.takes as u64)
            .map(|number| {
                let dice = &mut Dice::new(seed, stream + number);
                let sound = take(dice);
                scene.hear(dice, sound)
            })
            .collect()
    }
}

/// Writes the set to `root` (`meta/esc50.csv`, `audio/*.wav`: 16 kHz, 16 bits, mono) and loads it. The table is written
/// last, so a folder that has one is complete.
///
/// # Errors
/// [`Error::Io`] or [`Error::Unusable`] when a file cannot be written.
pub fn generate(root: &Path, seed: u64) -> Result<DataSet> {
    let (audio, meta) = (root.join("audio"), root.join("meta"));
    for folder in [&audio, &meta] {
        fs::create_dir_all(folder).map_err(|source| Error::io(folder, "create", source))?;
    }
    let sources = Source::all();
    sources.par_iter().try_for_each(|source| {
        let mut sounds = source.sounds(seed).into_iter().enumerate();
        sounds.try_for_each(|(take, sound)| write_wav(&audio.join(source.file(take)), &sound))
    })?;
    let path = meta.join("esc50.csv");
    fs::write(&path, table(&sources)).map_err(|source| Error::io(&path, "write", source))?;
    let mut set = DataSet::load(root, seed)?;
    set.name = "procedural".to_owned();
    Ok(set)
}

fn table(sources: &[Source]) -> String {
    let mut table = String::from("filename,fold,target,category,esc10,src_file,take\n");
    for source in sources {
        for take in 0..source.takes {
            let Source { number, class, fold, .. } = source;
            let (file, category) = (source.file(take), CLASSES[*class].0);
            let _ = writeln!(table, "{file},{fold},{class},{category},False,{number},{}", letter(take));
        }
    }
    table
}

fn letter(take: usize) -> char {
    (b'A' + take as u8) as char
}

fn write_wav(path: &Path, sound: &[f32]) -> Result<()> {
    let failed = |error: hound::Error| match error {
        hound::Error::IoError(source) => Error::io(path, "write", source),
        other => Error::unusable(path, other.to_string()),
    };
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: RATE as u32,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).map_err(failed)?;
    let mut samples = writer.get_i16_writer(SAMPLES as u32);
    sound.iter().for_each(|x| samples.write_sample((x * 32_767.0).round() as i16));
    samples.flush().map_err(failed)?;
    writer.finalize().map_err(failed)
}
