//! The bodies of the fuzz targets on every input that was ever worth keeping, and on seeded mutations of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../fuzz/bodies/mod.rs"]
#[allow(unreachable_pub)] // the fuzz targets are crates of their own
mod bodies;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// A few bytes changed, taken out, doubled or put in.
fn mutate(seed: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..1 + random.next_u32() % 4 {
        let mut below = |limit: usize| random.next_u32() as usize % limit.max(1);
        // Headers are where most decisions fall.
        let reach = if below(2) == 0 { bytes.len().min(64) } else { bytes.len() };
        let (at, length) = (below(reach), 1 + below(8));
        let end = (at + length).min(bytes.len());
        match below(6) {
            0 | 1 if at < end => bytes[at] ^= 1 << below(8),
            2 if at < end => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
            3 => drop(bytes.drain(at..end)),
            4 => {
                let twice = bytes[at..end].to_vec();
                bytes.splice(at..at, twice).for_each(drop);
            }
            _ => bytes.insert(at, below(256) as u8),
        }
    }
    bytes
}

/// Every seed as it is, then `mutations` of each; a panic names the input that made it.
fn replay(target: &str, seeds: &[PathBuf], mutations: usize, body: fn(&[u8])) {
    let run = |path: &Path, n: usize, bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| body(bytes))).is_err() {
            let input = std::env::temp_dir().join(format!("otolith-{target}-crash"));
            fs::write(&input, bytes).unwrap();
            panic!("{target}: mutation {n} of {} panics; the input is {}", path.display(), input.display());
        }
    };
    for path in seeds {
        let seed = fs::read(path).unwrap();
        run(path, 0, &seed);
        let mut random = ChaCha8Rng::seed_from_u64(seed.len() as u64);
        (1..=mutations).for_each(|n| run(path, n, &mutate(&seed, &mut random)));
    }
}

/// The corpus of a target, and about so many mutations of all of it together.
fn corpus(target: &str, mutations: usize, body: fn(&[u8])) {
    let seeds = files(&format!("corpus/{target}"));
    assert!(!seeds.is_empty(), "{target} has no corpus");
    let mutations = mutations / seeds.len() + 1;
    println!("figure corpus_files.{target} = {}", seeds.len());
    replay(target, &seeds, mutations, body);
}

#[test]
fn filters_read_back_as_themselves() {
    corpus("filter", 30_000, bodies::filter);
}

#[test]
fn derived_files_that_nobody_wrote_cost_no_answer_and_no_panic() {
    corpus("derived", 1_500, bodies::derived);
}

#[test]
fn a_damaged_database_is_an_error_or_right_never_a_panic() {
    corpus("database", 2_000, bodies::database);
}

#[test]
fn a_log_that_nobody_wrote_is_an_error_or_commits_never_a_panic() {
    corpus("log", 2_000, bodies::log);
}

#[test]
fn any_life_of_a_database_keeps_what_was_promised() {
    corpus("operations", 1_500, bodies::operations);
}

#[cfg(feature = "cli")]
#[test]
fn a_damaged_file_to_import_is_an_error_never_a_panic() {
    corpus("import", 6_000, bodies::import);
}

#[cfg(feature = "formats")]
#[test]
fn a_damaged_sound_file_is_an_error_never_a_panic() {
    corpus("audio", 3_000, bodies::audio);
    let is_sound = |path: &PathBuf| otolith::audio::has_sound_ending(path);
    let sounds: Vec<PathBuf> = [files("audio"), files("audio/agree")].concat().into_iter().filter(is_sound).collect();
    replay("audio", &sounds, 60, bodies::audio);
}

#[cfg(feature = "formats")]
#[test]
fn chunks_of_any_size_are_an_error_or_no_more_than_their_bytes() {
    corpus("riff", 6_000, bodies::riff);
}

#[cfg(feature = "models")]
#[test]
fn a_damaged_checkpoint_is_an_error_never_a_panic() {
    corpus("checkpoint", 3_000, bodies::checkpoint);
}

#[test]
fn every_folder_of_the_corpus_belongs_to_a_target() {
    let names = |paths: Vec<PathBuf>| -> Vec<String> {
        paths.iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    let corpora = names(files("corpus"));
    println!(
        "figure corpus_files = {}",
        corpora.iter().map(|name| files(&format!("corpus/{name}")).len()).sum::<usize>()
    );
    assert_eq!(corpora, names(files("../../fuzz/fuzz_targets")));
}
