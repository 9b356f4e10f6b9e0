//! Views are derived: their rows may go missing or rot, which costs time and never an answer; what is fitted sees only
//! what it was told to see.
#![cfg(feature = "fit")]
#![allow(clippy::unwrap_used)]

use otolith::View;
use otolith::pipeline::Step;
use otolith::{Collection, Database, Error, Hits, Matrix, Metric, Record, Schema};
use std::fs;
use std::path::{Path, PathBuf};

const DIM: usize = 6;

fn matrix(seed: u32, rows: usize) -> Matrix {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(17);
    let values = (0..rows * DIM).map(|at| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Columns of different weight, so that whitening has something to do.
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * (1 + at % DIM) as f32
    });
    Matrix::from_rows(rows, DIM, values.collect()).unwrap()
}

fn white() -> View {
    View::new([Step::Every { n: 2 }, Step::Pca { dim: 4, whiten: true }, Step::Normalise]).metric(Metric::Cosine)
}

fn filled(path: &Path) -> Database {
    let db = Database::open(path).unwrap();
    let clips = db.create_collection("clips", Schema::new(DIM)).unwrap();
    for batch in 0..3 {
        let numbers = batch * 10..batch * 10 + 10;
        let record = |n| Record::new(format!("r{n:02}"), matrix(n, 5 + n as usize % 4)).field("fold", n % 5);
        clips.upsert(numbers.map(record)).unwrap();
    }
    // Rows of a view are kept in a file where the records are in one.
    db.flush().unwrap();
    clips.create_view("white", &white()).unwrap();
    db
}

fn ask(clips: &Collection) -> Vec<(String, f64)> {
    let query = matrix(1_000, 7);
    let hits: Hits = clips.query(&query).view("white").k(30).run().unwrap();
    assert!(hits.certificate.is_exact());
    hits.iter().map(|hit| (hit.id.clone(), hit.score)).collect()
}

fn derived_files(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(path.join("derived")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Does something bad to a file that holds these bytes.
type Breaking<'a> = dyn Fn(&Path, &[u8]) + 'a;

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn missing_or_broken_rows_are_derived_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let expected = ask(&filled(&path).collection("clips").unwrap());
    assert_eq!(expected.len(), 30);
    let files = derived_files(&path);
    let whole: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let break_them: [&Breaking<'_>; 5] = [
        &|file, _| fs::remove_file(file).unwrap(),
        &|file, bytes| overwrite(file, &bytes[..bytes.len() / 2]),
        &|file, _| overwrite(file, b""),
        &|file, bytes| {
            let mut bytes = bytes.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
            overwrite(file, &bytes);
        },
        &|file, _| overwrite(file, &whole[0]), // the rows of another segment
    ];
    for (way, broken) in break_them.iter().enumerate() {
        for (file, bytes) in files.iter().zip(&whole) {
            broken(file, bytes);
        }
        let reader = Database::open_read_only(&path).unwrap();
        assert_eq!(ask(&reader.collection("clips").unwrap()), expected, "way {way}, reading only");
        let writer = Database::open(&path).unwrap();
        assert_eq!(ask(&writer.collection("clips").unwrap()), expected, "way {way}");
        drop(writer);
        let again: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        assert_eq!(again, whole, "way {way}: the writer has mended the files");
    }
}

#[test]
fn a_view_is_fitted_on_the_records_that_its_filter_names_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let db = filled(&folder.path().join("db"));
    let clips = db.collection("clips").unwrap();
    let rows = matrix(2_000, 6);
    clips.create_view("others", &white().fitted_on("fold != 1")).unwrap();
    let before = clips.apply_view("others", &rows).unwrap();
    assert_ne!(before, clips.apply_view("white", &rows).unwrap(), "other records, other parameters");

    // What the filter leaves out may be anything.
    let wild = Matrix::from_rows(3, DIM, (0..3 * DIM).map(|x| 1e4 * x as f32).collect()).unwrap();
    clips
        .upsert([Record::new("r01", wild.clone()).field("fold", 1), Record::new("new", wild).field("fold", 1)])
        .unwrap();
    clips.create_view("again", &white().fitted_on("fold != 1")).unwrap();
    assert_eq!(clips.apply_view("again", &rows).unwrap(), before);
    assert_eq!(clips.apply_view("raw", &rows).unwrap(), rows);
    let narrow = otolith::Matrix::from_rows(1, rows.dim() - 1, vec![0.5; rows.dim() - 1]).unwrap();
    for view in ["raw", "again"] {
        assert!(matches!(clips.apply_view(view, &narrow), Err(otolith::Error::Mismatch { .. })), "{view}");
    }
    clips.create_view("all", &white()).unwrap();
    assert_ne!(clips.apply_view("all", &rows).unwrap(), before);
    assert_eq!(clips.view("others").unwrap().fitted_on.as_deref(), Some("fold != 1"));
}

#[test]
fn records_that_come_later_are_found_in_the_view() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = filled(&path);
    let clips = db.collection("clips").unwrap();
    clips.upsert([Record::new("late", matrix(1_000, 7))]).unwrap();
    assert_eq!(ask(&clips)[0].0, "late");
    clips.delete(["late"]).unwrap();
    assert_ne!(ask(&clips)[0].0, "late");
}

#[test]
fn views_are_listed_dropped_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let db = filled(&path);
    let clips = db.collection("clips").unwrap();
    assert!(matches!(clips.create_view("white", &white()), Err(Error::Exists { .. })));
    assert!(matches!(clips.create_view("raw", &white()), Err(Error::Exists { .. })));
    let info = clips.view("white").unwrap();
    assert_eq!((info.dim, info.metric, info.steps.len()), (4, Metric::Cosine, 3));
    let expected = ask(&clips);
    clips.drop_view("white").unwrap();
    assert!(matches!(clips.query(&matrix(1, 2)).view("white").run(), Err(Error::NotFound { .. })));
    assert!(clips.views().unwrap().is_empty());
    clips.create_view("white", &white()).unwrap();
    assert_eq!(ask(&clips), expected);
    drop((clips, db));
    assert_eq!(ask(&Database::open_read_only(&path).unwrap().collection("clips").unwrap()), expected);
}

#[test]
fn steps_that_cannot_be_fitted_leave_no_view() {
    let folder = tempfile::tempdir().unwrap();
    let db = filled(&folder.path().join("db"));
    let clips = db.collection("clips").unwrap();
    assert!(matches!(clips.create_view("none", &white().fitted_on("fold = 99")), Err(Error::Invalid { .. })));
    assert!(matches!(clips.create_view("bad", &white().fitted_on("fold = = 1")), Err(Error::FilterSyntax { .. })));
    assert_eq!(clips.views().unwrap().len(), 1);
}
