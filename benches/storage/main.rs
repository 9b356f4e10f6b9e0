//! What the store costs, beside what else could be done with the same bytes on the same disk:
//! `cargo bench -p otolith --bench storage`, or some of it: `.. --bench storage -- ingest scan`.
//!
//! Parts: `ingest`, `scan`, `search`, `opening`, `latency`. What is compared runs in turns, and medians over the turns
//! are printed, because disks have moods. Sizes are set by the environment:
//!
//! | variable | default | |
//! | --- | --- | --- |
//! | `OTOLITH_BENCH_RECORDS` | 200 | records of 249 x 512 `f32` (0.51 MB each) |
//! | `OTOLITH_BENCH_ROUNDS` | 5 | turns |
//! | `OTOLITH_BENCH_COMMITS` | 1000 | commits of one small record |
//! | `OTOLITH_BENCH_LARGE` | unset | also build and open a database of 10 GB |
//!
//! Files lie below the system's directory for temporary files (`TMPDIR`) and are removed.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[path = "../frames/mod.rs"]
mod frames;
mod ingest;
mod latency;
mod opening;
mod scan;
mod search;
mod support;

const PARTS: [(&str, fn()); 5] = [
    ("ingest", ingest::run),
    ("scan", scan::run),
    ("search", search::run),
    ("opening", opening::run),
    ("latency", latency::run),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    for (name, run) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|part| part == name) {
            println!("\n{name}");
            run();
        }
    }
}
