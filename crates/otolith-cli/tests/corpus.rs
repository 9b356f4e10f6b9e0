//! The body of the fuzz target `import` on every input that was ever worth keeping, and on seeded mutations of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

#[path = "../../../fuzz/bodies/exchange.rs"]
#[allow(unreachable_pub)] // the fuzz targets are crates of their own
mod exchange;
#[path = "../../../tests/corpus/replay.rs"]
#[allow(dead_code)]
mod replay;

#[test]
fn a_damaged_file_to_import_is_an_error_never_a_panic() {
    replay::corpus("import", 6_000, exchange::import);
}
