//! Tests that artefacts of any kind are built once, kept, never spoil an answer, and are not looked for on disk each
//! time.

use super::*;
use crate::store::format::container::Identity;
use crate::store::layout::{Kind, section};
use std::sync::mpsc::channel;
use std::thread;

/// An artefact for tests: how many rows each record has, and the root of the view. Small, and different for every
/// segment and view.
#[derive(Debug)]
struct Tiny(Sections);

impl Artefact for Tiny {
    const KIND: Kind = Kind::Codes;

    fn read(sections: Sections) -> Result<Tiny> {
        let rows: &[u32] = sections.numbers(section::CODES)?;
        let sum: u64 = rows.iter().map(|rows| u64::from(*rows)).sum();
        if rows.len() as u64 != sections.counts().records || sum != sections.counts().rows {
            return Err(sections.corrupt(section::CODES, "counts that contradict each other"));
        }
        match sections.bytes(section::ABOUT)?.len() {
            16 => Ok(Tiny(sections)),
            _ => Err(sections.corrupt(section::ABOUT, "no root")),
        }
    }
}

fn rows_of(segment: &Segment) -> Vec<u32> {
    (0..segment.records()).map(|n| segment.rows(n).unwrap() as u32).collect()
}

fn root_of(view: Option<&ViewFile>) -> [u8; 16] {
    view.map(|view| view.root).unwrap_or_default()
}

fn make(out: &mut SectionsWriter<'_>, segment: &Segment, view: Option<&ViewFile>) -> Result<Counts> {
    let rows = rows_of(segment);
    out.section(section::ABOUT, &root_of(view))?;
    out.begin(section::CODES)?;
    rows.iter().try_for_each(|rows| out.append(&rows.to_le_bytes()))?;
    out.end();
    Ok(Counts { records: rows.len() as u64, rows: rows.iter().map(|rows| u64::from(*rows)).sum(), dim: 0 })
}

fn check(tiny: &Tiny, segment: &Segment, view: Option<&ViewFile>) {
    assert_eq!(tiny.0.numbers::<u32>(section::CODES).unwrap(), rows_of(segment));
    assert_eq!(tiny.0.bytes(section::ABOUT).unwrap(), root_of(view));
    assert!(tiny.0.bytes(section::CODES).unwrap().as_ptr().addr().is_multiple_of(64));
    assert!(tiny.0.bytes(section::ORDER).is_err());
}

/// Passes every segment of the collection to `take`, with the raw rows and with each of its views.
fn each(store: &Store, mut take: impl FnMut(&Snapshot, &Segment, Option<&ViewFile>)) {
    let snapshot = store.snapshot("c").unwrap();
    let names: Vec<_> = snapshot.view_names().map(str::to_owned).collect();
    for part in snapshot.segments() {
        take(&snapshot, &part.segment, None);
        names.iter().for_each(|name| take(&snapshot, &part.segment, Some(snapshot.view(name).unwrap())));
    }
}

/// Returns how many artefacts there are, without building one.
fn there(store: &Store) -> usize {
    let mut found = 0;
    each(store, |snapshot, segment, view| {
        if let Some(tiny) = snapshot.artefact::<Tiny>(segment, view) {
            check(&tiny, segment, view);
            found += 1;
        }
    });
    found
}

/// Asks for all artefacts; returns how many were built.
fn built(store: &Store) -> usize {
    let built = AtomicUsize::new(0);
    each(store, |snapshot, segment, view| {
        let counted = |out: &mut SectionsWriter<'_>| {
            built.fetch_add(1, Ordering::SeqCst);
            make(out, segment, view)
        };
        check(&snapshot.build_artefact::<Tiny>(segment, view, &counted).unwrap(), segment, view);
        check(&snapshot.artefact::<Tiny>(segment, view).unwrap(), segment, view);
    });
    built.into_inner()
}

/// Makes a database with two segments and a view: four places for an artefact.
fn two_segments(vfs: &MemoryVfs) -> Store {
    let store = with_view(vfs);
    store.commit(vec![upsert("c", (0..5).map(|n| Record::new(format!("more {n}"), matrix(n, 3, 0.0))))]).unwrap();
    store.flush().unwrap();
    assert_eq!(store.version().collections["c"].segments.len(), 2);
    store
}

fn codes(vfs: &MemoryVfs) -> Vec<PathBuf> {
    files(vfs, "-codes.odrv")
}

#[test]
fn an_artefact_is_built_once_and_found_again_mapped_or_read() {
    let vfs = MemoryVfs::default();
    let store = two_segments(&vfs);
    assert_eq!((there(&store), built(&store), there(&store), built(&store)), (0, 4, 4, 0));
    assert_eq!((codes(&vfs).len(), files(&vfs, ".tmp").len()), (4, 0));
    let bytes: usize = files(&vfs, ".odrv").iter().map(|path| vfs.read(path).unwrap().len()).sum();
    assert_eq!(store.stat().unwrap().derived_bytes, bytes as u64);
    for access in [Access::Map, Access::Read] {
        let reader = open(&vfs, Mode::Read, access);
        assert_eq!((there(&reader), built(&reader)), (4, 0));
    }
    assert!(store.verify(Depth::Derived).unwrap().findings.is_empty());
}

#[test]
fn a_file_that_is_missing_cut_off_or_changed_in_any_byte_is_not_used_and_built_again() {
    let vfs = MemoryVfs::default();
    let store = two_segments(&vfs);
    built(&store);
    let file = codes(&vfs).remove(1);
    let whole = vfs.read(&file).unwrap();
    for at in 0..whole.len() {
        flip(&vfs, &file, at);
        let access = if at % 2 == 0 { Access::Map } else { Access::Read };
        assert_eq!(there(&open(&vfs, Mode::Read, access)), 3, "byte {at}");
        vfs.write(&file, &whole).unwrap();
    }
    for length in [0, 100, 4_096, whole.len() - 1] {
        vfs.write(&file, &whole[..length]).unwrap();
        let findings = store.verify(Depth::Metadata).unwrap().findings;
        assert!(findings.len() == 1 && findings[0].path == file && findings[0].derived, "{findings:?}");
        let reader = open(&vfs, Mode::Read, Access::Read);
        assert_eq!((there(&reader), built(&reader), built(&reader)), (3, 1, 0), "a reader keeps it in memory");
    }
    let store = writer_again(store, &vfs);
    assert_eq!(built(&store), 1);
    assert!(vfs.read(&file).unwrap() == whole, "a writer mends the file");
    flip(&vfs, &file, 0);
    assert_eq!(built(&store), 0, "what is mapped already stays as it is");
    drop(store);
    let removed = repair_in_place(Path::new(DB), Options { vfs: Arc::new(vfs.clone()), ..Options::default() }).unwrap();
    assert_eq!(removed, [file]);
}

#[test]
fn files_of_other_segments_and_views_and_well_summed_nonsense_are_not_used() {
    let vfs = MemoryVfs::default();
    let store = two_segments(&vfs);
    built(&store);
    let paths = codes(&vfs);
    let contents: Vec<_> = paths.iter().map(|path| vfs.read(path).unwrap()).collect();
    for (path, own) in paths.iter().zip(&contents) {
        for other in contents.iter().filter(|other| *other != own) {
            vfs.write(path, other).unwrap();
            assert_eq!(there(&open(&vfs, Mode::Read, Access::Map)), 3, "{} is another's", path.display());
        }
        vfs.write(path, own).unwrap();
    }
    let version = store.version();
    let segment = &version.collections["c"].segments[1].segment;
    let right = store.shared.derived.address(segment.entry().unwrap(), None, Kind::Codes);
    let forge = |kind, identity: Identity, sections: &[(u32, u32, &[u8])], counts| {
        let file = store.shared.files.create(&right.name).unwrap();
        let mut out = crate::store::format::container::Writer::new(file, kind, &identity).unwrap();
        for (number, version, bytes) in sections {
            out.begin(*number, *version).unwrap();
            out.append(bytes).unwrap();
            out.end();
        }
        out.finish(counts).unwrap();
        there(&open(&vfs, Mode::Read, Access::Map))
    };
    let rows: Vec<u8> = rows_of(segment).iter().flat_map(|rows| rows.to_le_bytes()).collect();
    let (about, codes) = ((section::ABOUT, 1, &[0; 16][..]), (section::CODES, 1, &rows[..]));
    let (identity, counts) = (right.identity, Counts { records: 5, rows: 10, dim: 0 });
    assert_eq!(forge(Kind::Codes, identity, &[about, codes], counts), 4, "a forger who gets all right");
    let other = Identity { database: [1; 16], ..identity };
    for (kind, identity, sections, counts) in [
        (Kind::Graph, identity, [about, codes], counts),
        (Kind::Codes, other, [about, codes], counts),
        (Kind::Codes, Identity { segment: [1; 16], ..identity }, [about, codes], counts),
        (Kind::Codes, Identity { segment_root: [1; 16], ..identity }, [about, codes], counts),
        (Kind::Codes, Identity { view_root: [1; 16], ..identity }, [about, codes], counts),
        (Kind::Codes, identity, [about, codes], Counts { records: 4, ..counts }),
        (Kind::Codes, identity, [about, codes], Counts { rows: u64::MAX, ..counts }),
        (Kind::Codes, identity, [about, about], counts),
        (Kind::Codes, identity, [about, (section::CODES, 2, &rows)], counts),
        (Kind::Codes, identity, [about, (section::CODES, 1, &rows[..18])], counts),
        (Kind::Codes, identity, [about, (section::CODES, 1, &rows[..16])], counts),
        (Kind::Codes, identity, [(section::ABOUT, 1, &[]), codes], counts),
    ] {
        assert_eq!(forge(kind, identity, &sections, counts), 3, "{kind:?} {identity:?} {sections:?} {counts:?}");
    }
}

#[test]
fn neither_what_is_there_nor_what_is_not_is_asked_of_the_disk_again() {
    let vfs = MemoryVfs::default();
    let store = two_segments(&vfs);
    let counting = FaultyVfs::new(vfs.clone(), u64::MAX, Fault::Io, false);
    let options = Options { vfs: Arc::new(counting.clone()), access: Access::Map, ..Options::default() };
    let reader = Store::open(Path::new(DB), Mode::Read, options).unwrap();
    assert_eq!(there(&reader), 0);
    let operations = counting.operation_count();
    assert_eq!(
        (built(&store), there(&reader), there(&reader)),
        (4, 0, 0),
        "another handle's need not be noticed at once"
    );
    assert_eq!(counting.operation_count(), operations);
    publish(&store, vec![view("c", "w")]);
    reader.refresh().unwrap();
    assert_eq!(there(&reader), 4, "what was not there is looked for again with a new manifest");
    let operations = counting.operation_count();
    assert_eq!(there(&reader), 4);
    assert_eq!(counting.operation_count(), operations);
    assert_eq!((built(&reader), there(&reader)), (2, 6), "and replaced by what is built");
}

#[test]
fn what_cannot_be_written_is_kept_in_memory_and_poisons_nothing() {
    with_each_failing_operation(
        |vfs| drop(two_segments(vfs)),
        |store| {
            // Small segments are read when they are first needed, which may be what fails.
            each(store, |_, segment, _| drop(segment.rows(0)));
            built(store);
            assert_eq!((there(store), built(store)), (4, 0));
        },
    );
}

#[test]
fn records_in_the_log_and_what_damage_kept_something_out_of_have_no_files() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    let record = Record::new("a", matrix(3, 2, 0.0));
    store.commit(vec![create("c", Schema::new(2)), upsert("c", [record])]).unwrap();
    store.flush().unwrap();
    let logged = Record::new("b", matrix(2, 2, 0.0));
    store.commit(vec![upsert("c", [logged])]).unwrap();
    assert_eq!((there(&store), built(&store), there(&store)), (0, 2, 2));
    assert_eq!(codes(&vfs).len(), 1, "of the sealed segment");
    vfs.remove(&codes(&vfs)[0]).unwrap();
    let store = writer_again(store, &vfs);
    each(&store, |snapshot, segment, view| {
        let lacking = |out: &mut SectionsWriter<'_>| match out.is_lasting() {
            true => Err(Error::corrupt(segment.path(), None, "a record that cannot be read")),
            false => make(out, segment, view),
        };
        check(&snapshot.build_artefact::<Tiny>(segment, view, &lacking).unwrap(), segment, view);
    });
    assert!(codes(&vfs).is_empty() && files(&vfs, ".tmp").is_empty());
    assert_eq!((there(&store), built(&store)), (store.version().collections["c"].segments.len(), 0));
}

#[test]
fn errors_of_building_are_reported_and_leave_nothing_behind() {
    let vfs = MemoryVfs::default();
    let store = two_segments(&vfs);
    each(&store, |snapshot, segment, view| {
        let failing = |_: &mut SectionsWriter<'_>| Err(Error::invalid("m", "no"));
        let failed = snapshot.build_artefact::<Tiny>(segment, view, &failing);
        assert!(matches!(failed, Err(Error::Invalid { .. })));
        let forgetful =
            |_: &mut SectionsWriter<'_>| Ok(Counts { records: u64::from(segment.records()), rows: 0, dim: 0 });
        let refused = snapshot.build_artefact::<Tiny>(segment, view, &forgetful);
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "its own room refuses it");
    });
    assert!(files(&vfs, ".tmp").is_empty());
    assert_eq!((there(&store), built(&store)), (0, 4));
}

#[test]
fn files_of_segments_and_views_that_are_gone_are_swept() {
    let vfs = MemoryVfs::default();
    let store = two_segments(&vfs);
    built(&store);
    derive(&store);
    let (number, none) = (&codes(&vfs)[0].file_name().unwrap().to_str().unwrap()[..16].to_owned(), "0".repeat(16));
    let foreign = [format!("{number}-{none}-novelty.odrv"), format!("{none}-{none}-novelty.odrv"), "codes.odrv".into()];
    let foreign = foreign.map(|name| Path::new(DB).join("derived").join(name));
    let gone = Kind::DERIVED.map(|(_, name)| Path::new(DB).join(format!("derived/{none}-{none}-{name}.odrv")));
    foreign.iter().chain(&gone).for_each(|path| vfs.write(path, b"").unwrap());
    publish(&store, vec![Change::DropView { collection: "c".into(), name: "v".into() }]);
    publish(&store, vec![create("d", Schema::new(1))]);
    assert_eq!(codes(&vfs).len(), 2, "those of raw rows are left: {:?}", codes(&vfs));
    assert!(files(&vfs, "-rows.odrv").is_empty());
    assert!(gone.iter().all(|path| vfs.read(path).is_err()));
    publish(&store, vec![Change::DropCollection { name: "c".into() }]);
    publish(&store, vec![create("e", Schema::new(1))]);
    assert_eq!(codes(&vfs), Vec::<PathBuf>::new());
    assert!(foreign.iter().all(|path| vfs.read(path).is_ok()), "names that are not ours are left alone");
}

#[test]
fn of_threads_that_want_the_same_one_builds_and_those_that_only_look_do_not_wait() {
    let vfs = MemoryVfs::default();
    let store = with_view(&vfs);
    let snapshot = &store.snapshot("c").unwrap();
    let segment = &snapshot.segments()[0].segment;
    let builds = &AtomicUsize::new(0);
    let (begun, has_begun) = channel();
    let (go, may_go) = channel();
    let (begun, may_go) = (&Mutex::new(begun), &Mutex::new(may_go));
    let build = move || {
        let slow = |out: &mut SectionsWriter<'_>| {
            builds.fetch_add(1, Ordering::SeqCst);
            begun.lock().unwrap().send(()).unwrap();
            may_go.lock().unwrap().recv().unwrap();
            make(out, segment, None)
        };
        snapshot.build_artefact::<Tiny>(segment, None, &slow).unwrap()
    };
    let all: Vec<Arc<Tiny>> = thread::scope(|scope| {
        let builders: Vec<_> = (0..8).map(|_| scope.spawn(build)).collect();
        has_begun.recv().unwrap();
        assert!(snapshot.artefact::<Tiny>(segment, None).is_none(), "a search goes on without");
        go.send(()).unwrap();
        // A second build would fail at once instead of waiting for ever.
        drop(go);
        builders.into_iter().map(|builder| builder.join().unwrap()).collect()
    });
    assert_eq!(builds.load(Ordering::SeqCst), 1);
    assert!(all.iter().all(|tiny| Arc::ptr_eq(tiny, &all[0])), "all have the same");
    assert!(Arc::ptr_eq(&snapshot.artefact(segment, None).unwrap(), &all[0]));
}

#[test]
fn threads_of_a_pool_that_build_the_same_at_once_all_get_it() {
    use rayon::prelude::*;
    let vfs = MemoryVfs::default();
    let store = with_view(&vfs);
    let snapshot = store.snapshot("c").unwrap();
    let segment = &snapshot.segments()[0].segment;
    (0..64).into_par_iter().for_each(|_| {
        let slow = |out: &mut SectionsWriter<'_>| {
            // A build that itself uses the pool could wait for itself.
            let sum: usize = (0..64_usize).into_par_iter().sum();
            assert_eq!(sum, 2_016);
            make(out, segment, None)
        };
        check(&snapshot.build_artefact::<Tiny>(segment, None, &slow).unwrap(), segment, None);
    });
}

/// Something that happens to one of the four files, or to the handle.
#[derive(Clone, Debug)]
enum Event {
    Flip(usize, usize),
    Cut(usize, usize),
    Remove(usize),
    Copy(usize, usize),
    Reopen(bool, bool),
    Publish,
    Look,
    Build,
}

fn event() -> impl Strategy<Value = Event> {
    let (file, at) = (0..4_usize, 0..1_usize << 16);
    prop_oneof![
        (file.clone(), at.clone()).prop_map(|(file, at)| Event::Flip(file, at)),
        (file.clone(), at).prop_map(|(file, at)| Event::Cut(file, at)),
        file.clone().prop_map(Event::Remove),
        (file.clone(), file).prop_map(|(from, to)| Event::Copy(from, to)),
        any::<(bool, bool)>().prop_map(|(write, map)| Event::Reopen(write, map)),
        Just(Event::Publish),
        Just(Event::Look),
        Just(Event::Build),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_to_files_what_is_found_is_right(events in prop::collection::vec(event(), 1..40)) {
        let vfs = MemoryVfs::default();
        let mut store = two_segments(&vfs);
        built(&store);
        let paths = codes(&vfs);
        for event in events {
            match event {
                Event::Flip(file, at) => {
                    if let Ok(bytes) = vfs.read(&paths[file])
                        && !bytes.is_empty()
                    {
                        flip(&vfs, &paths[file], at % bytes.len());
                    }
                }
                Event::Cut(file, at) => {
                    if let Ok(bytes) = vfs.read(&paths[file]) {
                        vfs.write(&paths[file], &bytes[..at % (bytes.len() + 1)]).unwrap();
                    }
                }
                Event::Remove(file) => drop(vfs.remove(&paths[file])),
                Event::Copy(from, to) => {
                    if let Ok(bytes) = vfs.read(&paths[from]) {
                        vfs.write(&paths[to], &bytes).unwrap();
                    }
                }
                Event::Reopen(write, map) => {
                    drop(store);
                    let mode = if write { Mode::Write { create: false } } else { Mode::Read };
                    store = open(&vfs, mode, if map { Access::Map } else { Access::Read });
                }
                Event::Publish if store.is_writable() => {
                    let _ = store.commit(vec![delete("c", &["1"]), upsert("c", [Record::new("1", matrix(1, 3, 0.0))])]);
                    store.flush().unwrap();
                }
                Event::Publish => drop(store.refresh().unwrap()),
                Event::Look => prop_assert!(there(&store) <= 2 * store.version().collections["c"].segments.len()),
                Event::Build => {
                    built(&store);
                    prop_assert_eq!(built(&store), 0);
                }
            }
        }
    }
}
