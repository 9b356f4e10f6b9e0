//! Arrays and vectors of other programs.

use std::fs;

/// The endings of files; one more stands for a directory with a table.
const ENDINGS: [&str; 7] = ["npy", "npz", "fvecs", "bvecs", "fbin", "u8bin", "i8bin"];

/// A file or the table of a directory, read as `import` does: an error, or as many records as were announced, all of
/// one width. Input: which format, then the file.
pub fn import(bytes: &[u8]) {
    let [which, input @ ..] = bytes else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let path = match ENDINGS.get(usize::from(*which) % (ENDINGS.len() + 1)) {
        Some(ending) => {
            let path = folder.path().join("input").with_extension(ending);
            fs::write(&path, input).expect("a file");
            path
        }
        None => {
            fs::write(folder.path().join("a.npy"), array()).expect("a file");
            fs::write(folder.path().join("records.jsonl"), input).expect("a file");
            folder.path().to_owned()
        }
    };
    if let Ok((dim, count, records)) = otolith_cli::exchange::read_input(&path) {
        assert_eq!(count, records.len() as u64, "announced and read");
        assert!(records.iter().all(|record| record.matrix.dim() == dim), "{dim}");
    }
}

/// A `.npy` file of one row of two numbers.
fn array() -> Vec<u8> {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
    let header = format!("{header:<117}\n");
    let length = header.len() as u16;
    [b"\x93NUMPY\x01\x00", &length.to_le_bytes()[..], header.as_bytes(), &[0, 0, 128, 63, 0, 0, 0, 64]].concat()
}
