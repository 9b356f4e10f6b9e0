//! A database in memory whose segments are long enough for each of their sections to have 64 KiB blocks of its own, and
//! ways to damage it.

use otolith::View;
use otolith::pipeline::Step;
use otolith::testing::store::layout::section::ID_TABLE;
use otolith::testing::store::layout::{Field, directory_entry, footer, header, root_of};
use otolith::testing::store::vfs::MemoryVfs;
use otolith::testing::store::{Access, Tuning};
use otolith::{Collection, Database, DatabaseOptions, Matrix, Metric, Record, Schema};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const DB: &str = "db";
pub(crate) const DIM: usize = 8;
/// Records in each of the two segments.
pub(crate) const RECORDS: usize = 5_000;

pub(crate) fn options(vfs: &MemoryVfs, access: Access) -> DatabaseOptions {
    // No thread may write while the tests count files.
    let tuning = Tuning { background: false, ..Tuning::default() };
    Database::options().vfs(Arc::new(vfs.clone())).access(access).tuning(tuning)
}

pub(crate) fn id(n: usize) -> String {
    format!("{n:05}-{}", "x".repeat(60))
}

/// Two rows that only record `n` has.
pub(crate) fn matrix(n: usize) -> Matrix {
    let value = |at: usize| ((n * 31 + at * 17) % 1_009) as f32 / 1_009.0 - 0.5 + n as f32 * 1e-4;
    Matrix::from_rows(2, DIM, (0..2 * DIM).map(value).collect()).unwrap()
}

pub(crate) fn record(n: usize) -> Record {
    Record::new(id(n), matrix(n)).field("fold", n % 5).field("note", "y".repeat(40))
}

pub(crate) fn view() -> View {
    View::new([Step::Every { n: 2 }, Step::Normalise]).metric(Metric::Cosine)
}

/// Two segments of [`RECORDS`] records each; every tenth record of the first is deleted; a view, derived.
pub(crate) fn database() -> MemoryVfs {
    let vfs = MemoryVfs::default();
    let db = options(&vfs, Access::Map).open(DB).unwrap();
    let clips = db.create_collection("clips", Schema::new(DIM)).unwrap();
    for half in 0..2 {
        clips.upsert((half * RECORDS..(half + 1) * RECORDS).map(record)).unwrap();
        db.flush().unwrap();
    }
    clips.delete((0..RECORDS / 10).map(|n| id(n * 10))).unwrap();
    clips.create_view("odd", &view()).unwrap();
    db.close().unwrap();
    assert_eq!(files(&vfs, ".oseg").len(), 2);
    vfs
}

pub(crate) fn clips(vfs: &MemoryVfs, access: Access) -> Collection {
    options(vfs, access).read_only().open(DB).unwrap().collection("clips").unwrap()
}

/// Files of the database whose names contain `part`, oldest first.
pub(crate) fn files(vfs: &MemoryVfs, part: &str) -> Vec<PathBuf> {
    vfs.files().into_iter().filter(|path| path.starts_with(DB) && path.to_str().unwrap().contains(part)).collect()
}

pub(crate) fn flip(vfs: &MemoryVfs, path: &Path, at: usize) {
    let mut bytes = vfs.read(path).unwrap();
    bytes[at] ^= 0x10;
    vfs.write(path, &bytes).unwrap();
}

/// Where a section of a file lies.
pub(crate) fn section(vfs: &MemoryVfs, path: &Path, kind: u32) -> Range<usize> {
    let bytes = vfs.read(path).unwrap();
    let end = &bytes[bytes.len() - footer::BYTES..];
    let directory = number(footer::DIRECTORY_OFFSET, end);
    (0..number(footer::DIRECTORY_COUNT, end))
        .map(|at| &bytes[directory + at * directory_entry::BYTES..][..directory_entry::BYTES])
        .find(|entry| number(directory_entry::KIND, entry) == kind as usize)
        .map(|entry| {
            let start = number(directory_entry::OFFSET, entry);
            start..start + number(directory_entry::LENGTH, entry)
        })
        .unwrap()
}

fn number(field: Field, structure: &[u8]) -> usize {
    let field = &structure[field.offset..][..field.bytes];
    field.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Makes all sums of a file fit its bytes again, as a program that writes nonsense would.
pub(crate) fn reseal(bytes: &mut [u8]) {
    let put =
        |bytes: &mut [u8], field: Field, value: &[u8]| bytes[field.offset..][..field.bytes].copy_from_slice(value);
    let end = bytes.len() - footer::BYTES;
    let sums_at = number(footer::SUMS_OFFSET, &bytes[end..]);
    let sums: Vec<u8> =
        bytes[..sums_at].chunks(65_536).flat_map(|block| crc32fast::hash(block).to_le_bytes()).collect();
    bytes[sums_at..][..sums.len()].copy_from_slice(&sums);
    let rooted = [&bytes[..header::BYTES], &bytes[sums_at..end], &bytes[end..][..footer::ROOT.offset]].concat();
    put(&mut bytes[end..], footer::ROOT, &root_of(&rooted));
    let crc = crc32fast::hash(&bytes[end..][..footer::CRC.offset]);
    put(&mut bytes[end..], footer::CRC, &crc.to_le_bytes());
}

/// A copy with one damaged byte in the first block of the first segment that holds nothing but this section.
pub(crate) fn damaged(whole: &MemoryVfs, kind: u32) -> MemoryVfs {
    let vfs = whole.copy().unwrap();
    let path = files(&vfs, ".oseg").remove(0);
    let place = section(&vfs, &path, kind);
    let block = place.start.next_multiple_of(65_536);
    assert!(block + 65_536 <= place.end || kind == ID_TABLE, "section {kind} is too short");
    assert!(block < place.end);
    flip(&vfs, &path, block);
    vfs
}
