//! The bodies of the fuzz targets on every input that was ever worth keeping, and on seeded mutations of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../../fuzz/bodies/mod.rs"]
#[allow(unreachable_pub)] // the fuzz targets are crates of their own
mod bodies;
mod replay;

use replay::{corpus, files};

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

#[cfg(feature = "formats")]
#[test]
fn a_damaged_sound_file_is_an_error_never_a_panic() {
    corpus("audio", 3_000, bodies::audio);
    let is_sound = |path: &std::path::PathBuf| otolith::audio::has_sound_ending(path);
    let sounds: Vec<std::path::PathBuf> =
        [files("audio"), files("audio/agree")].concat().into_iter().filter(is_sound).collect();
    replay::replay("audio", &sounds, 60, bodies::audio);
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
    let names = |paths: Vec<std::path::PathBuf>| -> Vec<String> {
        paths.iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    let corpora = names(files("corpus"));
    println!(
        "figure corpus_files = {}",
        corpora.iter().map(|name| files(&format!("corpus/{name}")).len()).sum::<usize>()
    );
    assert_eq!(corpora, names(files("../../fuzz/fuzz_targets")));
}
