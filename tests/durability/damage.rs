//! A byte is wrong.

use crate::model::{self, State, create, create_view, delete, upsert};
use otolith::store::vfs::{MemoryVfs, Vfs};
use otolith::store::{Access, Change, Depth, Mode, Options, verify_path};
use otolith::{Error, Matrix, Precision, Record, Schema};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A small database with every kind of file, and what it holds.
fn database() -> (MemoryVfs, State) {
    let vfs = MemoryVfs::default();
    let store = model::writer(&vfs).unwrap();
    let narrow = Schema::new(3).precision(Precision::F16);
    let steps: [Vec<Change>; 4] = [
        vec![create("c"), Change::CreateCollection { name: "half".into(), schema: narrow }, create_view("c", "v", 1)],
        vec![upsert("c", &["a", "b", "c", "d"], 1), create_view("c", "w", 2)],
        vec![upsert("c", &["b"], 2), delete("c", &["c"])],
        vec![Change::Upsert {
            collection: "half".into(),
            records: vec![Record::new("h", Matrix::from_rows(1, 3, vec![0.5, -1.0, 8.0]).unwrap())],
        }],
    ];
    let mut state = State::new();
    for changes in steps {
        store.commit(changes.clone()).unwrap();
        state = model::apply_all(&state, &changes).unwrap();
    }
    model::derive(&store).unwrap();
    assert_eq!(model::read(&store.version()).unwrap(), state);
    drop(store);
    (vfs, state)
}

fn options(vfs: &MemoryVfs) -> Options {
    Options { vfs: Arc::new(vfs.clone()), access: Access::Map, ..Options::default() }
}

/// Whether deep verification finds something wrong in `path`.
fn is_caught(vfs: &MemoryVfs, path: &Path) -> bool {
    let report = verify_path(Path::new(model::DB), options(vfs), Depth::Deep).unwrap();
    report.findings.iter().any(|finding| finding.path == path)
}

/// Reads everything there is; whatever is not an error must be right. True when all was.
fn reads_right_or_fails(vfs: &MemoryVfs, state: &State, access: Access, what: &dyn Fn() -> String) -> bool {
    let store = match model::open(vfs, Mode::Read, access) {
        Ok(store) => store,
        Err(Error::Corrupt { .. } | Error::Version { .. }) => return false,
        Err(error) => panic!("{}: {error:?}", what()),
    };
    let version = store.version();
    assert!(version.collections.keys().eq(state.keys()), "{}", what());
    let mut whole = true;
    for (name, collection) in &version.collections {
        let expected = &state[name];
        for (id, content) in model::records(collection) {
            match (id, content) {
                (Ok(id), Ok(content)) => assert_eq!(expected.records.get(&id), Some(&content), "{}", what()),
                (Ok(id), Err(_)) => {
                    assert!(expected.records.contains_key(&id), "{}", what());
                    whole = false;
                }
                (Err(_), _) => whole = false,
            }
        }
        assert_eq!(collection.records, expected.records.len() as u64, "{}", what());
        for id in ["a", "b", "c", "d", "h", "absent"] {
            match collection.find(id) {
                Ok(found) => assert_eq!(found.is_some(), expected.records.contains_key(id), "{} {id}", what()),
                Err(_) => whole = false,
            }
        }
        for (name, (settings, sections)) in &expected.views {
            match collection.view(name) {
                Ok(view) => assert!(view.settings == *settings && view.sections == *sections, "{}", what()),
                Err(Error::Corrupt { .. }) => whole = false,
                Err(error) => panic!("{}: {error:?}", what()),
            }
        }
    }
    // Rows of views are right whatever is wrong with their files, unless the records themselves cannot be read.
    match model::derive(&store) {
        Ok(()) => whole,
        Err(_) => {
            assert!(!whole, "{}", what());
            false
        }
    }
}

fn files_to_damage(vfs: &MemoryVfs) -> Vec<PathBuf> {
    vfs.files().into_iter().filter(|path| !path.ends_with("LOCK")).collect()
}

#[test]
fn every_flipped_bit_is_found_and_no_answer_is_ever_wrong() {
    let (vfs, state) = database();
    let (flips, harmless) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut places = Vec::new();
    for path in files_to_damage(&vfs) {
        places.extend((0..vfs.read(&path).unwrap().len()).map(|at| (path.clone(), at)));
    }
    let bytes = places.len();
    assert!(is_whole(&vfs) && reads_right_or_fails(&vfs, &state, Access::Read, &|| "undamaged".into()));
    places.par_chunks(512).for_each(|places| {
        let vfs = vfs.copy().unwrap();
        for (path, at) in places {
            let whole = vfs.read(path).unwrap();
            let mut damaged = whole.clone();
            damaged[*at] ^= 1 << (at % 8);
            vfs.write(path, &damaged).unwrap();
            let what = || format!("{} byte {at}", path.display());
            assert!(is_caught(&vfs, path), "{} is not caught", what());
            let access = if at % 2 == 0 { Access::Map } else { Access::Read };
            let right = reads_right_or_fails(&vfs, &state, access, &what);
            harmless.fetch_add(usize::from(right), Ordering::Relaxed);
            flips.fetch_add(1, Ordering::Relaxed);
            vfs.write(path, &whole).unwrap();
        }
    });
    println!("figure bit_flips = {} flips", flips.load(Ordering::Relaxed));
    println!("figure bit_flips_caught = 100 percent");
    println!("figure bit_flips_that_cost_no_answer = {} flips", harmless.load(Ordering::Relaxed));
    assert_eq!(flips.into_inner(), bytes);
}

fn is_whole(vfs: &MemoryVfs) -> bool {
    verify_path(Path::new(model::DB), options(vfs), Depth::Deep).unwrap().findings.is_empty()
}

#[test]
fn a_file_cut_short_or_grown_is_found_and_no_answer_is_wrong() {
    let (vfs, state) = database();
    let mut tried = 0;
    for path in files_to_damage(&vfs) {
        let whole = vfs.read(&path).unwrap();
        let lengths = (0..whole.len()).step_by(61).chain([1, 127, 128, 4_095, 4_096, 4_097, whole.len() - 1]);
        let longer = [1, 256, 4_096].map(|more| whole.len() + more);
        for length in lengths.filter(|length| *length < whole.len()).chain(longer) {
            let mut damaged = whole.clone();
            damaged.resize(length, 0);
            vfs.write(&path, &damaged).unwrap();
            let what = || format!("{} with {length} of {} bytes", path.display(), whole.len());
            assert!(is_caught(&vfs, &path), "{}", what());
            reads_right_or_fails(&vfs, &state, Access::Map, &what);
            tried += 1;
        }
        vfs.remove(&path).unwrap();
        reads_right_or_fails_without(&vfs, &state, &path);
        vfs.write(&path, &whole).unwrap();
    }
    println!("figure wrong_lengths = {tried} files");
}

/// A missing file: the newest manifest missing means the version before it, which nobody can tell from a crash.
fn reads_right_or_fails_without(vfs: &MemoryVfs, state: &State, path: &Path) {
    let name = path.file_name().unwrap().to_str().unwrap();
    if !name.starts_with("manifest") {
        reads_right_or_fails(vfs, state, Access::Map, &|| format!("without {name}"));
        let report = verify_path(Path::new(model::DB), options(vfs), Depth::Metadata).unwrap();
        assert!(name.ends_with(".odrv") || report.findings.iter().any(|finding| finding.path == path), "{name}");
    }
}

#[test]
fn verification_names_every_damaged_file_and_goes_on() {
    let (vfs, _) = database();
    let files = files_to_damage(&vfs);
    for path in &files {
        let mut bytes = vfs.read(path).unwrap();
        let at = bytes.len() - 10;
        bytes[at] ^= 1;
        vfs.write(path, &bytes).unwrap();
    }
    // With both manifests gone nobody knows what the other files are; with the older one left, its files are looked at.
    let manifests: Vec<_> = files.iter().filter(|path| path.to_str().unwrap().contains("manifest")).collect();
    assert!(manifests.iter().all(|path| is_caught(&vfs, path)));
    let (whole, _) = database();
    let mut damaged: Vec<PathBuf> = files_to_damage(&whole);
    damaged.retain(|path| !path.to_str().unwrap().contains("manifest"));
    for path in &damaged {
        let mut bytes = whole.read(path).unwrap();
        let at = bytes.len() - 10;
        bytes[at] ^= 1;
        whole.write(path, &bytes).unwrap();
    }
    for depth in [Depth::Metadata, Depth::Deep] {
        let report = verify_path(Path::new(model::DB), options(&whole), depth).unwrap();
        let mut found: Vec<_> = report.findings.iter().map(|finding| finding.path.clone()).collect();
        found.sort();
        found.dedup();
        assert_eq!(found, damaged);
        assert!(report.findings.iter().all(|finding| finding.offset.is_some()));
    }
}
