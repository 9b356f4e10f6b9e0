//! The format is what `storage-format.md` says, and databases of earlier releases are read for ever.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use otolith::pipeline::{Array, Section};
use otolith::testing::store::layout::{self, Kind, STRUCTURES, section};
use otolith::testing::store::{Access, Change, Depth, Durability, Mode, Options, Store, Tuning, Version};
use otolith::{Matrix, Metric, Precision, Record, Schema};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn specification() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("storage-format.md")).unwrap()
}

/// Cells of the table rows in a text, without headings and rulers.
fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

/// The table whose heading row begins with these cells.
fn table(text: &str, heading: &[&str]) -> BTreeMap<String, String> {
    let start = text.find(&format!("| {}", heading.join(" | "))).unwrap_or_else(|| panic!("no table {heading:?}"));
    let end = text[start..].find("\n\n").map_or(text.len(), |end| start + end);
    rows(&text[start..end]).into_iter().skip(1).map(|row| (row[0].clone(), row[1].clone())).collect()
}

#[test]
fn every_structure_lies_as_the_specification_says() {
    let text = specification();
    let headed: Vec<(&str, &str)> = text.split("\n### ").skip(1).map(|part| part.split_once('\n').unwrap()).collect();
    assert_eq!(headed.len(), STRUCTURES.len());
    for (name, bytes, fields) in STRUCTURES {
        let heading = format!("{name} ({bytes} bytes)");
        let (_, body) = headed.iter().find(|(head, _)| *head == heading).unwrap_or_else(|| panic!("no `{heading}`"));
        let body = &body[..body.find("\n\n## ").unwrap_or(body.len())];
        let written: Vec<_> = rows(body)
            .into_iter()
            .skip_while(|row| row[0] != "0")
            .take_while(|row| row[0].parse::<usize>().is_ok())
            .map(|row| (row[0].parse().unwrap(), row[1].parse().unwrap(), row[2].clone()))
            .collect();
        let coded: Vec<(usize, usize, String)> =
            fields.iter().map(|field| (field.offset, field.bytes, field.name.to_owned())).collect();
        assert_eq!(written, coded, "{name}");
        let mut at = 0;
        for field in *fields {
            assert_eq!(field.offset, at, "{name}: {} leaves a gap or overlaps", field.name);
            at += field.bytes;
        }
        assert_eq!(at, *bytes, "{name} is not filled");
    }
}

#[test]
fn every_constant_is_what_the_specification_says() {
    let text = specification();
    let constants = table(&text, &["constant", "value"]);
    for (name, value) in [
        ("MAJOR", u64::from(layout::MAJOR)),
        ("MINOR", u64::from(layout::MINOR)),
        ("KNOWN_INCOMPAT", layout::KNOWN_INCOMPAT),
        ("KNOWN_RO_COMPAT", layout::KNOWN_RO_COMPAT),
        ("BLOCK_BYTES", layout::BLOCK_BYTES),
        ("ALIGN", layout::ALIGN),
        ("LARGE_ALIGN", layout::LARGE_ALIGN),
        ("LARGE_BYTES", layout::LARGE_BYTES),
        ("LOCK_BYTES", layout::LOCK_BYTES as u64),
    ] {
        assert_eq!(constants[name], value.to_string(), "{name}");
    }
    let kinds = table(&text, &["kind of file", "number", "ending"]);
    let truth = [(Kind::Segment, ".oseg"), (Kind::Deletes, ".odel"), (Kind::View, ".oview")];
    let truth = truth.map(|(kind, ending)| (kind, ending.to_owned()));
    let coded: Vec<_> =
        truth.into_iter().chain(Kind::DERIVED.map(|(kind, name)| (kind, format!("-{name}.odrv")))).collect();
    assert_eq!(kinds.len(), coded.len());
    for (kind, ending) in coded {
        assert!(text.contains(&format!("\n| {kind:?} | {} | `{ending}` |\n", kind as u32)), "{kind:?}");
    }
    let sections = table(&text, &["kind of section", "number"]);
    let coded = [
        ("ABOUT", section::ABOUT),
        ("MATRICES", section::MATRICES),
        ("FIELDS", section::FIELDS),
        ("IDS", section::IDS),
        ("RECORDS", section::RECORDS),
        ("ID_TABLE", section::ID_TABLE),
        ("BITMAP", section::BITMAP),
        ("ROW_OFFSETS", section::ROW_OFFSETS),
        ("CODES", section::CODES),
        ("CODE_ENTRIES", section::CODE_ENTRIES),
        ("ORDER", section::ORDER),
        ("NEIGHBOURS", section::NEIGHBOURS),
        ("LEVELS", section::LEVELS),
        ("CURVE", section::CURVE),
        ("CENTROIDS", section::CENTROIDS),
        ("LIST_STARTS", section::LIST_STARTS),
        ("FIELD_NAMES", section::FIELD_NAMES),
        ("FIELD_VALUES", section::FIELD_VALUES),
        ("FIELD_RECORDS", section::FIELD_RECORDS),
        ("QUESTIONS", section::QUESTIONS),
        ("PLANES", section::PLANES),
        ("BASIS", section::BASIS),
        ("WEIGHTS", section::WEIGHTS),
    ];
    assert_eq!(sections, coded.map(|(name, number)| (name.to_owned(), number.to_string())).into());
    let magics = [layout::MANIFEST_MAGIC, layout::CONTAINER_MAGIC, layout::FOOTER_MAGIC, layout::LOG_MAGIC];
    for magic in magics.iter().map(|magic| &magic[..]).chain([&layout::FRAME_MAGIC[..]]) {
        assert!(text.contains(&format!("| MAGIC | `{}` |", str::from_utf8(magic).unwrap())));
    }
    assert!(text.contains(&format!("Version **{}.{}**", layout::MAJOR, layout::MINOR)));
    assert!(text.contains(&format!("TYPE | {} = f32, {} = f64", layout::F32, layout::F64)));
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden")
}

fn open(path: &Path, mode: Mode, access: Access) -> Store {
    Store::open(path, mode, Options { access, ..Options::default() }).unwrap()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Everything in a version as JSON; numbers of matrices and arrays as their bits.
fn contents(version: &Version) -> Value {
    let mut all = json!({"generation": version.generation});
    for (name, collection) in &version.collections {
        let schema = &collection.schema;
        let mut records = Vec::new();
        for part in &collection.segments {
            for n in part.numbers().unwrap() {
                let matrix = part.segment.matrix(n).unwrap();
                let fields = Value::Object((*part.segment.fields(n).unwrap()).clone());
                let values = bits(matrix.view().values());
                records.push(json!([part.segment.id(n).unwrap(), fields, matrix.view().rows(), values]));
            }
        }
        let array = |array: &Array| match array {
            Array::F32(values) => json!({"f32": bits(values)}),
            Array::F64(values) => json!({"f64": values.iter().map(|value| value.to_bits()).collect::<Vec<_>>()}),
        };
        let step = |step: &Section| {
            let arrays: Vec<_> = step.arrays.iter().map(array).collect();
            json!({"kind": step.kind, "version": step.version, "settings": step.settings, "arrays": arrays})
        };
        let views = collection
            .views
            .values()
            .map(|view| json!([view.name, view.settings, view.sections.iter().map(step).collect::<Vec<_>>()]));
        all[name] = json!({
            "dim": schema.dim, "metric": schema.metric.name(), "precision": schema.precision.name(),
            "rows_per_second": schema.rows_per_second, "embedder": schema.embedder, "records": records,
            "views": views.collect::<Vec<_>>(),
        });
    }
    all
}

/// Rows of every view, each made by doubling.
fn derive(store: &Store, may_build: bool) {
    for collection in store.version().collections.values() {
        for (part, view) in
            collection.segments.iter().flat_map(|part| collection.views.values().map(move |v| (part, v)))
        {
            let segment = &part.segment;
            let double = |n| {
                assert!(may_build, "the file with the rows was not used");
                let matrix = segment.matrix(n)?.into_matrix();
                let values = matrix.values().iter().map(|value| 2.0 * value).collect();
                Matrix::from_rows(matrix.rows(), matrix.dim(), values)
            };
            let rows = store.rows(segment, view, &double).unwrap();
            for n in 0..segment.records() {
                let raw = segment.matrix(n).unwrap();
                assert!(rows.matrix(n).unwrap().values().iter().zip(raw.view().values()).all(|(d, r)| *d == 2.0 * r));
            }
        }
    }
}

/// The same with records in order of their ids: where they lie is the writer's business.
fn sorted(mut contents: Value) -> Value {
    for collection in contents.as_object_mut().unwrap().values_mut() {
        if let Some(records) = collection.get_mut("records").and_then(Value::as_array_mut) {
            records.sort_by_key(|record| record[0].as_str().unwrap().to_owned());
        }
    }
    contents
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name());
        if path.is_dir() {
            copy_dir(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

#[test]
fn databases_of_every_version_open_and_hold_what_they_held() {
    let mut versions = 0;
    for version in fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()) {
        versions += 1;
        let expected: Value = serde_json::from_slice(&fs::read(version.join("contents.json")).unwrap()).unwrap();
        let path = version.join("database");
        for access in [Access::Map, Access::Read] {
            let store = open(&path, Mode::Read, access);
            assert_eq!(sorted(contents(&store.version())), sorted(expected.clone()), "{}", version.display());
            // Records in a log have no file with rows.
            derive(&store, version.to_str().unwrap().ends_with("-log"));
            let report = store.verify(Depth::Deep).unwrap();
            assert!(report.findings.is_empty() && report.orphans.is_empty(), "{report:?}");
            assert!(report.bytes < 200_000);
        }
        // It can be written to, and what was there stays.
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("database");
        copy_dir(&path, &copy);
        let store = open(&copy, Mode::Write { create: false }, Access::Map);
        let record = Record::auto(Matrix::from_rows(1, 4, vec![1.0; 4]).unwrap());
        let change = Change::Upsert { collection: "clips".into(), records: vec![record] };
        let published = store.commit(vec![change]).unwrap();
        assert_eq!(published.ids, [["00000000000000000003"]]);
        let mut found = contents(&published.version);
        let records = found["clips"]["records"].as_array_mut().unwrap();
        let before = records.len();
        records.retain(|record| record[0] != "00000000000000000003");
        assert_eq!(records.len() + 1, before);
        found["generation"] = expected["generation"].clone();
        assert_eq!(sorted(found), sorted(expected));
        assert!(store.verify(Depth::Deep).unwrap().findings.is_empty());
        // A log of an earlier version says nothing of collections, so that its release does not take one for damage:
        // that is published, and only then there may be such a log.
        for name in ["late", "later"] {
            store.commit(vec![Change::CreateCollection { name: name.into(), schema: Schema::new(4) }]).unwrap();
            let killed = dir.path().join(name);
            copy_dir(&copy, &killed);
            assert!(open(&killed, Mode::Read, Access::Map).version().collections.contains_key(name));
            let newest = fs::read_dir(&killed).unwrap().map(|entry| entry.unwrap().path());
            let newest = newest.filter(|path| path.to_str().unwrap().contains("manifest-")).max().unwrap();
            let flags = &fs::read(newest).unwrap()[layout::manifest_header::INCOMPAT.offset..][..8];
            assert_eq!(flags, (layout::HAS_LOG | layout::LOGS_NAMES).to_le_bytes(), "{}", version.display());
        }
    }
    assert!(versions > 0);
}

/// The specification is enough: a program that knows nothing else reads every record.
#[test]
fn a_stranger_with_numpy_reads_every_record() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_numpy = Command::new(&python).args(["-c", "import numpy"]).output();
    if !has_numpy.is_ok_and(|output| output.status.success()) {
        return eprintln!("SKIPPED: `{python}` with numpy is missing (the variable PYTHON names another)");
    }
    for version in fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()) {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/read_with_numpy.py");
        let mut command = Command::new(&python);
        command.env("PYTHONIOENCODING", "utf-8").arg(program).arg(version.join("database"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut found: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let mut record: Vec<Value> = serde_json::from_str(line).unwrap();
            let collection = record.remove(0).as_str().unwrap().to_owned();
            let id = record[0].as_str().unwrap().to_owned();
            assert!(found.entry(collection).or_default().insert(id, record.into()).is_none(), "a record twice");
        }
        let expected: Value = serde_json::from_slice(&fs::read(version.join("contents.json")).unwrap()).unwrap();
        let expected = sorted(expected);
        for (name, collection) in expected.as_object().unwrap().iter().filter(|(_, value)| value.is_object()) {
            let records: Vec<Value> = found.remove(name).unwrap_or_default().into_values().collect();
            assert_eq!(Value::from(records), collection["records"], "{name}");
        }
        assert!(found.is_empty());
    }
}

/// Makes the golden databases of the current version: `cargo test --test format -- --ignored make_golden`. Run once for
/// each version of the format, committed, and never changed again.
#[test]
#[ignore = "makes the golden databases of a new format version"]
fn make_golden() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("database");
    // Small enough that some matrices go into the log and some past it.
    let tuning = Tuning { direct_bytes: 80, reserve_bytes: 0, background: false, ..Tuning::default() };
    let options = Options { tuning, ..Options::default() };
    let store = Store::open(&path, Mode::Write { create: true }, options).unwrap();
    let matrix = |rows: usize, seed: usize| {
        let values = (0..rows * 4).map(|at| ((seed * 31 + at * 7) % 64) as f32 / 8.0 - 4.0).collect();
        Matrix::from_rows(rows, 4, values).unwrap()
    };
    let create = |name: &str, schema: Schema| Change::CreateCollection { name: name.into(), schema };
    let upsert = |collection: &str, records: Vec<Record>| Change::Upsert { collection: collection.into(), records };
    let arrays = vec![Array::F32(vec![0.1, -2.5, 1e30]), Array::F64(vec![0.1, 1e-300]), Array::F32(vec![])];
    let steps = vec![
        Section { kind: 3, version: 1, settings: json!({"keep": 96}), arrays },
        Section { kind: 4, version: 2, settings: json!(null), arrays: vec![] },
    ];
    let view = |name: &str, sections: Vec<Section>| Change::CreateView {
        collection: "clips".into(),
        name: name.into(),
        settings: json!({"metric": "dot", "unicode": "Hörstein"}),
        sections,
    };
    let clips = Schema::new(4).metric(Metric::L2).rows_per_second(49.8).embedder("logmel-64");
    let batches = [
        vec![
            create("clips", clips),
            create("half", Schema::new(4).precision(Precision::F16)),
            create("brain", Schema::new(4).precision(Precision::BF16)),
            create("empty", Schema::new(1)),
        ],
        vec![
            upsert(
                "clips",
                vec![
                    Record::new("dog-1", matrix(5, 1)).field("class", "dog").field("seconds", 5.5).field("loud", true),
                    Record::new("stein/größe 石.wav", matrix(1, 2)).field("nothing", Value::Null),
                    Record::new("no rows", matrix(0, 3)),
                    Record::auto(matrix(2, 4)),
                    Record::new("replaced", matrix(3, 5)),
                    Record::new("deleted", matrix(3, 6)),
                ],
            ),
            upsert("half", vec![Record::new("h", matrix(3, 7))]),
            upsert("brain", vec![Record::new("b", matrix(3, 8))]),
        ],
        vec![view("white", steps), view("plain", vec![])],
        vec![
            upsert("clips", vec![Record::new("replaced", matrix(7, 9)).field("again", 1), Record::auto(matrix(1, 10))]),
            Change::Delete { collection: "clips".into(), ids: vec!["deleted".into()] },
        ],
    ];
    for (at, batch) in batches.into_iter().enumerate() {
        store.commit(batch).unwrap();
        if at == 1 {
            store.flush().unwrap();
        }
    }
    // What comes and goes while a log is written.
    let new = [Record::new("n", matrix(2, 13)), Record::new("large", matrix(8, 14))].to_vec();
    let gone = vec![Record::new("g", matrix(1, 15))];
    store.commit(vec![create("new", Schema::new(4)), upsert("new", new), view("gone", vec![])]).unwrap();
    store.commit(vec![create("gone", Schema::new(4)), upsert("gone", gone)]).unwrap();
    let drop_view = Change::DropView { collection: "clips".into(), name: "gone".into() };
    let drop = |name: &str| Change::DropCollection { name: name.into() };
    store.commit(vec![drop("gone"), drop_view, drop("brain"), create("brain", Schema::new(4))]).unwrap();
    store.commit(vec![upsert("brain", vec![Record::new("b", matrix(1, 16))])]).unwrap();
    let late = vec![Record::new("late", matrix(6, 11)), Record::new("dog-1", matrix(9, 12)).field("class", "wolf")];
    store.commit_with(vec![upsert("clips", late)], Durability::Buffered).unwrap();
    derive(&store, true);
    keep("-log", &path, &store);
    store.flush().unwrap();
    derive(&store, true);
    keep("", &path, &store);
}

/// Copies a database as it is at this moment, which is what the death of the process would leave.
fn keep(suffix: &str, path: &Path, store: &Store) {
    let version = golden().join(format!("v{}.{}{suffix}", layout::MAJOR, layout::MINOR));
    assert!(!version.exists(), "a golden database is never made anew");
    copy_dir(path, &version.join("database"));
    fs::remove_file(version.join("database/LOCK")).unwrap(); // names a machine, and is made when it is missing
    let text = serde_json::to_string_pretty(&contents(&store.version())).unwrap();
    fs::write(version.join("contents.json"), text + "\n").unwrap();
}
