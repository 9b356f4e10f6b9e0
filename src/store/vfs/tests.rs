//! The same promises, kept by every file system.

use super::*;
use std::path::PathBuf;

/// Runs a test on each file system, in an empty directory of it.
fn on_each(test: impl Fn(&dyn Vfs, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    test(&DiskVfs, dir.path());
    let memory = MemoryVfs::default();
    test(&memory, Path::new(""));
    memory.create_dir(Path::new("inside")).unwrap();
    test(&memory, Path::new("inside"));
    test(&FaultyVfs::new(MemoryVfs::recording(), u64::MAX, Fault::Io, false), Path::new(""));
}

fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
    result.err().map(|error| error.kind())
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn whole(file: &dyn VfsFile) -> Vec<u8> {
    let mut bytes = vec![0; file.bytes().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

#[test]
fn bytes_come_back_from_where_they_were_put_and_gaps_are_zeros() {
    on_each(|vfs, dir| {
        let path = dir.join("file");
        let file = vfs.create(&path).unwrap();
        assert_eq!(file.write_at(b"tail", 6).unwrap(), 4);
        assert_eq!(file.write_at(b"head", 0).unwrap(), 4);
        assert_eq!(whole(&*file), b"head\0\0tail");
        file.sync().unwrap();
        file.protect().unwrap();
        let again = vfs.open(&path).unwrap();
        assert_eq!(whole(&*again), b"head\0\0tail");
        let mut some = [0; 4];
        assert_eq!(again.read_at(&mut some, 8).unwrap(), 2, "the end of the file comes early");
        assert_eq!(again.read_at(&mut some, 99).unwrap(), 0);
        assert!(again.write_at(b"no", 0).is_err(), "opened for reading only");
    });
}

#[test]
fn names_are_made_listed_renamed_and_removed() {
    on_each(|vfs, dir| {
        vfs.create_dir(&dir.join("sub")).unwrap();
        assert_eq!(kind(vfs.create_dir(&dir.join("sub"))), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(kind(vfs.create_dir(&dir.join("no/sub"))), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(vfs.open(&dir.join("sub/a"))), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(vfs.list(&dir.join("no"))), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(vfs.create(&dir.join("no/a"))), Some(io::ErrorKind::NotFound));
        for name in ["a", "b"] {
            vfs.create(&dir.join("sub").join(name)).unwrap().write_at(name.as_bytes(), 0).unwrap();
        }
        assert_eq!(kind(vfs.create(&dir.join("sub/a"))), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(sorted(vfs.list(&dir.join("sub")).unwrap()), ["a", "b"]);
        assert!(vfs.list(dir).unwrap().contains(&"sub".to_owned()));
        vfs.rename(&dir.join("sub/a"), &dir.join("sub/b")).unwrap();
        assert_eq!(vfs.list(&dir.join("sub")).unwrap(), ["b"]);
        assert_eq!(whole(&*vfs.open(&dir.join("sub/b")).unwrap()), b"a", "the new name holds the old content");
        assert_eq!(kind(vfs.rename(&dir.join("sub/a"), &dir.join("sub/c"))), Some(io::ErrorKind::NotFound));
        vfs.remove(&dir.join("sub/b")).unwrap();
        assert_eq!(kind(vfs.remove(&dir.join("sub/b"))), Some(io::ErrorKind::NotFound));
        vfs.sync_dir(&dir.join("sub")).unwrap();
        assert!(vfs.sync_dir(&dir.join("no")).is_err());
    });
}

#[test]
fn locks_belong_to_openings_and_end_with_them() {
    on_each(|vfs, dir| {
        let path = dir.join("lock");
        let first = vfs.open_or_create(&path).unwrap();
        first.write_at(b"held", 0).unwrap();
        assert!(first.try_lock(true).unwrap());
        assert!(first.try_lock(true).unwrap(), "what one holds, one may ask for again");
        let second = vfs.open_or_create(&path).unwrap();
        assert_eq!(whole(&*second), b"held", "opening an existing file keeps its bytes");
        assert!(!second.try_lock(true).unwrap());
        assert!(!second.try_lock(false).unwrap());
        drop(first);
        let reader = vfs.open(&path).unwrap();
        assert!(reader.try_lock(false).unwrap() && second.try_lock(false).unwrap(), "shared locks share");
        let third = vfs.open(&path).unwrap();
        assert!(!third.try_lock(true).unwrap());
        drop(reader);
        assert!(!third.try_lock(true).unwrap());
        drop(second);
        assert!(third.try_lock(true).unwrap());
    });
}

#[test]
fn a_removed_file_stays_readable_where_it_is_open_or_mapped() {
    on_each(|vfs, dir| {
        let path = dir.join("gone");
        let bytes: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
        vfs.create(&path).unwrap().write_at(&bytes, 0).unwrap();
        let file = vfs.open(&path).unwrap();
        let region = file.map(bytes.len() as u64 - 1).unwrap();
        assert_eq!(kind(file.map(bytes.len() as u64 + 1)), Some(io::ErrorKind::UnexpectedEof));
        assert!(file.is_linked().unwrap());
        vfs.remove(&path).unwrap();
        assert!(!file.is_linked().unwrap());
        assert!(whole(&*file) == bytes);
        drop(file);
        assert!(region.as_bytes() == &bytes[..bytes.len() - 1]);
        assert!(bytemuck::try_cast_slice::<u8, u64>(&region.as_bytes()[..8]).is_ok(), "aligned for numbers");
        // A name that is used again is another file.
        vfs.create(&path).unwrap();
        assert_eq!(region.as_bytes()[4], 1);
    });
}

/// What is under `path` in each image of the disk now.
fn images(vfs: &MemoryVfs, path: &str) -> Vec<Option<Vec<u8>>> {
    let mut disk = PowerCut::default();
    vfs.operations().iter().for_each(|operation| disk.apply(operation));
    let outcomes = disk.outcomes(Effort::Usual, 1);
    let mut found: Vec<_> = outcomes.iter().map(|outcome| disk.image(outcome).read(Path::new(path)).ok()).collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_any_part_of_the_rest() {
    let vfs = MemoryVfs::recording();
    let path = PathBuf::from("file");
    let file = vfs.create(&path).unwrap();
    file.write_at(b"abcd", 0).unwrap();
    let torn = [b"".to_vec(), b"\0\0\0\0".to_vec(), b"ab".to_vec(), b"abc".to_vec(), b"abcd".to_vec()];
    let expected: Vec<_> = std::iter::once(None).chain(torn.map(Some)).collect();
    assert_eq!(images(&vfs, "file"), expected, "neither name nor bytes are safe");
    file.sync().unwrap();
    assert_eq!(images(&vfs, "file"), [None, Some(b"abcd".to_vec())], "bytes are, the name is not");
    vfs.sync_dir(Path::new(".")).unwrap();
    assert_eq!(images(&vfs, "file"), [Some(b"abcd".to_vec())]);
    vfs.rename(&path, Path::new("other")).unwrap();
    for image in [images(&vfs, "file"), images(&vfs, "other")] {
        assert_eq!(image, [None, Some(b"abcd".to_vec())], "renamed or not");
    }
    vfs.sync_dir(Path::new("")).unwrap();
    vfs.remove(Path::new("other")).unwrap();
    assert_eq!(images(&vfs, "other"), [None, Some(b"abcd".to_vec())], "a removal is no more durable than a creation");
}

#[test]
fn bytes_whose_sync_failed_are_seen_but_never_reach_the_disk() {
    let vfs = MemoryVfs::recording();
    let path = Path::new("file");
    let faulty = FaultyVfs::new(vfs.clone(), 3, Fault::Io, false);
    let file = faulty.create(path).unwrap();
    faulty.sync_dir(Path::new("")).unwrap();
    file.write_at(b"lost", 0).unwrap();
    assert!(file.sync().is_err() && faulty.fired() == Some("sync"));
    file.sync().unwrap();
    assert_eq!(whole(&*file), b"lost");
    assert_eq!(images(&vfs, "file"), [Some(Vec::new())]);
}

#[test]
fn every_operation_can_fail_and_a_short_write_does_half() {
    for fault in Fault::ALL {
        let vfs = FaultyVfs::new(MemoryVfs::default(), 1, fault, true);
        let file = vfs.create(Path::new("file")).unwrap();
        match fault {
            Fault::ShortWrite => assert_eq!(file.write_at(b"four", 0).unwrap(), 2),
            _ => assert!(file.write_at(b"four", 0).is_err()),
        }
        let failures = [
            kind(file.bytes()),
            kind(file.read_at(&mut [0], 0)),
            kind(file.sync()),
            kind(file.try_lock(true)),
            kind(file.is_linked()),
            kind(file.map(0)),
            kind(file.protect()),
            kind(vfs.create_dir(Path::new("dir"))),
            kind(vfs.list(Path::new(""))),
            kind(vfs.create(Path::new("new"))),
            kind(vfs.open(Path::new("file"))),
            kind(vfs.open_or_create(Path::new("file"))),
            kind(vfs.rename(Path::new("file"), Path::new("new"))),
            kind(vfs.remove(Path::new("file"))),
            kind(vfs.sync_dir(Path::new(""))),
        ];
        assert!(failures.iter().all(|failure| failure.is_some() && *failure == failures[0]), "{fault:?} {failures:?}");
    }
}
