//! What is fuzzed: one function a target, from any bytes to no panic. `fuzz_targets/` runs them under libFuzzer,
//! `tests/corpus.rs` on known inputs with a stable compiler.

use otolith::collection::View;
use otolith::filter::Filter;
use otolith::pipeline::Step;
use otolith::store::Depth;
use otolith::store::layout::{
    self, BLOCK_BYTES, CONTAINER_MAGIC, Field, MANIFEST_MAGIC, footer, header, manifest_header,
};
use otolith::store::vfs::MemoryVfs;
use otolith::{Collection, Database, Fields, Matrix, Record, Result, Schema, Snapshot};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// Text to a filter: what parses reads back as itself and answers for any record.
pub fn filter(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(filter) = Filter::parse(text) else { return };
    let shown = filter.to_string();
    let again = Filter::parse(&shown).unwrap_or_else(|error| panic!("`{text}` shows as `{shown}`: {error}"));
    assert_eq!(again, filter, "`{text}` shows as `{shown}`");
    let empty = || Matrix::from_rows(0, 1, Vec::new()).expect("a matrix");
    let record = |class: &str, seconds: f64| Record::auto(empty()).field("class", class).field("seconds", seconds);
    for record in [Record::auto(empty()), record("dog", 5.0), record("", -0.5).field("a", i64::MAX).field("b", true)] {
        let fields: &Fields = &record.fields;
        assert_eq!(filter.matches(fields), again.matches(fields), "`{text}`");
    }
}

fn data(path: &str) -> PathBuf {
    // The fuzz package lies one folder below the one with the tests.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .map(|folder| folder.join("tests/data"))
        .find(|folder| folder.is_dir())
        .expect("tests/data")
        .join(path)
}

/// An offset into `length` bytes, from the end when the highest bit is set.
fn offset(bytes: &[u8], length: usize) -> usize {
    let number = bytes.iter().take(3).rev().fold(0, |number, byte| number << 8 | usize::from(*byte));
    let from_start = (number & 0x7f_ffff) % length.max(1);
    if number >> 23 == 1 { length.saturating_sub(1 + from_start) } else { from_start }
}

const XOR: u8 = 1;

/// A file as the input wants it: by the two low bits of `how` replaced, bits flipped (3 bytes offset, 1 byte mask, any
/// number of them), cut short, or with bytes spliced in.
fn altered(original: &[u8], how: u8, input: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let at = offset(input, bytes.len());
    match how & 3 {
        0 => return input.to_vec(),
        XOR => {
            for edit in input.chunks_exact(4) {
                let at = offset(&edit[..3], bytes.len());
                bytes[at] ^= edit[3];
            }
        }
        2 => bytes.truncate(at),
        _ => drop(bytes.splice(at..at, input.iter().skip(3).copied())),
    }
    bytes
}

fn put(bytes: &mut [u8], at: usize, field: Field, value: &[u8]) {
    bytes[at + field.offset..][..field.bytes].copy_from_slice(value);
}

fn number(bytes: &[u8], at: usize, field: Field) -> usize {
    let bytes = &bytes[at + field.offset..][..field.bytes];
    usize::try_from(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))).unwrap_or(usize::MAX)
}

/// Makes the sums of a damaged file right again, where it still has the shape for it; the new root of a container.
fn reseal(bytes: &mut [u8]) -> Option<layout::Sixteen> {
    if bytes.starts_with(&MANIFEST_MAGIC) && bytes.len() >= manifest_header::BYTES {
        let body = &bytes[manifest_header::BYTES..];
        let (length, root) = (body.len() as u64, layout::root_of(body));
        put(bytes, 0, manifest_header::BODY_BYTES, &length.to_le_bytes());
        put(bytes, 0, manifest_header::BODY_ROOT, &root);
        let crc = crc32fast::hash(&bytes[..manifest_header::CRC.offset]);
        put(bytes, 0, manifest_header::CRC, &crc.to_le_bytes());
        return None;
    }
    if !bytes.starts_with(&CONTAINER_MAGIC) || bytes.len() < header::BYTES + footer::BYTES {
        return None;
    }
    let end = bytes.len() - footer::BYTES;
    let crc = crc32fast::hash(&bytes[..header::CRC.offset]);
    put(bytes, 0, header::CRC, &crc.to_le_bytes());
    let sums = number(bytes, end, footer::SUMS_OFFSET);
    let blocks: Vec<u32> = bytes.get(..sums)?.chunks(BLOCK_BYTES as usize).map(crc32fast::hash).collect();
    for (n, crc) in blocks.into_iter().enumerate() {
        bytes[..end].get_mut(sums + 4 * n..)?.get_mut(..4)?.copy_from_slice(&crc.to_le_bytes());
    }
    let under_root =
        [&bytes[..header::BYTES], bytes[..end].get(sums..)?, &bytes[end..][..footer::ROOT.offset]].concat();
    let root = layout::root_of(&under_root);
    put(bytes, end, footer::ROOT, &root);
    let crc = crc32fast::hash(&bytes[end..][..footer::CRC.offset]);
    put(bytes, end, footer::CRC, &crc.to_le_bytes());
    Some(root)
}

/// The root that a container's footer names, as manifests write it.
fn root_text(container: &[u8]) -> Option<String> {
    let footer = container.len().checked_sub(footer::BYTES)?;
    let root = &container[footer + footer::ROOT.offset..][..footer::ROOT.bytes];
    Some(root.iter().map(|byte| format!("{byte:02x}")).collect())
}

const DATABASE: &str = "/golden";

/// The golden database, and what it holds.
static GOLDEN: LazyLock<(MemoryVfs, BTreeMap<String, Vec<Record>>)> = LazyLock::new(|| {
    let vfs = MemoryVfs::default();
    let root = data("golden/v1.0/database");
    for folder in ["", "seg", "view", "derived"] {
        for entry in fs::read_dir(root.join(folder)).expect("the golden database") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = Path::new(DATABASE).join(path.strip_prefix(&root).expect("below it"));
                vfs.write(&name, &fs::read(&path).expect("a file")).expect("memory");
            }
        }
    }
    let contents = read_all(&vfs).expect("the golden database is whole");
    (vfs, contents)
});

fn open(vfs: &MemoryVfs) -> Result<Database> {
    Database::options().vfs(Arc::new(vfs.clone())).read_only().open(DATABASE)
}

/// Every record, after a search by every view.
fn read_all(vfs: &MemoryVfs) -> Result<BTreeMap<String, Vec<Record>>> {
    let database = open(vfs)?;
    let mut all = BTreeMap::new();
    for name in database.collections() {
        let collection = database.collection(&name)?;
        search_all(&collection);
        let snapshot: Snapshot = collection.snapshot()?;
        let records: Result<Vec<Record>> = snapshot.iter().map(|entry| entry.to_record()).collect();
        all.insert(name, records?);
    }
    Ok(all)
}

/// Damaged databases may refuse any of these searches; they may not panic.
fn search_all(collection: &Collection) {
    let Ok(schema) = collection.schema() else { return };
    if schema.dim > 1_024 {
        return; // a query that wide is of no use to anyone
    }
    let query =
        Matrix::from_rows(2, schema.dim, (0..2 * schema.dim).map(|n| n as f32 - 2.5).collect()).expect("a query");
    for view in collection.views().unwrap_or_default() {
        let _ = collection.query(&query).view(view.name).k(3).run();
    }
    for hit in collection.query(&query).k(3).run().iter().flat_map(|hits| hits.iter()) {
        assert!(!hit.score.is_nan());
    }
}

/// One file of the golden database altered: an error or the right contents; behind checksums made right, anything but a
/// panic. Input: which file, how (bit 2: make the sums right), then as `altered` reads it.
pub fn database(bytes: &[u8]) {
    let [which, how, input @ ..] = bytes else { return };
    let (golden, contents) = &*GOLDEN;
    let vfs = golden.copy().expect("memory");
    let files = vfs.files();
    let path = &files[usize::from(*which) % files.len()];
    let original = vfs.read(path).expect("a file");
    let mut file = altered(&original, *how, input);
    let resealed = how & 4 != 0;
    if resealed && let Some(root) = reseal(&mut file) {
        let old = root_text(&original).unwrap_or_default();
        for manifest in files.iter().filter(|path| path.parent() == Some(Path::new(DATABASE))) {
            let bytes = vfs.read(manifest).expect("a file");
            let (head, body) = bytes.split_at(manifest_header::BYTES);
            let body = String::from_utf8_lossy(body).replace(&old, &layout::hex(&root));
            let mut bytes = [head, body.as_bytes()].concat();
            reseal(&mut bytes);
            vfs.write(manifest, &bytes).expect("memory");
        }
    }
    vfs.write(path, &file).expect("memory");
    let report = open(&vfs).and_then(|database| database.verify(Depth::Deep));
    let found = read_all(&vfs);
    if !resealed && how & 3 == XOR && report.is_ok_and(|report| report.is_clean()) {
        let found = found.unwrap_or_else(|error| panic!("{}: verified, but {error}", path.display()));
        assert_eq!(&found, contents, "{}: verified, but other contents", path.display());
    }
}

/// A short life of a collection against a map: each operation is a byte and its arguments.
pub fn operations(bytes: &[u8]) {
    const ROWS: usize = 3;
    let mut input = bytes.iter().copied().take(400);
    let vfs = Arc::new(MemoryVfs::default());
    let open = || Database::options().vfs(vfs.clone()).open("/model").expect("opening");
    let mut database = open();
    let mut collection =
        database.create_collection("c", Schema::new(1).metric(otolith::Metric::Dot)).expect("a collection");
    let mut model: BTreeMap<String, Vec<f32>> = BTreeMap::new();
    let mut has_view = false;
    while let Some(operation) = input.next() {
        let mut next = || input.next().unwrap_or(0);
        let id = format!("r{}", next() % 16);
        match operation % 6 {
            0 | 1 => {
                let count = usize::from(next()) % (ROWS + 1);
                let values: Vec<f32> = (0..count).map(|_| f32::from(next() as i8)).collect();
                let matrix = Matrix::from_rows(count, 1, values.clone()).expect("a matrix");
                collection.upsert([Record::new(&id, matrix)]).expect("an upsert");
                model.insert(id, values);
            }
            2 => {
                let deleted = collection.delete([id.clone()]).expect("a deletion");
                assert_eq!(deleted, u64::from(model.remove(&id).is_some()));
            }
            3 if has_view => {
                collection.drop_view("v").expect("a view to drop");
                has_view = false;
            }
            3 => {
                collection.create_view("v", &View::new([Step::Every { n: 2 }])).expect("a view");
                has_view = true;
            }
            4 => {
                drop((collection, database)); // releases the lock
                database = open();
                collection = database.collection("c").expect("the collection");
            }
            _ => compare(&collection, &model, f32::from(next() as i8), has_view),
        }
    }
    let whole = database.verify(Depth::Deep).expect("a report");
    assert!(whole.findings.is_empty(), "{whole:?}");
    let snapshot = collection.snapshot().expect("a snapshot");
    let found = snapshot.iter().map(|entry| entry.to_record().expect("a record"));
    let found: BTreeMap<_, _> = found.map(|r| (r.id.unwrap_or_default(), r.matrix.values().to_vec())).collect();
    assert_eq!(found, model);
}

/// One row and one dimension under dot product: a record's score is its best product.
fn compare(collection: &Collection, model: &BTreeMap<String, Vec<f32>>, query: f32, view: bool) {
    let row = Matrix::from_vector(vec![query]).expect("a query");
    let asked = collection.query(&row).k(5);
    let hits = if view { asked.view("v") } else { asked }.run().expect("hits");
    let step = if view { 2 } else { 1 };
    let best = |values: &Vec<f32>| values.iter().step_by(step).map(|x| f64::from(x * query)).reduce(f64::max);
    let scored = model.iter().filter_map(|(id, values)| Some((best(values)? + 0.0, id.as_str())));
    let mut expected: Vec<(f64, &str)> = scored.collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    expected.truncate(5);
    assert_eq!(hits.iter().map(|hit| (hit.score, hit.id.as_str())).collect::<Vec<_>>(), expected);
}

/// A sound file, read to its end: an error, or a summary that makes sense.
#[cfg(feature = "formats")]
pub fn audio(bytes: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    fs::write(file.path(), bytes).expect("a file");
    let Ok(summary) = otolith::audio::Reader::open(file.path(), 16_000).and_then(|reader| reader.finish()) else {
        return;
    };
    assert!(summary.frames > 0 && summary.channels > 0 && summary.seconds > 0.0, "{summary:?}");
}

/// One file of a checkpoint altered: an error or a model. Input: which file, how, then as `altered` reads it.
#[cfg(feature = "models")]
pub fn checkpoint(bytes: &[u8]) {
    use otolith::embed::wav2vec2::{Layer, Wav2Vec2};
    let [which, how, input @ ..] = bytes else { return };
    let (source, name) = [
        ("base_group_bf16", "config.json"),
        ("base_group_bf16", "model.safetensors"),
        ("hubert_base_bin", "pytorch_model.bin"),
        ("base_group_bf16", "preprocessor_config.json"),
    ][usize::from(which % 4)];
    let weights = if source == "hubert_base_bin" { "pytorch_model.bin" } else { "model.safetensors" };
    let source = data("wav2vec2").join(source);
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["config.json", "preprocessor_config.json", weights] {
        let original = fs::read(source.join(file)).expect("a file");
        let bytes = if file == name { altered(&original, *how, input) } else { original };
        fs::write(folder.path().join(file), bytes).expect("a file");
    }
    if let Ok(model) = Wav2Vec2::open(folder.path(), Layer::Features) {
        assert!(model.config().conv_dim() > 0);
    }
}
