//! Inputs of the fuzz targets, and seeded mutations of them.
#![allow(unreachable_pub)]

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// The files of a folder of `tests/data`.
pub fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|package| package.join("tests/data"))
        .find(|data| data.is_dir())
        .expect("tests/data")
        .join(folder);
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
pub fn replay(target: &str, seeds: &[PathBuf], mutations: usize, body: fn(&[u8])) {
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
pub fn corpus(target: &str, mutations: usize, body: fn(&[u8])) {
    let seeds = files(&format!("corpus/{target}"));
    assert!(!seeds.is_empty(), "{target} has no corpus");
    let mutations = mutations / seeds.len() + 1;
    println!("figure corpus_files.{target} = {}", seeds.len());
    replay(target, &seeds, mutations, body);
}
