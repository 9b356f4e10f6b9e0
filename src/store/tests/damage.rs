//! Tests of damage and hostile bytes: what each costs, and that it is reported.

use super::*;

#[test]
fn a_damaged_block_costs_the_records_in_it_and_no_others() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    let records = (0..40).map(|n| Record::new(format!("{n}"), matrix(64, 32, n as f32))); // 8 KiB each
    store.commit(vec![create("c", Schema::new(32)), upsert("c", records)]).unwrap();
    drop(store);
    let path = files(&vfs, ".oseg").remove(0);
    flip(&vfs, &path, 100_000); // in block 1, bytes 65,536 to 131,072
    for access in [Access::Map, Access::Read] {
        let store = open(&vfs, Mode::Write { create: false }, access);
        let version = store.version();
        let segment = &version.collections["c"].segments[0].segment;
        let damaged: Vec<u32> = (0..40).filter(|n| segment.matrix(*n).is_err()).collect();
        assert!(damaged.len() <= 9 && damaged.contains(&11), "{damaged:?}");
        match segment.matrix(11) {
            Err(Error::Corrupt { path: found, offset: Some(65_536), .. }) => assert_eq!(found, path),
            other => panic!("{other:?}"),
        }
        assert!((0..40).all(|n| segment.id(n).is_ok() && segment.fields(n).is_ok()));
        let report = store.verify(Depth::Deep).unwrap();
        assert!(!report.is_clean() && report.findings.iter().all(|finding| finding.path == path));
        assert!(report.findings.iter().any(|finding| finding.offset == Some(65_536)));
        assert!(store.verify(Depth::Metadata).unwrap().is_clean());
    }
    let store = writer(&vfs);
    for n in 0..20 {
        store.commit(vec![upsert("c", [Record::new(format!("new {n}"), matrix(64, 32, 0.0))])]).unwrap();
    }
    let version = store.version();
    let segments = &version.collections["c"].segments;
    assert_eq!(segments[0].segment.records(), 40, "a segment with damage is not folded away");
    assert!(segments.len() < 20 && version.collections["c"].records == 60);
}

#[test]
fn damage_in_a_view_a_delete_set_or_a_frame_costs_only_what_needs_it() {
    let vfs = MemoryVfs::default();
    let store = writer(&vfs);
    let two = || ["a", "b"].map(|id| Record::new(id, matrix(1, 1, 0.0)));
    let first = vec![create("c", Schema::new(1)), create("d", Schema::new(1)), upsert("c", two()), upsert("d", two())];
    store.commit(first).unwrap();
    store.flush().unwrap();
    publish(&store, vec![view("c", "good"), view("c", "bad"), delete("c", &["a"])]);
    let bad_view = version_file(&store, |version| version.manifest.collections[0].views[0].file.name.clone());
    let deletes = version_file(&store, |version| {
        version.manifest.segments.iter().find_map(|segment| Some(segment.deletes.as_ref()?.file.name.clone())).unwrap()
    });
    drop(store);
    let damaged = vfs.copy().unwrap();
    let view_path = files(&damaged, &bad_view).remove(0);
    flip(&damaged, &view_path, 4_200);
    let store = writer(&damaged);
    let version = store.version();
    let collection = &version.collections["c"];
    assert!(matches!(collection.view("bad"), Err(Error::Corrupt { path, .. }) if path == view_path));
    assert!(collection.view("good").is_ok() && collection.view_names().count() == 2);
    assert!(matches!(store.commit(vec![view("c", "bad")]), Err(Error::Exists { .. })));
    store.commit(vec![delete("c", &["b"])]).unwrap();
    assert!(store.version().collections["c"].view("bad").is_err(), "kept until it is dropped");
    store.commit(vec![Change::DropView { collection: "c".into(), name: "bad".into() }]).unwrap();
    assert!(matches!(store.version().collections["c"].view("bad"), Err(Error::NotFound { .. })));

    let damaged = vfs.copy().unwrap();
    flip(&damaged, &files(&damaged, &deletes).remove(0), 4_200);
    let store = writer(&damaged);
    let version = store.version();
    let segment = &version.collections["c"].segments[0].segment;
    assert!(matches!(segment.id(0), Err(Error::Corrupt { .. })), "deleted records must not come back");
    store.commit(vec![upsert("c", two())]).unwrap();
    // An upsert is not refused because damage hides whether `a` is there already.
    assert!(["a", "b"].iter().all(|id| store.version().collections["c"].find(id).unwrap().is_some()));
    assert!(matches!(store.commit(vec![delete("c", &["z"])]), Err(Error::Corrupt { .. })), "is `z` there or not?");
    store.commit(vec![upsert("d", two())]).unwrap();
    assert_eq!(ids(&store, "d"), ["a", "b"]);
    drop(store);
    let again = writer(&damaged);
    assert!(again.version().collections["c"].segments[0].segment.id(0).is_err(), "the damage is still known");
}

fn version_file(store: &Store, name: impl Fn(&Version) -> String) -> String {
    name(&store.version())
}

#[test]
fn files_of_a_newer_format_are_refused_by_name() {
    let vfs = MemoryVfs::default();
    drop(writer(&vfs));
    let manifest = files(&vfs, "manifest-0000000000000001").remove(0);
    let patched = |field: layout::Field, value: u64| {
        let mut bytes = vfs.read(&manifest).unwrap();
        field.put_number(&mut bytes, value);
        let crc = crc32fast::hash(&bytes[..layout::manifest_header::CRC.offset]);
        layout::manifest_header::CRC.put_number(&mut bytes, u64::from(crc));
        let copy = vfs.copy().unwrap();
        copy.write(&manifest, &bytes).unwrap();
        copy
    };
    let open = |vfs: &MemoryVfs, mode| {
        Store::open(
            Path::new(DB),
            mode,
            Options { vfs: Arc::new(vfs.clone()), access: Access::Map, ..Options::default() },
        )
    };
    use layout::manifest_header as head;
    for (field, value) in [(head::MAJOR, 2), (head::INCOMPAT, layout::KNOWN_INCOMPAT + 1)] {
        assert!(matches!(open(&patched(field, value), Mode::Read), Err(Error::Version { .. })), "{}", field.name);
    }
    let read_only = patched(head::RO_COMPAT, 1);
    assert!(open(&read_only, Mode::Read).is_ok());
    assert!(matches!(open(&read_only, Mode::Write { create: false }), Err(Error::Version { .. })));
    for (field, value) in [(head::MINOR, 9), (head::COMPAT, 1)] {
        assert!(open(&patched(field, value), Mode::Write { create: false }).is_ok(), "{}", field.name);
    }
}

#[test]
fn strangers_files_are_left_alone_and_our_leftovers_swept() {
    let vfs = MemoryVfs::default();
    drop(with_view(&vfs));
    let stay = ["seg/notes.txt", "derived/readme", "photo.png"];
    let go = [
        "seg/0000000000000099-0000000000000001.oseg",
        "view/x.oview",
        "manifest-00000000000000ff.tmp",
        "derived/a.tmp",
    ];
    for name in stay.iter().chain(&go) {
        vfs.write(&Path::new(DB).join(name), b"?").unwrap();
    }
    assert_eq!(open(&vfs, Mode::Read, Access::Map).verify(Depth::Deep).unwrap().orphans.len(), 3);
    drop(writer(&vfs));
    let left = vfs.files();
    assert!(stay.iter().all(|name| left.contains(&Path::new(DB).join(name))));
    assert!(!go.iter().any(|name| left.contains(&Path::new(DB).join(name))));
}

#[test]
fn hostile_manifests_are_refused() {
    let vfs = MemoryVfs::default();
    drop(with_view(&vfs));
    let path = files(&vfs, "").into_iter().rfind(|path| path.to_str().unwrap().contains("manifest")).unwrap();
    let text = String::from_utf8(vfs.read(&path).unwrap()[128..].to_vec()).unwrap();
    let name = text.split('"').find(|word| word.ends_with(".oseg")).unwrap();
    for (from, to) in [
        (name, "../../../etc/passwd"),
        ("\"records\":50", "\"records\":5000000000"),
        ("\"records\":50", "\"records\":-1"),
        ("\"wal_first\":5", "\"wal_first\":[5]"),
        ("\"wal_first\":5", "\"wal_first\":6"),
        ("\"left\":[]", "\"left\":[\"../x.oseg\"]"),
        ("\"kind\":\"packed\"", "\"kind\":\"direct\""),
        ("\"dim\":3", "\"dim\":0"),
        ("\"segments\":[", "\"segments\":[1,"),
        ("\"collections\":", "\"collection\":"),
        ("{", "["),
    ] {
        let body = text.replacen(from, to, 1);
        assert_ne!(body, text, "{from}");
        let mut bytes = vfs.read(&path).unwrap()[..128].to_vec();
        use layout::manifest_header as head;
        head::BODY_BYTES.put_number(&mut bytes, body.len() as u64);
        head::BODY_ROOT.put(&mut bytes, &layout::root_of(body.as_bytes()));
        let crc = crc32fast::hash(&bytes[..head::CRC.offset]);
        head::CRC.put_number(&mut bytes, u64::from(crc));
        bytes.extend_from_slice(body.as_bytes());
        let copy = vfs.copy().unwrap();
        copy.write(&path, &bytes).unwrap();
        let opened = Store::open(
            Path::new(DB),
            Mode::Read,
            Options { vfs: Arc::new(copy), access: Access::Map, ..Options::default() },
        );
        assert!(matches!(opened, Err(Error::Corrupt { .. })), "{to}");
    }
}

/// Makes all sums of a container fit its bytes again, as a hostile writer would.
fn reseal(bytes: &mut [u8], sums_at: usize) -> layout::Sixteen {
    use layout::{BLOCK_BYTES, footer, header};
    let crc = crc32fast::hash(&bytes[..header::CRC.offset]);
    header::CRC.put_number(bytes, u64::from(crc));
    let sums: Vec<u8> =
        bytes[..sums_at].chunks(BLOCK_BYTES as usize).flat_map(|block| crc32fast::hash(block).to_le_bytes()).collect();
    bytes[sums_at..][..sums.len()].copy_from_slice(&sums);
    let end = bytes.len() - footer::BYTES;
    let rooted = [&bytes[..header::BYTES], &bytes[sums_at..end], &bytes[end..][..footer::ROOT.offset]].concat();
    let root = layout::root_of(&rooted);
    let footer = &mut bytes[end..];
    footer::ROOT.put(footer, &root);
    let crc = crc32fast::hash(&footer[..footer::CRC.offset]);
    footer::CRC.put_number(footer, u64::from(crc));
    root
}

/// A byte to be changed: where in its part, to what, and in which part of the file.
type Altered = (u64, u8, u8);

/// Changes bytes of a segment, a delete set, a view or a derived file, makes all sums right again, and then does
/// everything with the database.
fn nonsense(which: usize, changes: Vec<Altered>) {
    thread_local!(static MADE: (MemoryVfs, Manifest) = one_of_each());
    let (vfs, mut manifest) = MADE.with(|(vfs, manifest)| (vfs.copy().unwrap(), manifest.clone()));
    let path = files(&vfs, [".oseg", ".odel", ".oview", ".odrv"][which]).remove(0);
    let mut bytes = vfs.read(&path).unwrap();
    let end = bytes.len() - layout::footer::BYTES;
    let sums_at = layout::footer::SUMS_OFFSET.number(&bytes[end..]) as usize;
    // Scales any 64-bit number to a place within a part of `size` bytes.
    let place = |at: u64, size: usize| ((u128::from(at) * size as u128) >> 64) as usize;
    for (at, value, part) in changes {
        let at = match part {
            0 => layout::header::BYTES + place(at, sums_at - layout::header::BYTES), // sections
            1 => sums_at + place(at, end - sums_at),                                 // sums and directory
            _ => end + place(at, 64),                                                // offsets and counts
        };
        bytes[at] = value;
    }
    let root = reseal(&mut bytes, sums_at);
    vfs.write(&path, &bytes).unwrap();
    match which {
        0 => manifest.segments[0].file.root = root,
        1 => manifest.segments[0].deletes.as_mut().unwrap().file.root = root,
        2 => manifest.collections[0].views[0].file.root = root,
        _ => {}
    }
    let newest = Path::new(DB).join(manifest::name_of(manifest.generation));
    vfs.write(&newest, &manifest.encode()).unwrap();
    for access in [Access::Map, Access::Read] {
        let store = open(&vfs, Mode::Write { create: false }, access);
        let version = store.version();
        let collection = &version.collections["c"];
        let _ = collection.find("17");
        for part in &collection.segments {
            for n in 0..part.segment.records() {
                let _ = (part.segment.id(n).is_ok(), part.segment.fields(n).is_ok(), part.segment.matrix(n).is_ok());
            }
            if let Ok(view) = collection.view("v") {
                let build = |n| part.segment.matrix(n).map(|matrix| matrix.into_matrix());
                let _ = store.rows(&part.segment, view, &build);
            }
        }
        let _ = store.commit(vec![upsert("c", [Record::new("17", matrix(1, 3, 0.0))])]);
        let _ = store.verify(Depth::Derived).unwrap();
    }
    let options = Options { vfs: Arc::new(vfs.clone()), ..Options::default() };
    repair_to(Path::new(DB), options.clone(), Path::new("saved")).unwrap();
    let saved = verify_path(Path::new("saved"), options, Depth::Deep).unwrap();
    assert!(saved.findings.is_empty());
}

/// Changes the directory of a view file so that a step has kind 0, which is the view's own section.
#[test]
fn a_view_with_a_step_of_no_kind_is_a_finding() {
    nonsense(2, vec![(12_770_822_820_260_458_812, 0, 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]
    #[test]
    fn well_summed_nonsense_is_an_error_or_a_value_and_never_a_panic(
        which in 0..4_usize,
        changes in prop::collection::vec((any::<u64>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        nonsense(which, changes);
    }
}
