//! What is fuzzed: one function a target, from any bytes to no panic. `fuzz_targets/` runs them under libFuzzer,
//! `tests/corpus` on known inputs with a stable compiler.

mod altered;
mod damage;
mod derived;
mod life;
#[cfg(feature = "formats")]
mod media;
mod sums;

pub use damage::{database, log};
pub use derived::derived;
pub use life::operations;
#[cfg(feature = "models")]
pub use media::checkpoint;
#[cfg(feature = "formats")]
pub use media::{audio, riff};

use otolith::filter::Filter;
use otolith::{Fields, Matrix, Record};
use std::path::{Path, PathBuf};

/// Text to a filter: what parses reads back as itself and answers for any record.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    // Values for the first `?` of it, as a program would give them.
    let values = ["it's".into(), 7.into(), vec![1, 2].into()];
    let given = &values[..text.matches('?').count().min(values.len())];
    let Ok(filter) = Filter::parse_with(text, given) else { return };
    let shown = filter.to_string();
    let again = Filter::parse(&shown).unwrap_or_else(|error| panic!("`{text}` shows as `{shown}`: {error}"));
    assert_eq!(again, filter, "`{text}` shows as `{shown}`");
    let empty = || Matrix::from_rows(0, 1, Vec::new()).expect("a matrix");
    let record = |class: &str, seconds: f64| Record::auto(empty()).field("class", class).field("seconds", seconds);
    for record in [Record::auto(empty()), record("dog", 5.0), record("", -0.5).field("a", i64::MAX).field("b", true)] {
        let fields: &Fields = &record.fields;
        assert_eq!(filter.matches("dog", fields), again.matches("dog", fields), "`{text}`");
    }
}

/// A file or folder of `tests/data`.
fn data(path: &str) -> PathBuf {
    // The fuzz package lies one folder below the one with the tests.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|folder| folder.join("tests/data"))
        .find(|folder| folder.is_dir())
        .expect("tests/data")
        .join(path)
}
