//! Data in and out, by the binary as a user runs it: every format gives back the bits it was given, files that are cut
//! off or lie are refused with the place, memory stays bounded, and what was imported before a failure stays.
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

/// Under all of a file's name and more.
fn beside(path: &Path, more: &str) -> PathBuf {
    PathBuf::from(format!("{}{more}", text(path)))
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
fn survives(target: &str, dim: usize, records: Vec<Drawn>, keeps_fields: bool) -> Folder {
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
    let ids = beside(&out, ".ids.txt");
    let mut import = vec!["import", text(&copy), text(&out)];
    if ids.exists() {
        import.extend(["--ids", text(&ids)]);
    }
    json(&import);
    let expected = if keeps_fields { content(&source) } else { without_fields(content(&source)) };
    assert!(content(&copy) == expected, "{target}");
    let left = fs::read_dir(folder.0.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(left.into_iter().all(|name| !name.to_string_lossy().ends_with(".partial")));
    folder
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
    check(records(None), |(dim, records)| drop(survives("out", dim, records, true)));
}

#[test]
fn an_npz_gives_back_every_bit_and_id() {
    check(records(None), |(dim, records)| drop(survives("out.npz", dim, records, false)));
    // Ids that are no names of files, or the same one where small letters are capitals.
    let ids = [
        "../x",
        "/etc/x",
        "a//b",
        "..",
        "a\\b",
        "NUL",
        "com1.x",
        "A",
        "a",
        "x\ny",
        "e\0f",
        "z/",
        "record-00000001",
        "dog/b.wav",
    ];
    let long = "long".repeat(200);
    let record = |id: &str| (id.to_owned(), 1, vec![id.len() as f32, 2.0], 3);
    let folder = survives("out.npz", 2, ids.into_iter().chain([long.as_str()]).map(record).collect(), false);
    let archive = zip::ZipArchive::new(fs::File::open(folder.at("out.npz")).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    let mut lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    lower.sort();
    lower.dedup();
    assert_eq!(lower.len(), names.len());
    assert!(names.iter().any(|name| name == "dog/b.wav.npy") && names.iter().any(|name| name == "records.jsonl"));
    for name in names {
        let path = Path::new(&name);
        assert!(name.len() < 256 && !name.contains(['\\', ':']) && !name.chars().any(char::is_control), "{name:?}");
        assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{name:?}");
    }
}

#[test]
fn an_npy_gives_back_every_bit_and_id_of_equally_long_records() {
    for rows in [0, 1, 3] {
        check(records(Some(rows)), |(dim, records)| drop(survives("out.npy", dim, records, false)));
    }
}

#[test]
fn vectors_come_back_bit_by_bit_from_fvecs_and_fbin() {
    for target in ["out.fvecs", "out.fbin"] {
        check(records(Some(1)), |(dim, records)| drop(survives(target, dim, records, false)));
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
    // What numpy reads and does not write: lengths of Python 2, other names of the types.
    for (at, descr) in ["<f4", "=f4", "|f4", "f4", "f", "float32", "single"].into_iter().enumerate() {
        assert_eq!(folder.imported(&format!("n{at}.npy"), &npy(descr, "(2L, 3L)", &bytes)), expected, "{descr}");
    }
    let doubled =
        npy("float64", "(2, 3)", &[]).into_iter().chain(reversed.chunks(8).flat_map(|of| of.iter().rev().copied()));
    assert_eq!(folder.imported("e.npy", &doubled.collect::<Vec<u8>>()), expected);
    for (at, descr) in ["?", "|b1", "bool"].into_iter().enumerate() {
        assert_eq!(
            folder.imported(&format!("t{at}.npy"), &npy(descr, "(1, 3)", &[0, 1, 7])),
            [[0.0, 1.0, 1.0]],
            "{descr}"
        );
    }
    assert_eq!(folder.imported("h.npy", &npy(">h", "(1L, 2)", &[1, 0, 0xff, 0xff])), [[256.0, -1.0]]);
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

#[test]
fn what_programs_for_archives_add_by_themselves_is_left_out_and_told() {
    let folder = Folder::new();
    let array = npy("<f4", "(1, 2)", &vector([1.0, 2.0]));
    let entries = [
        ("__MACOSX/._a.npy", vec![0, 5, 22, 7]),
        ("frames/", Vec::new()),
        ("frames/a.npy", array),
        ("frames/.DS_Store", vec![0; 9]),
    ];
    fs::write(folder.at("mac.npz"), npz(&entries)).unwrap();
    let output = run(&["import", text(&folder.at("db")), text(&folder.at("mac.npz"))]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.contains("3 entries left out"), "{stderr}");
    assert_eq!(content(&folder.at("db")).into_keys().collect::<Vec<_>>(), ["frames/a"]);
    assert!(folder.refused("other.npz", &npz(&[("notes.txt", Vec::new())])).contains("is no array"));
}

/// The fixture is ours, by `tests/data/exchange/make.py`.
#[test]
fn a_compressed_npz_of_numpy_is_read() {
    let bytes =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/exchange/compressed.npz")).unwrap();
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

/// The arrays of `tests/data/exchange/arrays.zip`, which numpy wrote, by `make_arrays.py` there.
fn arrays_of_numpy() -> BTreeMap<String, Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/exchange/arrays.zip");
    let mut archive = zip::ZipArchive::new(fs::File::open(file).unwrap()).unwrap();
    let mut files = BTreeMap::new();
    for number in 0..archive.len() {
        let mut entry = archive.by_index(number).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        files.insert(entry.name().unwrap().into_owned(), bytes);
    }
    files
}

#[test]
fn arrays_of_every_type_and_order_are_what_numpy_makes_of_them() {
    let (folder, files) = (Folder::new(), arrays_of_numpy());
    let mut compared = 0;
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".f32")) {
        let name = name.replace(".f32", ".npy");
        let found = folder.imported(&name, &files[&name]).concat();
        let expected: Vec<f32> = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        assert_eq!(found, expected, "{name}");
        let records = content(&folder.at(&format!("{name}.db"))).len();
        assert_eq!(
            records,
            if name.contains("-2-") {
                7
            } else if name.contains("-3-") {
                4
            } else {
                records
            },
            "{name}"
        );
        compared += 1;
    }
    assert!(compared > 80, "{compared}");
    println!("figure arrays_equal_to_numpy = {compared} arrays");
}

#[test]
fn an_array_of_ids_beside_another_names_its_records() {
    let (folder, files) = (Folder::new(), arrays_of_numpy());
    let ids = |name: &str| {
        folder.imported(name, &files[name]);
        content(&folder.at(&format!("{name}.db")))
            .into_iter()
            .map(|(id, (_, rows, bits))| (id, rows, f32::from_bits(bits[0])))
            .collect::<Vec<_>>()
    };
    let found = |list: &[(&str, f32)]| list.iter().map(|(id, first)| (id.to_string(), 1, *first)).collect::<Vec<_>>();
    assert_eq!(ids("integers.npz"), found(&[("-3", 0.0), ("0", 3.0), ("1099511627776", 6.0), ("7", 9.0)]));
    assert_eq!(ids("text.npz"), found(&[("a", 0.0), ("bär", 3.0), ("😀", 6.0)]));
    assert_eq!(ids("bytes.npz"), found(&[("a", 0.0), ("bb", 3.0), ("ccc", 6.0), ("d", 9.0)]));
    // Two arrays of two axes are two records.
    assert_eq!(
        ids("columns.npz").iter().map(|(id, rows, _)| (id.as_str(), *rows)).collect::<Vec<_>>(),
        [("a", 4), ("b", 4)]
    );
    for (name, words) in [
        ("twice.npz", "ids 0 and 2 are both \"a\""),
        ("fewer.npz", "expected 4 ids, one a record of the other array, found 2"),
        ("fields.npz", "array `ids`"),
        ("objects.npz", "pickled"),
        ("refused-object.npy", "astype('float32')"),
        ("refused-complex.npy", "<c8"),
        ("refused-structured.npy", "floats of 2, 4 or 8 bytes"),
        ("refused-text.npy", "holds text"),
        ("refused-date.npy", "<M8"),
        ("refused-beyond.npy", "row 1, column 1 is 1e39, and `f32` ends at 3.4e38"),
        ("refused-beyond-columns.npy", "row 2, column 1 is -1e300"),
        ("refused-nan-half.npy", "row 1, column 0 is NaN"),
    ] {
        let message = folder.refused(name, &files[name]);
        assert!(message.contains(words), "{message}: no {words:?}");
    }
}

#[test]
fn an_array_by_columns_is_read_block_by_block() {
    // Some three blocks of 32 MiB, the last one short.
    let (rows, dim) = (20_001_u32, 1_024_u32);
    let value = |row: u32, column: u32| (row * 7 + column) as f32;
    let by_columns = vector((0..dim).flat_map(|column| (0..rows).map(move |row| value(row, column))));
    let array = npy("<f4", &format!("({rows}, {dim})"), &by_columns);
    let at = array.windows(5).position(|window| window == b"False").unwrap();
    let array = [&array[..at], b"True ", &array[at + 5..]].concat();
    let folder = Folder::new();
    let found = folder.imported("columns.npy", &array);
    assert_eq!(found.len(), rows as usize);
    for (row, found) in (0..).zip(found) {
        assert!((0..).zip(found).all(|(column, found)| found == value(row, column)), "row {row}");
    }
}

#[test]
fn an_ending_in_capitals_is_the_same_ending() {
    let folder = Folder::new();
    let bytes = vector([1.0, 2.0]);
    assert_eq!(folder.imported("a.NPY", &npy("<f4", "(1, 2)", &bytes)), [[1.0, 2.0]]);
    assert_eq!(folder.imported("a.Fvecs", &vecs(&[2], &bytes)), [[1.0, 2.0]]);
    json(&["export", text(&folder.at("a.NPY.db")), text(&folder.at("b.NPZ"))]);
    assert!(folder.at("b.NPZ").is_file());
    assert_eq!(folder.imported("flat.npy", &npy("<f4", "(2,)", &bytes)), [[1.0, 2.0]]);
}

#[test]
fn ids_are_those_of_the_file_they_lie_beside() {
    let folder = Folder::new();
    let array = |name: &str, ids: &str, db: &str| {
        fs::write(folder.at(name), npy("<f4", "(2, 2)", &vector([1.0, 2.0, 3.0, 4.0]))).unwrap();
        fs::write(folder.at("ids.txt"), ids).unwrap();
        json(&["import", text(&folder.at(db)), text(&folder.at(name)), "--ids", text(&folder.at("ids.txt"))]);
        content(&folder.at(db)).into_keys().collect::<Vec<_>>()
    };
    assert_eq!(array("a.npy", "\u{feff}a0\r\na 1 \r\n", "one"), ["a 1 ", "a0"]);
    assert_eq!(array("a.npy", "b0\nb1", "two"), ["b0", "b1"]);
    json(&["export", text(&folder.at("one")), text(&folder.at("v.npy"))]);
    json(&["export", text(&folder.at("two")), text(&folder.at("v.fvecs"))]);
    // Under the name that both once had, the ids are found that lie beside the file.
    let old_name = folder.at("v.ids.txt");
    json(&["import", text(&folder.at("again")), text(&folder.at("v.npy")), "--ids", text(&old_name)]);
    assert_eq!(content(&folder.at("again")), content(&folder.at("one")));
    let output = run(&["import", text(&folder.at("numbered")), text(&folder.at("v.fvecs"))]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("v.fvecs.ids.txt lies beside it"), "{output:?}");
    let import = ["import", text(&folder.at("none")), text(&folder.at("a.npy")), "--ids", text(&folder.at("ids.txt"))]
        .map(str::to_owned);
    let refused = |ids: &[u8]| {
        fs::write(folder.at("ids.txt"), ids).unwrap();
        let message = error(&import.iter().map(String::as_str).collect::<Vec<_>>(), 1);
        assert!(!folder.at("none").exists(), "{message}");
        message
    };
    assert!(refused(b"a\n\n").contains("line 2: empty"));
    assert!(refused(b"a\na\n").contains("line 2: the id \"a\" stands on two lines, on line 1 too"));
    assert!(refused(b"a\n").contains("expected 2 lines"));
    assert!(refused(b"a\nb\nc\n").contains("expected 2 lines"));
    assert!(refused(b"a\n\xff\n").contains("line 2: no UTF-8"));
    assert!(refused(&[b"a\n".to_vec(), vec![b'x'; 5_000]].concat()).contains("line 2: longer than 1024"));
}

#[test]
fn a_number_that_means_another_record_replaces_none_without_a_word() {
    let folder = Folder::new();
    let [one, two, out] = ["one", "two", "out"].map(|name| folder.at(name));
    for (db, from) in [(&one, 1.0), (&two, 100.0)] {
        let file = beside(db, ".fbin");
        fs::write(&file, bin(20, 1, &vector((0..20).map(|n| from + n as f32)))).unwrap();
        json(&["import", text(db), text(&file)]);
    }
    json(&["export", text(&two), text(&out)]);
    let before = content(&one);
    let import = ["import", text(&one), text(&out)];
    let message = error(&import, 1);
    assert!(message.contains("record `0000000000000000000") && message.contains("--renumber"), "{message}");
    assert_eq!(content(&one), before);
    // What is there already may come again.
    let again = json(&["import", text(&two), text(&out)]);
    assert_eq!((&again["added"], &again["replaced"]), (&0.into(), &20.into()));
    let renumbered = json(&[&import[..], &["--renumber"]].concat());
    assert_eq!((&renumbered["added"], &renumbered["replaced"], content(&one).len()), (&20.into(), &0.into(), 40));
    let replaced = json(&[&import[..], &["--replace"]].concat());
    assert_eq!((&replaced["added"], &replaced["replaced"], content(&one).len()), (&0.into(), &20.into(), 40));
    let shown = run(&[&import[..], &["--replace"]].concat());
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "20 imported: 0 added, 20 replaced\n");
    assert!(error(&[&import[..], &["--metric", "l2"]].concat(), 1).contains("cosine"));
}

/// Limited in address space, so that memory asked for too soon is an abort and no error.
#[cfg(target_os = "linux")]
#[test]
fn no_file_takes_more_memory_or_disk_than_it_has_bytes() {
    let folder = Folder::new();
    let refused = |name: &str, words: &str| {
        let (file, db) = (folder.at(name), folder.at("none"));
        let arguments = ["import", text(&db), text(&file), "--threads", "1"];
        let limited = "ulimit -v 2000000 && exec \"$@\"";
        let output =
            Command::new("sh").args(["-c", limited, "sh", env!("CARGO_BIN_EXE_otolith")]).args(arguments).output();
        let output = output.unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {stderr}");
        assert!(stderr.contains(words), "{stderr}: no {words:?}");
        assert!(!db.exists(), "{name}");
    };
    let sparse = |name: &str, head: &[u8], length: u64| {
        fs::write(folder.at(name), head).unwrap();
        fs::OpenOptions::new().append(true).open(folder.at(name)).unwrap().set_len(length).unwrap();
    };
    sparse("wide.npy", &npy("<f4", "(1, 10000000000)", &[]), 128 + 40_000_000_000);
    refused("wide.npy", "rows of 10000000000 numbers");
    sparse("large.npy", &npy("<f4", "(2, 900000000)", &[]), 128 + 7_200_000_000);
    refused("large.npy", "no memory for a record");
    sparse("columns.npy", &npy("<f4", "(2, 900000000)", &[]), 128 + 7_200_000_000);
    sparse("wide.fvecs", &i32::MAX.to_le_bytes(), 4 + 4 * i32::MAX as u64);
    refused("wide.fvecs", "at most 1073741824");
    sparse("large.fbin", &bin(1, 800_000_000, &[]), 8 + 3_200_000_000);
    refused("large.fbin", "no memory");
    // Many names of one array, and few bytes that say to be many.
    let zeros = npy("<f4", "(1000, 1000)", &vec![0; 4_000_000]);
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file("00000.npy", SimpleFileOptions::default()).unwrap();
    archive.write_all(&zeros).unwrap();
    let one = archive.finish().unwrap().into_inner();
    let directory = one.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let end = one.windows(4).position(|window| window == b"PK\x05\x06").unwrap();
    let mut many = one[..directory].to_vec();
    for number in 0..300 {
        let mut entry = one[directory..end].to_vec();
        entry[46..51].copy_from_slice(format!("{number:05}").as_bytes());
        many.extend(entry);
    }
    let length = (many.len() - directory) as u32;
    let mut tail = one[end..].to_vec();
    tail[8..10].copy_from_slice(&300_u16.to_le_bytes());
    tail[10..12].copy_from_slice(&300_u16.to_le_bytes());
    tail[12..16].copy_from_slice(&length.to_le_bytes());
    fs::write(folder.at("overlap.npz"), [many, tail].concat()).unwrap();
    refused("overlap.npz", "share the same bytes");
    let mut lies = one.clone();
    lies[directory + 24..directory + 28].copy_from_slice(&4_000_000_000_u32.to_le_bytes());
    fs::write(folder.at("ratio.npz"), &lies).unwrap();
    refused("ratio.npz", "made to fill disks");
    let mut lies = npz(&[("a.npy", npy("<f4", "(200000000, 1)", &[0; 64]))]);
    let directory = lies.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    lies[directory + 24..directory + 28].copy_from_slice(&800_000_128_u32.to_le_bytes());
    fs::write(folder.at("lies.npz"), &lies).unwrap();
    refused("lies.npz", "array `a`");
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_read_and_in_a_directory_only_what_lies_in_it() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    let dir = folder.at("dir");
    fs::create_dir(&dir).unwrap();
    let array = npy("<f4", "(1, 2)", &vector([1.0, 2.0]));
    fs::write(folder.at("out.npy"), &array).unwrap();
    fs::write(dir.join("in.npy"), &array).unwrap();
    symlink("../out.npy", dir.join("link")).unwrap();
    symlink("in.npy", dir.join("within")).unwrap();
    assert!(Command::new("mkfifo").arg(dir.join("pipe")).status().unwrap().success());
    let import = |file: &str| {
        let line = serde_json::json!({"id": "a", "file": "in.npy"}).to_string();
        let second = serde_json::json!({"id": "b", "file": file}).to_string();
        fs::write(dir.join("records.jsonl"), format!("{line}\n{second}\n")).unwrap();
        run(&["import", text(&folder.at("db")), text(&dir)])
    };
    for (file, words) in [
        ("../out.npy", "leads out"),
        ("x/../../out.npy", "leads out"),
        (text(&folder.at("out.npy")), "leads out"),
        ("/dev/zero", "leads out"),
        ("link", "link out"),
        ("pipe", "not a regular file"),
        ("missing.npy", "missing.npy"),
        ("in.npy\0", "line 2"),
    ] {
        let output = import(file);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("records.jsonl: line 2") && stderr.contains(words), "{file}: {stderr}");
        assert_eq!(output.status.code(), Some(1));
    }
    assert_eq!(import("./within").status.code(), Some(0));
    fs::remove_file(dir.join("records.jsonl")).unwrap();
    symlink("../out.npy", dir.join("linked.npy")).unwrap();
    assert!(error(&["import", text(&folder.at("db")), text(&dir)], 1).contains("link out"));
    // What is named by hand may be a link, and must be a file.
    symlink("out.npy", folder.at("named.npy")).unwrap();
    json(&["import", text(&folder.at("db")), text(&folder.at("named.npy"))]);
    assert!(Command::new("mkfifo").arg(folder.at("pipe.npy")).status().unwrap().success());
    symlink("/dev/zero", folder.at("zero.npz")).unwrap();
    for name in ["pipe.npy", "zero.npz"] {
        assert!(error(&["import", text(&folder.at("db")), text(&folder.at(name))], 1).contains("not a regular file"));
    }
    let ids = ["import", text(&folder.at("db")), text(&folder.at("out.npy")), "--ids", text(&folder.at("pipe.npy"))]
        .map(str::to_owned);
    assert!(error(&ids.iter().map(String::as_str).collect::<Vec<_>>(), 1).contains("not a regular file"));
}

#[test]
fn a_table_is_read_as_others_write_it_and_nothing_in_it_is_guessed() {
    let folder = Folder::new();
    let dir = folder.at("dir");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.npy"), npy("<f4", "(1, 2)", &vector([1.0, 2.0]))).unwrap();
    let line = |more: &str| format!("{{\"id\": \"x\", \"file\": \"a.npy\"{more}}}\r\n");
    let import = |bytes: &[u8]| {
        fs::write(dir.join("records.jsonl"), bytes).unwrap();
        run(&["import", text(&folder.at("db")), text(&dir)])
    };
    let good =
        format!("\u{feff}{}\r\n", line(", \"fields\": {\"n\": -0, \"big\": 18446744073709551615, \"f\": 1.5e300}"));
    let output = import(good.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(content(&folder.at("db"))["x"].0["big"], u64::MAX);
    let refused = |bytes: &[u8], words: &str| {
        let output = import(bytes);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("records.jsonl: line 1") && stderr.contains(words), "{stderr}: no {words:?}");
    };
    refused(line(", \"id\": \"y\"").as_bytes(), "`id` stands there twice");
    refused(line(", \"fields\": {\"a\": 1, \"a\": 2}").as_bytes(), "`a` stands there twice");
    refused(
        line(", \"fields\": {\"big\": 18446744073709551617}").as_bytes(),
        "`big`: 18446744073709551617 is an integer beyond 64 bits",
    );
    refused(line(", \"fields\": {\"big\": -9223372036854775809}").as_bytes(), "beyond 64 bits");
    refused(line(", \"fields\": {\"big\": 1e400}").as_bytes(), "out of range");
    refused(line(", \"fields\": {\"tags\": [1]}").as_bytes(), "field `tags`");
    refused(b"{\"id\": \"\xff\", \"file\": \"a.npy\"}\n", "no UTF-8");
    refused(b"{\"id\": \"\0\", \"file\": \"a.npy\"}\n", "control character");
    refused(b"{\"id\": \"\", \"file\": \"a.npy\"}\n", "0 bytes long");
    refused(format!("{{\"id\": \"{}\", \"file\": \"a.npy\"}}", "x".repeat(2_000)).as_bytes(), "2000 bytes long");
}

#[test]
fn an_export_writes_where_nothing_is_and_says_what_it_replaces() {
    let folder = Folder::new();
    folder.imported("a.fbin", &bin(2, 3, &vector([0.5; 6])));
    let db = folder.at("a.fbin.db");
    let files = || {
        let mut names: Vec<_> = fs::read_dir(&db).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = files();
    for out in [db.clone(), db.join("new"), db.join("seg/x.npz"), db.join("v.npy")] {
        let message = error(&["export", text(&db), text(&out)], 1);
        assert!(message.contains("lies in the database") || message.contains("not empty"), "{message}");
    }
    let record = json(&["list", text(&db)])["records"][0]["id"].as_str().unwrap().to_owned();
    assert!(error(&["get", text(&db), &record, "--out", text(&db.join("x.npy"))], 1).contains("lies in the database"));
    assert_eq!(files(), before);
    let dir = folder.at("dir");
    fs::create_dir(&dir).unwrap();
    json(&["export", text(&db), text(&dir)]);
    assert!(error(&["export", text(&db), text(&dir)], 1).contains("not empty"));
    json(&["export", text(&db), text(&folder.at("v.npy"))]);
    let output = run(&["export", text(&db), text(&folder.at("v.npy"))]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("v.npy: replaced") && stderr.contains("v.npy.ids.txt: replaced"), "{stderr}");
    // A link that somebody has laid is not followed.
    #[cfg(unix)]
    for name in ["w.npy", "w.npy.partial", "w.npy.ids.txt", "w.npy.ids.txt.partial"] {
        fs::write(folder.at("victim"), "precious").unwrap();
        let _ = fs::remove_file(folder.at(name));
        std::os::unix::fs::symlink(folder.at("victim"), folder.at(name)).unwrap();
        json(&["export", text(&db), text(&folder.at("w.npy"))]);
        assert_eq!(fs::read_to_string(folder.at("victim")).unwrap(), "precious", "{name}");
    }
    let left = fs::read_dir(folder.0.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.filter(|name| name.starts_with(".otolith-")).count() == 0);
}

#[test]
fn vectors_never_lie_beside_the_ids_of_others() {
    for name in ["v.npy", "v.fvecs", "v.fbin"] {
        let folder = Folder::new();
        folder.imported("a.fbin", &bin(2, 3, &vector([0.5; 6])));
        folder.imported("b.fbin", &bin(2, 3, &vector([1.5; 6])));
        let (out, ids) = (folder.at(name), beside(&folder.at(name), ".ids.txt"));
        json(&["export", text(&folder.at("a.fbin.db")), text(&out)]);
        let before = (fs::read(&out).unwrap(), fs::read(&ids).unwrap());
        // The ids cannot get their name.
        fs::remove_file(&ids).unwrap();
        fs::create_dir(&ids).unwrap();
        error(&["export", text(&folder.at("b.fbin.db")), text(&out)], 1);
        assert_eq!(fs::read(&out).unwrap(), before.0, "{name}");
        fs::remove_dir(&ids).unwrap();
        fs::write(&ids, &before.1).unwrap();
        json(&["export", text(&folder.at("b.fbin.db")), text(&out)]);
        assert_ne!(fs::read(&out).unwrap(), before.0);
    }
}

/// The limit of a process on the size of files stands for a disk that is full.
#[cfg(unix)]
#[test]
fn a_file_that_may_not_grow_is_an_error_and_leaves_what_was() {
    let folder = Folder::new();
    let limited = |args: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -f 256 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_otolith")]);
        let output = command.args(args).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {:?} {stderr}", output.status);
        assert!(stderr.contains("disk full"), "{stderr}");
    };
    let [db, file, out] = ["db", "v.fbin", "v.npy"].map(|name| folder.at(name));
    fs::write(&file, bin(20_000, 16, &vector((0..320_000).map(|n| n as f32)))).unwrap();
    limited(&["import", text(&db), text(&file)]);
    assert_eq!(json(&["verify", text(&db), "--deep"])["damage"].as_array().unwrap().len(), 0);
    // Small vectors with long ids: the second file of an export does not fit.
    fs::write(&file, bin(1_000, 1, &vector((0..1_000).map(|n| n as f32)))).unwrap();
    for (name, width) in [("short", 4), ("long", 900)] {
        let ids: String = (0..1_000).map(|n| format!("{n:0width$}\n")).collect();
        fs::write(folder.at("ids.txt"), ids).unwrap();
        json(&["import", text(&folder.at(name)), text(&file), "--ids", text(&folder.at("ids.txt"))]);
        fs::write(&file, bin(1_000, 1, &vector((0..1_000).map(|n| -(n as f32))))).unwrap();
    }
    json(&["export", text(&folder.at("short")), text(&out)]);
    let read = || (fs::read(&out).unwrap(), fs::read(beside(&out, ".ids.txt")).unwrap());
    let before = read();
    limited(&["export", text(&folder.at("long")), text(&out)]);
    assert_eq!(read(), before);
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
    says("wide.fvecs", &vecs(&[i32::MAX], &bytes), &["byte 0", "at most 1073741824"]);
    let nan = vector([1.0, 2.0, 3.0, 4.0, f32::NAN, 6.0]);
    says("nan.fbin", &bin(2, 3, &nan), &["vector 1 at byte 20", "column 1 is NaN"]);
    says("nan.npy", &npy("<f4", "(1, 2, 3)", &nan), &["row 1, column 1 is NaN"]);
    says("nan-row.npy", &npy("<f4", "(3, 2)", &nan), &["row 2, column 0 is NaN"]);
    says("nan-record.npy", &npy("<f4", "(3, 1, 2)", &nan), &["record 2, row 0, column 0 is NaN"]);
    says("text.npy", b"what is this, then?", &["no .npy array"]);
    says("cut.npy", &npy("<f4", "(2, 3)", &bytes)[..80], &["ends in its header"]);
    says("short.npy", &npy("<f4", "(2, 3)", &bytes[..20]), &["148 bytes", "takes 152"]);
    says("tail.npy", &npy("<f4", "(2, 3)", &[&bytes[..], &bytes].concat()), &["takes 152"]);
    says("huge.npy", &npy("<f4", "(4611686018427387904, 4611686018427387904)", &bytes), &["larger than any file"]);
    says("many.npy", &npy("<f4", "(1152921504606846, 0, 3)", &[]), &["--ids"]);
    says("deep.npy", &npy("<f4", &"(".repeat(9_000), &bytes), &["header"]);
    says("long.npy", &[&b"\x93NUMPY\x02\x00\xff\xff\xff\xff"[..], &bytes].concat(), &["header is too long"]);
    says("none.npy", &npy("<f4", "()", &bytes[..4]), &["0 axes"]);
    says("zero.npy", &npy("<f4", "(1000000000000, 0)", &[]), &["rows of 0 numbers"]);
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
    assert!(twice.contains("line 3") && twice.contains("\"x\"") && twice.contains("too: 1"), "{twice}");
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
    // Some 80 MB, then a number that is none.
    let (count, dim) = (20_000, 1_024);
    let mut bytes = bin(count, dim, &vec![0; (count * dim) as usize * 4]);
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let [file, db, other] = ["late.fbin", "db", "other"].map(|name| folder.at(name));
    fs::write(&file, bytes).unwrap();
    let message = error(&["import", text(&db), text(&file)], 1);
    let stayed = content(&db).len();
    assert_eq!(stayed, 19_999, "all that is good");
    assert!(message.contains("vector 19999 at byte"), "{message}");
    assert!(message.contains(&format!("({stayed} of 20000 records were imported before and stay)")), "{message}");
    let output = otolith().args(["import", text(&other), text(&file), "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["imported"], stayed);
    assert!(document["error"].as_str().unwrap().contains("vector 19999"), "{document}");
    // What fits the file and not the collection is named, too.
    fs::write(folder.at("ids.txt"), "one\ntwo\nthree\n").unwrap();
    let [db, half, ids] = ["f16", "half.fbin", "ids.txt"].map(|name| folder.at(name));
    fs::write(&half, bin(3, 2, &vector([1.0, 2.0, 3.0, 1e5, 5.0, 6.0]))).unwrap();
    let import = ["import", text(&db), text(&half), "--precision", "f16", "--ids", text(&ids)];
    let message = error(&import, 1);
    assert!(message.contains("record `two` (number 1, from 0): matrix: 100000"), "{message}");
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
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/exchange/table.parquet");
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
    let bytes =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/exchange/table.parquet")).unwrap();
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
