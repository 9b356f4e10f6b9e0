//! Whole databases with damage in one file, and logs that nobody wrote.

use super::altered::{altered, is_flipped};
use super::data;
use super::sums::{put, put_crc, reseal_container, reseal_log, reseal_manifest, seal_frame, sixteen};
use otolith::testing::store::layout::{
    self, FRAME_MAGIC, LOG_MAGIC, MAJOR, Sixteen, footer, frame, frame_kind, log_header, manifest_header,
};
use otolith::testing::store::vfs::MemoryVfs;
use otolith::testing::store::{Depth, Options, Tuning, repair_to, verify_path};
use otolith::{Collection, Database, DatabaseOptions, Matrix, Record, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

const ROOT: &str = "/golden";

type Contents = BTreeMap<String, Vec<Record>>;

/// A golden database, and what it holds.
struct Golden {
    vfs: MemoryVfs,
    /// What it holds; behind that, what it held before commits that only its log has, which may be lost without a trace
    /// where nothing says that they were durable.
    contents: Vec<Contents>,
}

/// Sealed files of version 1.0; of 1.1 with a delete set; and with commits in a log and matrices in an open segment.
static GOLDEN: LazyLock<[Golden; 3]> = LazyLock::new(|| ["v1.0", "v1.1", "v1.1-log"].map(golden));

fn golden(version: &str) -> Golden {
    let vfs = MemoryVfs::default();
    let root = data("golden").join(version).join("database");
    for folder in ["", "seg", "view", "derived"] {
        for entry in fs::read_dir(root.join(folder)).expect("a golden database") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = Path::new(ROOT).join(path.strip_prefix(&root).expect("below it"));
                vfs.write(&name, &fs::read(&path).expect("a file")).expect("memory");
            }
        }
    }
    let mut contents = vec![read_all(&vfs).expect("the golden database is whole")];
    let logs = vfs.files().into_iter().filter(|path| log_number(path).is_some());
    for path in logs {
        let whole = vfs.read(&path).expect("a file");
        for end in (0..whole.len()).step_by(8) {
            vfs.write(&path, &whole[..end]).expect("memory");
            contents.extend(read_all(&vfs).ok().filter(|less| !contents.contains(less)));
        }
        vfs.write(&path, &whole).expect("memory");
    }
    Golden { vfs, contents }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

fn log_number(path: &Path) -> Option<u64> {
    u64::from_str_radix(name(path).strip_prefix("wal-")?, 16).ok()
}

/// One file of a golden database altered: an error or the right contents; behind checksums made right, anything but a
/// panic. Input: which file, how (bit 2: make the sums right, bits 3 and 4: see [`look`]), then as `altered` reads it.
pub fn database(bytes: &[u8]) {
    let [which, how, input @ ..] = bytes else { return };
    let files = GOLDEN.iter().flat_map(|golden| golden.vfs.files().into_iter().map(move |path| (golden, path)));
    let files: Vec<_> = files.collect();
    let (golden, path) = &files[usize::from(*which) % files.len()];
    let vfs = golden.vfs.copy().expect("memory");
    let original = vfs.read(path).expect("a file");
    let mut file = altered(&original, *how, input);
    let resealed = how & 4 != 0;
    if resealed {
        reseal(&vfs, path, &original, &mut file);
    }
    vfs.write(path, &file).expect("memory");
    let found = look(&vfs, how >> 3);
    if !resealed && is_flipped(*how) && is_clean(&vfs) {
        let found = found.unwrap_or_else(|| read_all(&vfs));
        let found = found.unwrap_or_else(|error| panic!("{}: verified, but {error}", path.display()));
        assert!(golden.contents.contains(&found), "{}: verified, but other contents", path.display());
    }
}

/// Makes sums right, those of `file` and those that name it.
fn reseal(vfs: &MemoryVfs, path: &Path, original: &[u8], file: &mut [u8]) {
    let manifests: Vec<PathBuf> = vfs.files().into_iter().filter(|path| name(path).starts_with("manifest-")).collect();
    if let Some(number) = log_number(path) {
        reseal_log(file, &identity(&vfs.read(&manifests[0]).expect("a file")), number);
    }
    reseal_manifest(file);
    let Some(root) = reseal_container(file) else { return };
    let Some(end) = original.len().checked_sub(footer::BYTES) else { return };
    let old = layout::hex(&sixteen(original, end, footer::ROOT));
    for manifest in manifests {
        let bytes = vfs.read(&manifest).expect("a file");
        let (head, body) = bytes.split_at(manifest_header::BYTES);
        let body = String::from_utf8_lossy(body).replace(&old, &layout::hex(&root));
        let mut bytes = [head, body.as_bytes()].concat();
        reseal_manifest(&mut bytes);
        vfs.write(&manifest, &bytes).expect("memory");
    }
}

fn identity(manifest: &[u8]) -> Sixteen {
    sixteen(manifest, 0, manifest_header::DATABASE)
}

/// A log that nobody wrote, behind the newest manifest of a golden database: anything but a panic. Input: bits 3 and 4
/// of the first byte see [`look`]. When its bit 0 is not set, the rest as the log, its sums made right. Else frames: a
/// byte of flags, 2 bytes length, the payload.
pub fn log(bytes: &[u8]) {
    const FIRST: u64 = 0xd;
    let [how, input @ ..] = bytes else { return };
    let vfs = GOLDEN[2].vfs.copy().expect("memory");
    let files = vfs.files();
    let manifest = files.iter().filter(|path| name(path).starts_with("manifest-")).max().expect("a manifest");
    let database = identity(&vfs.read(manifest).expect("a file"));
    let mut logs = vec![input.to_vec()];
    if how & 1 == 0 {
        reseal_log(&mut logs[0], &database, FIRST);
    } else {
        logs = framed(input, &database, FIRST);
    }
    for (number, bytes) in (FIRST..).zip(logs) {
        vfs.write(&Path::new(ROOT).join(format!("wal-{number:016x}")), &bytes).expect("memory");
    }
    let _ = look(&vfs, how >> 3);
}

/// Flags of a frame, else it is a commit, vouched for by nothing, whole, and follows the one before.
mod flag {
    pub(super) const MARK: u8 = 1;
    pub(super) const DURABLE: u8 = 2;
    pub(super) const WRONG_SUM: u8 = 4;
    pub(super) const WRONG_CHAIN: u8 = 8;
    pub(super) const WRONG_SEQ: u8 = 16;
    pub(super) const NEW_LOG: u8 = 32;
}

fn framed(mut input: &[u8], database: &Sixteen, first: u64) -> Vec<Vec<u8>> {
    /// The last commit in the manifest.
    const BEFORE: u64 = 3;
    let (mut seq, mut chain) = (BEFORE, 0_u64);
    let mut logs = vec![log_head(database, first, chain)];
    while let [flags, low, high, rest @ ..] = input {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (payload, rest) = rest.split_at(length);
        input = rest;
        let has = |flag| flags & flag != 0;
        if has(flag::NEW_LOG) {
            logs.push(log_head(database, first + logs.len() as u64, chain));
        }
        if !has(flag::MARK) {
            seq += if has(flag::WRONG_SEQ) { 2 } else { 1 };
        }
        let mut bytes = vec![0; frame::BYTES];
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let payload = (bytes.len() - frame::BYTES) as u64;
        let kind = if has(flag::MARK) { frame_kind::MARK } else { frame_kind::COMMIT };
        put(&mut bytes, 0, frame::MAGIC, &FRAME_MAGIC);
        put(&mut bytes, 0, frame::KIND, &kind.to_le_bytes());
        put(&mut bytes, 0, frame::PAYLOAD_BYTES, &payload.to_le_bytes());
        put(&mut bytes, 0, frame::SEQ, &seq.to_le_bytes());
        put(&mut bytes, 0, frame::DURABLE, &if has(flag::DURABLE) { seq } else { BEFORE }.to_le_bytes());
        put(&mut bytes, 0, frame::CHAIN, &(chain ^ u64::from(has(flag::WRONG_CHAIN))).to_le_bytes());
        let at = logs.len() - 1;
        chain = seal_frame(&mut bytes, database, first + at as u64);
        if has(flag::WRONG_SUM) {
            bytes[frame::SUM.offset] ^= 1;
        }
        logs[at].extend_from_slice(&bytes);
    }
    logs
}

fn log_head(database: &Sixteen, number: u64, chain: u64) -> Vec<u8> {
    let mut bytes = vec![0; log_header::BYTES];
    put(&mut bytes, 0, log_header::MAGIC, &LOG_MAGIC);
    put(&mut bytes, 0, log_header::MAJOR, &MAJOR.to_le_bytes());
    put(&mut bytes, 0, log_header::DATABASE, database);
    put(&mut bytes, 0, log_header::NUMBER, &number.to_le_bytes());
    put(&mut bytes, 0, log_header::CHAIN, &chain.to_le_bytes());
    put_crc(&mut bytes, 0, log_header::CRC);
    bytes
}

fn tuning() -> Tuning {
    Tuning { reserve_bytes: 0, background: false, ..Tuning::default() }
}

fn options(vfs: &MemoryVfs) -> Options {
    Options { vfs: Arc::new(vfs.clone()), tuning: tuning(), ..Options::default() }
}

fn opening(vfs: &MemoryVfs) -> DatabaseOptions {
    Database::options().vfs(Arc::new(vfs.clone())).tuning(tuning()).must_exist()
}

fn is_clean(vfs: &MemoryVfs) -> bool {
    verify_path(Path::new(ROOT), options(vfs), Depth::Deep).is_ok_and(|report| report.is_clean())
}

/// Does what the two low bits say with a database that may be damaged: 0 reads it, 1 writes to it, 2 repairs it, 3
/// looks for damage. Gives what a reader found. Where a writer opens it, too, it finds the same.
fn look(vfs: &MemoryVfs, how: u8) -> Option<Result<Contents>> {
    match how & 3 {
        0 => return Some(read_all(vfs)),
        1 => {
            let found = read_all(vfs);
            let writable = vfs.copy().expect("memory");
            if let Ok(database) = opening(&writable).open(ROOT) {
                if let (Ok(found), Ok(recovered)) = (&found, contents(&database)) {
                    assert_eq!(*found, recovered, "a reader and a writer");
                }
                write(&database);
                let _ = database.close();
                let _ = read_all(&writable);
            }
            return Some(found);
        }
        2 => drop(repair_to(Path::new(ROOT), options(&vfs.copy().expect("memory")), Path::new("/repaired"))),
        _ => drop(is_clean(vfs)),
    }
    None
}

/// What a reader finds.
fn read_all(vfs: &MemoryVfs) -> Result<Contents> {
    contents(&opening(vfs).read_only().open(ROOT)?)
}

/// Every record, after a search by every view.
fn contents(database: &Database) -> Result<Contents> {
    let mut all = BTreeMap::new();
    for name in database.collections() {
        let collection = database.collection(&name)?;
        search_all(&collection);
        let snapshot = collection.snapshot()?;
        let records: Result<Vec<Record>> = snapshot.iter().map(|entry| entry.to_record()).collect();
        let mut records = records?;
        records.sort_by(|a, b| a.id.cmp(&b.id));
        all.insert(name, records);
    }
    Ok(all)
}

/// Rows of a width that makes sense.
fn rows(dim: usize) -> Option<Matrix> {
    // More is of no use to anyone here.
    let dim = Some(dim).filter(|dim| *dim <= 1_024)?;
    Matrix::from_rows(2, dim, (0..2 * dim).map(|n| n as f32 - 2.5).collect()).ok()
}

/// Damaged databases may refuse any of these searches; they may not panic.
fn search_all(collection: &Collection) {
    let Some(query) = collection.schema().ok().and_then(|schema| rows(schema.dim)) else { return };
    for view in collection.views().unwrap_or_default() {
        let _ = collection.query(&query).view(view.name).k(3).run();
    }
    for hit in collection.query(&query).k(3).run().iter().flat_map(|hits| hits.iter()) {
        assert!(!hit.score.is_nan());
    }
}

/// The same of writing.
fn write(database: &Database) {
    for name in database.collections() {
        let Ok(collection) = database.collection(&name) else { continue };
        let Some(rows) = collection.schema().ok().and_then(|schema| rows(schema.dim)) else { continue };
        let _ = collection.upsert([Record::new("dog-1", rows.clone()), Record::auto(rows)]);
        let _ = collection.delete(["replaced", "late"]);
    }
    let _ = database.compact();
    let _ = database.flush();
}
