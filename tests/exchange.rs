//! Data in and out, by the binary as a user runs it: every format gives back the bits it was given, files that are cut off
//! or lie are refused with the place, memory stays bounded, and what was imported before a failure stays.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{error, json, otolith, run, text};
use otolith::{Database, Matrix, Record, Schema};
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Everything in a collection: by id the fields, the rows and the bits of the values.
type Content = BTreeMap<String, (Value, usize, Vec<u32>)>;

fn content(db: &Path) -> Content {
    let db = Database::open_read_only(db).unwrap();
    let snapshot = db.collection("clips").unwrap().snapshot().unwrap();
    let read = snapshot.iter().map(|entry| {
        let (matrix, fields) = (entry.matrix().unwrap(), Value::Object((*entry.fields().unwrap()).clone()));
        let bits = matrix.view().values().iter().map(|value| value.to_bits()).collect();
        (entry.id().unwrap().to_owned(), (fields, matrix.view().rows(), bits))
    });
    read.collect()
}

fn without_fields(content: Content) -> Content {
    content.into_iter().map(|(id, (_, rows, bits))| (id, (Value::Object(Default::default()), rows, bits))).collect()
}

fn vector(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

fn vecs(dims: &[i32], values: &[u8]) -> Vec<u8> {
    let each = values.len() / dims.len();
    dims.iter().zip(values.chunks(each)).flat_map(|(dim, values)| [&dim.to_le_bytes()[..], values].concat()).collect()
}

fn bin(count: u32, dim: u32, values: &[u8]) -> Vec<u8> {
    [&count.to_le_bytes()[..], &dim.to_le_bytes(), values].concat()
}

fn npy(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    header.push_str(&" ".repeat(63 - (header.len() + 10) % 64));
    header.push('\n');
    [&b"\x93NUMPY\x01\x00"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), values].concat()
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        archive.start_file(*name, SimpleFileOptions::default().compression_method(CompressionMethod::Stored)).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and imports it into a database of its own; gives the one line of the refusal.
    fn refused(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.at(name), bytes).unwrap();
        let message = error(&["import", text(&self.at("none")), text(&self.at(name))], 1);
        assert!(message.contains(name), "{message} does not name {name}");
        assert!(!message.contains("panic"), "{message}");
        assert!(!self.at("none").exists(), "{name}: something was made of it");
        message
    }

    /// Writes a file, imports it, and gives what is in the database then, in the order of the file.
    fn imported(&self, name: &str, bytes: &[u8]) -> Vec<Vec<f32>> {
        fs::write(self.at(name), bytes).unwrap();
        let db = self.at(&format!("{name}.db"));
        json(&["import", text(&db), text(&self.at(name))]);
        let values = |(_, _, bits): (Value, usize, Vec<u32>)| bits.into_iter().map(f32::from_bits).collect();
        content(&db).into_values().map(values).collect()
    }
}

/// Finite values of every kind, subnormal and negative zero among them.
fn value() -> impl Strategy<Value = f32> {
    any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |value| value.is_finite())
}

/// Id, rows, values and a field of a record.
type Drawn = (String, usize, Vec<f32>, i64);

/// Records of one dimension, of equally many rows where `rows` is given.
fn records(rows: Option<usize>) -> impl Strategy<Value = (usize, Vec<Drawn>)> {
    (1_usize..7).prop_flat_map(move |dim| {
        let rows = rows.map_or((0_usize..5).boxed(), |rows| Just(rows).boxed());
        let matrix = rows.prop_flat_map(move |rows| (Just(rows), prop::collection::vec(value(), rows * dim)));
        let one = ("[^\\x00\\n\\r]{1,9}", matrix, any::<i64>());
        let record = one.prop_map(|(id, (rows, values), field)| (id, rows, values, field));
        (Just(dim), prop::collection::vec(record, 1..9))
    })
}

/// Exports to `target`, imports that, and compares.
fn survives(target: &str, dim: usize, records: Vec<Drawn>, keeps_fields: bool) {
    let folder = Folder::new();
    let (source, out, copy) = (folder.at("source"), folder.at(target), folder.at("copy"));
    let db = Database::open(&source).unwrap();
    let clips = db.create_collection("clips", Schema::new(dim)).unwrap();
    let record = |(id, rows, values, field): Drawn| {
        Record::new(id, Matrix::from_rows(rows, dim, values).unwrap()).field("n", field)
    };
    clips.upsert(records.into_iter().map(record)).unwrap();
    drop((clips, db));
    json(&["export", text(&source), text(&out)]);
    let ids = out.with_extension("ids.txt");
    let mut import = vec!["import", text(&copy), text(&out)];
    if ids.exists() {
        import.extend(["--ids", text(&ids)]);
    }
    json(&import);
    let expected = if keeps_fields { content(&source) } else { without_fields(content(&source)) };
    assert!(content(&copy) == expected, "{target}");
    let left = fs::read_dir(folder.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".partial")));
}

fn check<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>, test: impl Fn(T)) {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&strategy, |input| {
            test(input);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_directory_gives_back_every_bit_id_and_field() {
    check(records(None), |(dim, records)| survives("out", dim, records, true));
}

#[test]
fn an_npz_gives_back_every_bit_and_id() {
    check(records(None), |(dim, records)| survives("out.npz", dim, records, false));
}

#[test]
fn an_npy_gives_back_every_bit_and_id_of_equally_long_records() {
    for rows in [0, 1, 3] {
        check(records(Some(rows)), |(dim, records)| survives("out.npy", dim, records, false));
    }
}

#[test]
fn vectors_come_back_bit_by_bit_from_fvecs_and_fbin() {
    for target in ["out.fvecs", "out.fbin"] {
        check(records(Some(1)), |(dim, records)| survives(target, dim, records, false));
    }
}

#[test]
fn files_written_by_hand_are_read_as_their_formats_say() {
    let folder = Folder::new();
    let floats = [0.5, -0.0, 1e-40, 3.0, 4.25, -7.5];
    let expected = vec![floats[..3].to_vec(), floats[3..].to_vec()];
    let bytes = vector(floats);
    assert_eq!(folder.imported("a.fvecs", &vecs(&[3, 3], &bytes)), expected);
    assert_eq!(folder.imported("a.fbin", &bin(2, 3, &bytes)), expected);
    assert_eq!(folder.imported("a.npy", &npy("<f4", "(2, 3)", &bytes)), expected);
    let reversed: Vec<u8> = floats.iter().flat_map(|value| f64::from(*value).to_le_bytes().into_iter().rev()).collect();
    assert_eq!(folder.imported("b.npy", &npy(">f8", "(2, 3)", &reversed)), expected);
    assert_eq!(folder.imported("c.npy", &npy("<f2", "(1, 2)", &[0, 0x3c, 0, 0xc0])), [[1.0, -2.0]]);
    assert_eq!(folder.imported("d.npy", &npy("<f4", "(1, 2, 3)", &bytes)), [floats]);
    let bytes = [0, 1, 127, 128, 254, 255];
    let unsigned = vec![vec![0.0, 1.0, 127.0], vec![128.0, 254.0, 255.0]];
    let signed = vec![vec![0.0, 1.0, 127.0], vec![-128.0, -2.0, -1.0]];
    assert_eq!(folder.imported("a.bvecs", &vecs(&[3, 3], &bytes)), unsigned);
    assert_eq!(folder.imported("a.u8bin", &bin(2, 3, &bytes)), unsigned);
    assert_eq!(folder.imported("a.i8bin", &bin(2, 3, &bytes)), signed);
}

#[test]
fn an_npz_is_read_as_arrays_or_as_one_stack() {
    let folder = Folder::new();
    let array = npy("<f4", "(2, 2)", &vector([1.0, 2.0, 3.0, 4.0]));
    let stack = npy("<f4", "(2, 1, 2)", &vector([1.0, 2.0, 3.0, 4.0]));
    assert_eq!(folder.imported("one.npz", &npz(&[("a.npy", array.clone())])), [[1.0, 2.0, 3.0, 4.0]]);
    assert_eq!(folder.imported("stack.npz", &npz(&[("a.npy", stack)])), [[1.0, 2.0], [3.0, 4.0]]);
    // With ids, the rows of the only array are records.
    fs::write(folder.at("ids.txt"), "x\ny\n").unwrap();
    let [db, archive, ids] = ["db", "one.npz", "ids.txt"].map(|name| folder.at(name));
    assert_eq!(json(&["import", text(&db), text(&archive), "--ids", text(&ids)])["imported"], 2);
    assert_eq!(content(&db).into_keys().collect::<Vec<_>>(), ["x", "y"]);
    fs::write(&archive, npz(&[("a.npy", array.clone()), ("b.npy", array)])).unwrap();
    let message = error(&["import", text(&db), text(&archive), "--ids", text(&ids)], 1);
    assert!(message.contains("--ids") && message.contains("2 arrays"), "{message}");
}

/// The fixture is ours, by `tests/data/exchange/make.py`.
#[test]
fn a_compressed_npz_of_numpy_is_read() {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/exchange/compressed.npz")).unwrap();
    let folder = Folder::new();
    let quarters = (0..20).map(|n| n as f32 / 4.0).collect();
    let tenths = (0..8).map(|n| (f64::from(n) * 0.1) as f32).collect();
    let expected: [Vec<f32>; 3] = [vec![1e-3, -0.0, 7.25, 1e9], tenths, quarters];
    assert_eq!(folder.imported("compressed.npz", &bytes), expected);
    assert_eq!(
        content(&folder.at("compressed.npz.db")).into_keys().collect::<Vec<_>>(),
        ["big-endian", "dog/bär 1", "half"]
    );
    // No flipped bit changes a number or an id unseen.
    let good = content(&folder.at("compressed.npz.db"));
    let (mut caught, mut same) = (0, 0);
    for at in (0..bytes.len()).step_by(7) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let (file, db) = (folder.at("flipped.npz"), folder.at("flipped.db"));
        fs::write(&file, flipped).unwrap();
        let output = run(&["import", text(&db), text(&file)]);
        match output.status.code() {
            Some(0) => {
                let values = |content: Content| content.into_values().collect::<Vec<_>>();
                assert!(values(content(&db)).iter().all(|value| good.values().any(|one| one == value)), "byte {at}");
                same += 1;
            }
            Some(1) => caught += 1,
            other => panic!("byte {at}: {other:?}"),
        }
        let _ = fs::remove_dir_all(&db);
    }
    assert!(caught > same, "{caught} caught, {same} without effect");
}

#[test]
fn numpy_reads_what_is_exported_and_writes_what_is_imported() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_numpy = Command::new(&python).args(["-c", "import numpy"]).output();
    if !has_numpy.is_ok_and(|output| output.status.success()) {
        return eprintln!("SKIPPED: `{python}` with numpy is missing (the variable PYTHON names another)");
    }
    let folder = Folder::new();
    let program = "
import numpy, sys
arrays = {'a/ä': numpy.arange(12, dtype='f4').reshape(4, 3), 'b': numpy.ones((1, 3), 'f8') / 3}
if sys.argv[1] == 'make':
    numpy.savez_compressed('in.npz', **arrays)
else:
    found = numpy.load('out.npz')
    assert set(found.files) == set(arrays), found.files
    for name in arrays:
        assert numpy.array_equal(found[name], arrays[name].astype('f4')), name
    stack = numpy.load('out.npy')
    assert stack.shape == (2, 3) and stack.dtype == numpy.float32, stack
";
    let python = |step: &str| {
        let output = Command::new(&python).current_dir(folder.0.path()).args(["-c", program, step]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    python("make");
    let [input, db, out] = ["in.npz", "db", "out.npz"].map(|name| folder.at(name));
    json(&["import", text(&db), text(&input)]);
    json(&["export", text(&db), text(&out)]);
    folder.imported("v.fbin", &bin(2, 3, &vector([0.0; 6])));
    json(&["export", text(&folder.at("v.fbin.db")), text(&folder.at("out.npy"))]);
    python("check");
}

#[test]
fn files_that_are_cut_off_or_lie_are_refused_with_the_place() {
    let folder = Folder::new();
    let bytes = vector([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let says = |name: &str, bytes: &[u8], words: &[&str]| {
        let message = folder.refused(name, bytes);
        words.iter().for_each(|word| assert!(message.contains(word), "{message}: no {word:?}"));
    };
    says("empty.fvecs", &[], &["no vector"]);
    says("short.fvecs", &[3, 0], &["ends within vector 0"]);
    says("cut.fvecs", &vecs(&[3, 3], &bytes)[..31], &["31 bytes", "16 bytes each"]);
    says("tail.fvecs", &[&vecs(&[3, 3], &bytes)[..], &[0]].concat(), &["33 bytes"]);
    says("none.fvecs", &vecs(&[0, 0], &bytes), &["byte 0", "0 numbers"]);
    says("minus.bvecs", &vecs(&[-3, 3], &bytes), &["byte 0", "-3 numbers"]);
    says("mixed.bvecs", &vecs(&[12, 11], &bytes)[..], &["vector 1 at byte 16", "11 numbers", "12"]);
    says("short.fbin", &[1, 0, 0], &["3 bytes"]);
    says(
        "huge.fbin",
        &bin(u32::MAX, i32::MAX as u32, &bytes),
        &["4294967295 vectors of 2147483647", "36893488121649299468"],
    );
    says("cut.fbin", &bin(2, 3, &bytes[..23]), &["31 bytes", "take 32"]);
    says("tail.u8bin", &bin(4, 5, &bytes), &["32 bytes", "take 28"]);
    says("none.i8bin", &bin(0, 0, &[]), &["byte 4", "0 numbers"]);
    let nan = vector([1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0]);
    says("nan.fbin", &bin(2, 3, &nan), &["vector 1 at byte 20", "column 1 is NaN"]);
    says("nan.npy", &npy("<f4", "(1, 2, 3)", &nan), &["row 1, column 1 is NaN"]);
    says("text.npy", b"what is this, then?", &["no .npy array"]);
    says("cut.npy", &npy("<f4", "(2, 3)", &bytes)[..80], &["ends in its header"]);
    says("short.npy", &npy("<f4", "(2, 3)", &bytes[..20]), &["148 bytes", "takes 152"]);
    says("tail.npy", &npy("<f4", "(2, 3)", &[&bytes[..], &bytes].concat()), &["takes 152"]);
    says("huge.npy", &npy("<f4", "(4611686018427387904, 4611686018427387904)", &bytes), &["larger than any file"]);
    says("many.npy", &npy("<f4", "(1152921504606846, 0, 3)", &[]), &["--ids"]);
    says("deep.npy", &npy("<f4", &"(".repeat(9_000), &bytes), &["header"]);
    says("long.npy", &[&b"\x93NUMPY\x02\x00\xff\xff\xff\xff"[..], &bytes].concat(), &["header is too long"]);
    says("ints.npy", &npy("<i4", "(2, 3)", &bytes), &["<i4", "floats"]);
    says("flat.npy", &npy("<f4", "(6,)", &bytes), &["1 axes"]);
    let array = || npy("<f4", "(2, 3)", &bytes);
    says("text.npz", b"PK, but no more", &["no .npz archive"]);
    says("none.npz", &npz(&[]), &["no array"]);
    says("cut.npz", &npz(&[("a.npy", array())])[..200], &["no .npz archive"]);
    says("other.npz", &npz(&[("a.txt", array())]), &["a.txt", ".npy"]);
    says("flat.npz", &npz(&[("a.npy", npy("<f4", "(1, 1, 2, 3)", &bytes))]), &["array `a`", "4 axes"]);
    let mut damaged = npz(&[("a.npy", array())]);
    let value = damaged.windows(24).position(|window| window == bytes).unwrap();
    damaged[value] ^= 1;
    says("damaged.npz", &damaged, &["array `a`", "CRC-32"]);
    says("vectors.csv", b"1,2,3", &[".npy", ".fvecs"]);
}

#[test]
fn a_directory_that_lies_is_refused_with_file_and_line() {
    let folder = Folder::new();
    let dir = folder.at("dir");
    fs::create_dir(&dir).unwrap();
    let import = || error(&["import", text(&folder.at("none")), text(&dir)], 1);
    assert!(import().contains("no .npy file"));
    fs::write(dir.join("a.npy"), npy("<f4", "(1, 2)", &vector([1.0, 2.0]))).unwrap();
    fs::write(dir.join("records.jsonl.partial"), "").unwrap();
    assert!(import().contains("cut off"));
    let table = |lines: &str| {
        fs::write(dir.join("records.jsonl"), lines).unwrap();
        import()
    };
    assert!(table("\n\n").contains("no line"));
    assert!(table("{\"id\": \"x\", \"file\": \"a.npy\"}\n{\n").contains("records.jsonl: line 2"));
    assert!(table("{\"id\": 7, \"file\": \"a.npy\"}").contains("no text `id`"));
    assert!(table("{\"id\": \"x\", \"file\": \"a.npy\", \"fields\": 3}").contains("`fields`"));
    let twice = table("{\"id\": \"x\", \"file\": \"a.npy\"}\n\n{\"id\": \"x\", \"file\": \"a.npy\"}\n");
    assert!(twice.contains("line 3") && twice.contains("\"x\""), "{twice}");
    assert!(table("{\"id\": \"x\", \"file\": \"b.npy\"}").contains("b.npy"));
    fs::write(folder.at("ids.txt"), "x\n").unwrap();
    let message = error(&["import", text(&folder.at("none")), text(&dir), "--ids", text(&folder.at("ids.txt"))], 1);
    assert!(message.contains("--ids"), "{message}");
    assert!(!folder.at("none").exists());
}

#[test]
fn a_second_import_must_fit_the_collection_and_replaces_what_has_ids() {
    let folder = Folder::new();
    let [db, wide, ids] = ["a.fbin.db", "b.fbin", "ids.txt"].map(|name| folder.at(name));
    folder.imported("a.fbin", &bin(2, 3, &vector([0.5; 6])));
    fs::write(&wide, bin(1, 6, &vector([0.5; 6]))).unwrap();
    let message = error(&["import", text(&db), text(&wide)], 1);
    assert!(message.contains("b.fbin") && message.contains('3') && message.contains("found 6"), "{message}");
    fs::write(&ids, "x\ny\n").unwrap();
    let import = ["import", text(&db), text(&folder.at("a.fbin")), "--ids", text(&ids)].map(str::to_owned);
    for expected in [4, 4] {
        json(&import.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(content(&db).len(), expected);
    }
}

#[test]
fn what_was_imported_before_a_failure_stays_and_is_counted() {
    let folder = Folder::new();
    // Batches are of 32 MiB: two of them and a bit, then a number that is none.
    let (count, dim) = (20_000, 1_024);
    let mut bytes = bin(count, dim, &vec![0; (count * dim) as usize * 4]);
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let [file, db, other] = ["late.fbin", "db", "other"].map(|name| folder.at(name));
    fs::write(&file, bytes).unwrap();
    let message = error(&["import", text(&db), text(&file)], 1);
    let stayed = content(&db).len();
    assert!(stayed > 10_000 && stayed < 20_000, "{stayed}");
    assert!(message.contains("vector 19999 at byte"), "{message}");
    assert!(message.contains(&format!("({stayed} of 20000 records were imported before and stay)")), "{message}");
    let output = otolith().args(["import", text(&other), text(&file), "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["imported"], stayed);
    assert!(document["error"].as_str().unwrap().contains("vector 19999"), "{document}");
}

#[test]
fn what_does_not_fit_a_format_is_refused_before_anything_is_written() {
    let folder = Folder::new();
    let db = folder.at("db");
    let handle = Database::open(&db).unwrap();
    let clips = handle.create_collection("clips", Schema::new(2)).unwrap();
    let put = |id: &str, rows: usize| {
        clips.upsert([Record::new(id, Matrix::from_rows(rows, 2, vec![1.0; 2 * rows]).unwrap())])
    };
    put("a", 2).unwrap();
    let refused = |target: &str| {
        let before = fs::read_dir(folder.0.path()).unwrap().count();
        let message = error(&["export", text(&db), text(&folder.at(target))], 1);
        assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), before, "{target}");
        message
    };
    assert!(refused("a.fvecs").contains("2 rows"));
    assert!(refused("a.fbin").contains("2 rows"));
    assert!(refused("a.bvecs").contains("not written"));
    put("b", 1).unwrap();
    assert!(refused("a.npy").contains("record `b`"));
    put("c\nd", 1).unwrap();
    clips.delete(["a"]).unwrap();
    assert!(refused("a.npy").contains("line break"));
    put("e\0f", 1).unwrap();
    assert!(refused("a.npz").contains("directory"));
    json(&["export", text(&db), text(&folder.at("all"))]);
    json(&["import", text(&folder.at("copy")), text(&folder.at("all"))]);
    assert_eq!(content(&folder.at("copy")), content(&db));
}

/// The bound that `import --help` states, with room for the store: the limit of data is far below the size of the file.
#[cfg(target_os = "linux")]
#[test]
fn a_file_larger_than_memory_goes_in_and_out() {
    const FILE_BYTES: u64 = 384 << 20;
    const IMPORT_KIB: u64 = 256 << 10;
    const EXPORT_KIB: u64 = 64 << 10;
    let folder = Folder::new();
    let [file, db, out] = ["large.fbin", "db", "out.fbin"].map(|name| folder.at(name));
    let count = FILE_BYTES as u32 / 2_048;
    fs::write(&file, bin(count, 512, &[])).unwrap();
    fs::OpenOptions::new().append(true).open(&file).unwrap().set_len(8 + FILE_BYTES).unwrap();
    let limited = |kib: u64, args: &[&str]| {
        let limit = format!("ulimit -d {kib} && exec \"$@\"");
        let binary = env!("CARGO_BIN_EXE_otolith");
        let output = Command::new("sh").args(["-c", &limit, "sh", binary]).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    limited(IMPORT_KIB, &["import", text(&db), text(&file), "--precision", "f16", "--threads", "2"]);
    limited(EXPORT_KIB, &["export", text(&db), text(&out), "--threads", "2"]);
    assert_eq!(fs::metadata(&out).unwrap().len(), 8 + FILE_BYTES);
    println!("figure import_data_limit = {} MiB for a file of {} MiB", IMPORT_KIB >> 10, FILE_BYTES >> 20);
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_rows_become_records_with_fields() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/exchange/table.parquet");
    let folder = Folder::new();
    let import = |db: &str, extra: &[&str]| {
        let db = folder.at(db);
        let imported = json(&[&["import", text(&db), text(&fixture)], extra].concat())["imported"].clone();
        assert_eq!(imported, 3);
        content(&db)
    };
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let found = import("a", &["--id-column", "name"]);
    let expected = [
        ("a", serde_json::json!({"good": true, "seconds": 1.5, "take": 1}), 2, bits(&[0.5, -0.0, 1.0, 2.0])),
        ("b", serde_json::json!({"good": false, "take": 2}), 1, bits(&[3.0, 4.0])),
        ("ü", serde_json::json!({"take": 3}), 3, bits(&[5.0, 6.0, 7.0, 8.0, 9.0, 10.0])),
    ];
    let expected = expected.map(|(id, fields, rows, bits)| (id.to_owned(), (fields, rows, bits)));
    assert_eq!(found, Content::from(expected));
    let means = import("b", &["--id-column", "take", "--column", "mean"]);
    assert_eq!((&means["1"].2, &means["1"].0["name"]), (&bits(&[0.75, 1.0]), &"a".into()));
    let halves: Vec<_> = import("c", &["--column", "half"]).into_values().map(|(_, _, bits)| bits).collect();
    assert_eq!(halves, [0.25, 0.5, 1.0].map(|value| bits(&[value])));
    let refused = |extra: &[&str]| error(&[&["import", text(&folder.at("none")), text(&fixture)], extra].concat(), 1);
    assert!(refused(&["--column", "text"]).contains("no number"));
    assert!(refused(&["--column", "name"]).contains("no list"));
    assert!(refused(&["--column", "nowhere"]).contains("`frames`"));
    assert!(refused(&["--id-column", "good"]).contains("no id"));
    assert!(!folder.at("none").exists());
}

#[cfg(feature = "parquet")]
#[test]
fn no_damage_to_a_parquet_file_is_a_panic() {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/exchange/table.parquet")).unwrap();
    let folder = Folder::new();
    let (file, db) = (folder.at("damaged.parquet"), folder.at("db"));
    let try_import = |damaged: &[u8], what: &dyn Fn() -> String| {
        fs::write(&file, damaged).unwrap();
        let output = run(&["import", text(&db), text(&file)]);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 1)), "{}: {code:?} {}", what(), String::from_utf8_lossy(&output.stderr));
        let _ = fs::remove_dir_all(&db);
    };
    // At the first five of these the decoder would panic.
    for at in [12, 350, 1542, 1888, 2096].into_iter().chain((0..bytes.len()).step_by(31)) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at * 7 % 8);
        try_import(&damaged, &|| format!("byte {at} flipped"));
    }
    for length in (0..bytes.len()).step_by(97) {
        try_import(&bytes[..length], &|| format!("cut to {length} bytes"));
    }
}
