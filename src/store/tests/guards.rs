//! Tests of guards that tests of file systems cannot reach: other writers, removed locks, files that read back wrong,
//! endless names, handles that outlive each other.

use super::*;

#[test]
fn a_writer_whose_lock_file_was_removed_writes_no_more() {
    let vfs = MemoryVfs::default();
    let first = writer(&vfs);
    first.commit(vec![create("c", Schema::new(2))]).unwrap();
    vfs.remove(&Path::new(DB).join("LOCK")).unwrap();
    let second = writer(&vfs);
    second.commit(vec![upsert("c", [Record::new("kept", matrix(1, 2, 0.0))])]).unwrap();
    let refused = first.commit(vec![upsert("c", [Record::new("lost", matrix(1, 2, 0.0))])]);
    assert!(matches!(refused, Err(Error::Poisoned { .. })), "{refused:?}");
    drop((first, second));
    assert_eq!(ids(&writer(&vfs), "c"), ["kept"]);
}

#[test]
fn a_stray_file_of_the_largest_number_does_not_use_the_numbers_up() {
    let vfs = MemoryVfs::default();
    writer(&vfs).commit(vec![create("c", Schema::new(2))]).unwrap();
    for name in ["wal-ffffffffffffffff", "seg/ffffffffffffffff-0000000000000000.oseg"] {
        vfs.write(&Path::new(DB).join(name), b"").unwrap();
    }
    writer(&vfs).commit(vec![upsert("c", [Record::new("kept", matrix(1, 2, 0.0))])]).unwrap();
    assert_eq!(ids(&writer(&vfs), "c"), ["kept"]);
}

#[test]
fn a_snapshot_outlives_its_database_and_keeps_nobody_from_writing() {
    let vfs = MemoryVfs::default();
    let store = with_view(&vfs);
    let snapshot = store.snapshot("c").unwrap();
    let (records, derived) = (snapshot.len(), files(&vfs, ".odrv").len());
    drop(store);
    let again = writer(&vfs);
    again.commit(vec![Change::DropCollection { name: "c".into() }]).unwrap();
    again.commit(vec![create("c", Schema::new(7))]).unwrap();
    again.commit(vec![upsert("c", [Record::new("new", matrix(1, 7, 0.0))])]).unwrap();
    let read: Vec<Record> = snapshot.iter().map(|entry| entry.to_record().unwrap()).collect();
    assert_eq!(read.len(), records);
    let (part, view) = (&snapshot.segments()[0], snapshot.view("v").unwrap());
    let built = AtomicUsize::new(0);
    snapshot.rows(&part.segment, view, &doubling(&part.segment, &built)).unwrap();
    assert!(built.into_inner() > 0 && files(&vfs, ".odrv").len() <= derived, "a snapshot alone writes no files");
    drop(snapshot);
    publish(&again, vec![create("d", Schema::new(1))]);
    publish(&again, vec![create("e", Schema::new(1))]);
    assert_eq!(files(&vfs, ".oseg").len(), 1, "what the snapshot pinned is gone");
}

#[test]
fn a_view_that_could_not_be_read_back_or_does_not_fit_is_refused() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    store.commit(vec![create("c", Schema::new(2))]).unwrap();
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    for settings in [deep, json!({"input_dim": 3})] {
        let change = Change::CreateView { collection: "c".into(), name: "v".into(), settings, sections: sections() };
        assert!(store.commit(vec![change]).is_err());
        assert_eq!(store.version().collections["c"].view_names().count(), 0);
        assert!(files(&vfs, ".oview").is_empty(), "nothing is left of it");
    }
    store.commit(vec![view("c", "v")]).unwrap();
}

#[test]
fn settings_too_long_to_be_read_again_are_refused() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    let name = "x".repeat(crate::limits::MANIFEST_BYTES as usize);
    let refused = store.commit(vec![create("c", Schema::new(2).embedder(name))]);
    assert!(matches!(refused, Err(Error::Invalid { .. })));
    store.commit(vec![create("c", Schema::new(2))]).unwrap();
    drop(store);
    writer(&vfs);
}

#[test]
fn at_the_end_of_its_counters_a_database_takes_nothing_more_and_gives_everything_back() {
    let (vfs, manifest) = one_of_each();
    let end = crate::limits::COUNTER - crate::limits::LAST_COUNTS;
    let changes: [&dyn Fn(&mut Manifest); 3] =
        [&|manifest| manifest.next_no = end, &|manifest| manifest.last_seq = end, &|manifest| {
            manifest.generation = end
        }];
    for change in changes {
        let (vfs, mut manifest) = (vfs.copy().unwrap(), manifest.clone());
        change(&mut manifest);
        vfs.write(&Path::new(DB).join(manifest::name_of(manifest.generation)), &manifest.encode()).unwrap();
        let store = writer(&vfs);
        let refused = store.commit(vec![create("d", Schema::new(2))]);
        assert!(matches!(&refused, Err(Error::Invalid { why, .. }) if why.contains("counters")), "{refused:?}");
        assert!(store.commit(vec![upsert("c", [Record::new("new", matrix(1, 3, 0.0))])]).is_err());
        store.commit(vec![delete("c", &["1"])]).unwrap();
        store.flush().unwrap();
        store.compact(&|| true).unwrap();
        store.commit(vec![Change::DropCollection { name: "c".into() }]).unwrap();
        assert!(writer_again(store, &vfs).version().collections.is_empty());
    }
    let mut manifest = manifest;
    manifest.collections[0].next_record = crate::limits::COUNTER;
    vfs.write(&Path::new(DB).join(manifest::name_of(manifest.generation)), &manifest.encode()).unwrap();
    let store = writer(&vfs);
    let refused = store.commit(vec![upsert("c", [Record::auto(matrix(1, 3, 0.0))])]);
    assert!(matches!(&refused, Err(Error::Invalid { why, .. }) if why.contains("numbers")), "{refused:?}");
    store.commit(vec![upsert("c", [Record::new("named", matrix(1, 3, 0.0))])]).unwrap();
    assert!(writer_again(store, &vfs).version().collections["c"].find("named").unwrap().is_some());
}

#[test]
fn records_of_another_dimension_than_their_collection_are_damage() {
    let (vfs, mut manifest) = one_of_each();
    manifest.collections[0].schema.dim += 1;
    let newest = Path::new(DB).join(manifest::name_of(manifest.generation));
    vfs.write(&newest, &manifest.encode()).unwrap();
    let version = open(&vfs, Mode::Read, Access::Map).version();
    let part = &version.collections["c"].segments[0];
    assert!(matches!(part.segment.matrix(0), Err(Error::Corrupt { .. })));
}

#[test]
fn counters_that_would_begin_again_are_refused() {
    let (vfs, manifest) = one_of_each();
    let newest = Path::new(DB).join(manifest::name_of(manifest.generation));
    let with = |change: &dyn Fn(&mut Manifest)| {
        let mut changed = manifest.clone();
        change(&mut changed);
        let copy = vfs.copy().unwrap();
        copy.write(&newest, &changed.encode()).unwrap();
        Store::open(
            Path::new(DB),
            Mode::Read,
            Options { vfs: Arc::new(copy), access: Access::Map, ..Options::default() },
        )
        .is_ok()
    };
    assert!(with(&|_| {}));
    assert!(!with(&|manifest| manifest.next_no = u64::MAX));
    assert!(!with(&|manifest| manifest.next_no = 1));
    assert!(!with(&|manifest| manifest.last_seq = u64::MAX));
    assert!(!with(&|manifest| manifest.collections[0].next_record = u64::MAX));
}
