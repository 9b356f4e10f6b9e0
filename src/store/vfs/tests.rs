//! Tests that every file system keeps the same promises.

use super::*;

const LEAVE: Unchanging = Unchanging(());

/// Runs a test in an empty directory of each file system.
fn on_each(test: impl Fn(&dyn VfsDir)) {
    let dir = tempfile::tempdir().unwrap();
    test(&*DiskVfs.open_dir(dir.path()).unwrap());
    let memory = MemoryVfs::default();
    test(&*memory.open_dir(Path::new("")).unwrap());
    memory.create_dir(Path::new("inside")).unwrap();
    test(&*memory.open_dir(Path::new("inside")).unwrap());
    let faulty = FaultyVfs::new(MemoryVfs::recording(), u64::MAX, Fault::Io, false);
    test(&*faulty.open_dir(Path::new("")).unwrap());
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
    on_each(|dir| {
        let file = dir.create("file").unwrap();
        assert_eq!(file.write_at(b"tail", 6).unwrap(), 4);
        assert_eq!(file.write_at(b"head", 0).unwrap(), 4);
        assert_eq!(whole(&*file), b"head\0\0tail");
        file.sync().unwrap();
        file.protect().unwrap();
        let again = dir.open("file").unwrap();
        assert_eq!(whole(&*again), b"head\0\0tail");
        let mut some = [0; 4];
        assert_eq!(again.read_at(&mut some, 8).unwrap(), 2, "the end of the file comes early");
        assert_eq!(again.read_at(&mut some, 99).unwrap(), 0);
        assert!(again.write_at(b"no", 0).is_err(), "opened for reading only");
    });
}

#[test]
fn names_are_made_listed_renamed_and_removed() {
    on_each(|dir| {
        dir.create_dir("sub").unwrap();
        assert_eq!(kind(dir.create_dir("sub")), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(kind(dir.open_dir("no")), Some(io::ErrorKind::NotFound));
        let sub = dir.open_dir("sub").unwrap();
        assert_eq!(kind(sub.open("a")), Some(io::ErrorKind::NotFound));
        for name in ["a", "b"] {
            sub.create(name).unwrap().write_at(name.as_bytes(), 0).unwrap();
        }
        assert_eq!(kind(sub.create("a")), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(sorted(sub.list().unwrap()), ["a", "b"]);
        assert!(dir.list().unwrap().contains(&"sub".to_owned()));
        sub.rename("a", "b").unwrap();
        assert_eq!(sub.list().unwrap(), ["b"]);
        assert_eq!(whole(&*sub.open("b").unwrap()), b"a", "the new name holds the old content");
        assert_eq!(kind(sub.rename("a", "c")), Some(io::ErrorKind::NotFound));
        sub.sync().unwrap();
        sub.sync_parent().unwrap();
        sub.remove("b").unwrap();
        assert_eq!(kind(sub.remove("b")), Some(io::ErrorKind::NotFound));
        assert!(dir.remove("sub").is_err(), "a directory is not removed");
    });
}

#[test]
fn what_has_a_name_is_told_by_its_identity_and_its_kind() {
    on_each(|dir| {
        let file = dir.create("a").unwrap();
        dir.create_dir("sub").unwrap();
        let sub = dir.open_dir("sub").unwrap();
        assert_eq!(dir.find("no").unwrap(), None);
        let is = |name: &str| dir.find(name).unwrap().unwrap();
        assert_eq!(is("a"), Found { identity: file.identity().unwrap(), kind: Kind::File });
        assert_eq!(is("sub"), Found { identity: sub.identity().unwrap(), kind: Kind::Dir });
        dir.rename("a", "b").unwrap();
        assert_eq!(is("b").identity, file.identity().unwrap(), "renaming changes no identity");
        dir.create("a").unwrap();
        assert_ne!(is("a").identity, file.identity().unwrap());
        let lineage = sub.lineage().unwrap();
        assert_eq!(lineage[..2], [sub.identity().unwrap(), dir.identity().unwrap()]);
        assert!(!dir.lineage().unwrap().contains(&sub.identity().unwrap()));
        assert!(is_wrong(dir.open("sub"), Kind::Dir) && is_wrong(dir.open_or_create("sub"), Kind::Dir));
        assert!(is_wrong(dir.open_dir("a"), Kind::File));
    });
}

fn is_wrong<T>(opened: io::Result<T>, found: Kind) -> bool {
    let wrong = |error: io::Error| error.downcast::<WrongKind>().is_ok_and(|wrong| wrong.found == found);
    opened.err().is_some_and(wrong)
}

/// The file system in memory follows links on the way to a directory, as the disk does; neither does inside one.
#[test]
fn links_are_followed_on_the_way_to_a_directory_and_never_in_it() {
    let memory = MemoryVfs::default();
    memory.write(Path::new("real/file"), b"x").unwrap();
    memory.write(Path::new("other/file"), b"yy").unwrap();
    memory.link_to(Path::new("real"), Path::new("way")).unwrap();
    let opened = memory.open_dir(Path::new("way")).unwrap();
    memory.link_to(Path::new("other"), Path::new("way")).unwrap();
    assert_eq!(opened.open("file").unwrap().bytes().unwrap(), 1, "it was opened when the link led here");
    assert_eq!(memory.open_dir(Path::new("way")).unwrap().open("file").unwrap().bytes().unwrap(), 2);
    memory.link_to(Path::new("file"), Path::new("real/link")).unwrap();
    assert!(is_wrong(opened.open("link"), Kind::Link) && is_wrong(opened.open_or_create("link"), Kind::Link));
    memory.rename(Path::new("real"), Path::new("other/moved")).unwrap();
    opened.create("new").unwrap();
    assert!(memory.read(Path::new("other/moved/new")).is_ok());
    memory.remove(Path::new("other")).unwrap();
    assert!(opened.create("newer").is_err() && opened.list().is_err());
}

#[cfg(unix)]
#[test]
fn nothing_but_a_regular_file_is_opened_and_nothing_waits() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("file"), "x").unwrap();
    symlink("file", at("link")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    symlink(".", at("way")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(at("fifo")).status().unwrap().success());
    let dir = DiskVfs.open_dir(&at("way")).unwrap();
    for (name, found) in [
        ("link", Kind::Link),
        ("dangling", Kind::Link),
        ("way", Kind::Link),
        ("socket", Kind::Other),
        ("fifo", Kind::Fifo),
    ] {
        assert!(is_wrong(dir.open(name), found) && is_wrong(dir.open_or_create(name), found), "{name}");
        assert!(is_wrong(dir.open_dir(name), found), "{name}");
        assert_eq!(dir.find(name).unwrap().unwrap().kind, found);
        assert_eq!(kind(dir.create(name)), Some(io::ErrorKind::AlreadyExists), "{name}");
    }
    assert!(kind(DiskVfs.open_dir(&at("fifo"))).is_some() && kind(DiskVfs.open_dir(&at("file"))).is_some());
    for path in ["way/file", "../x", ".."] {
        assert!(dir.open(path).is_err() && dir.create(path).is_err(), "{path}");
    }
    assert!(!at("nowhere").exists() && dir.open("file").is_ok());
}

#[test]
fn locks_belong_to_openings_and_end_with_them() {
    on_each(|dir| {
        let first = dir.open_or_create("lock").unwrap();
        first.write_at(b"held", 0).unwrap();
        assert!(first.try_lock(true).unwrap());
        assert!(first.try_lock(true).unwrap(), "what one holds, one may ask for again");
        let second = dir.open_or_create("lock").unwrap();
        assert_eq!(whole(&*second), b"held", "opening an existing file keeps its bytes");
        assert!(!second.try_lock(true).unwrap());
        assert!(!second.try_lock(false).unwrap());
        drop(first);
        let reader = dir.open("lock").unwrap();
        assert!(reader.try_lock(false).unwrap() && second.try_lock(false).unwrap(), "shared locks share");
        let third = dir.open("lock").unwrap();
        assert!(!third.try_lock(true).unwrap());
        drop(reader);
        assert!(!third.try_lock(true).unwrap());
        drop(second);
        assert!(third.try_lock(true).unwrap());
    });
}

#[test]
fn a_removed_file_stays_readable_where_it_is_open_or_mapped() {
    on_each(|dir| {
        let bytes: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
        dir.create("gone").unwrap().write_at(&bytes, 0).unwrap();
        let file = dir.open("gone").unwrap();
        let region = file.map(bytes.len() as u64 - 1, LEAVE).unwrap();
        assert_eq!(kind(file.map(bytes.len() as u64 + 1, LEAVE)), Some(io::ErrorKind::UnexpectedEof));
        dir.remove("gone").unwrap();
        assert_eq!(dir.find("gone").unwrap(), None);
        assert!(whole(&*file) == bytes);
        drop(file);
        assert!(region.as_bytes() == &bytes[..bytes.len() - 1]);
        assert!(bytemuck::try_cast_slice::<u8, u64>(&region.as_bytes()[..8]).is_ok(), "aligned for numbers");
        // A new file of the same name is another file.
        dir.create("gone").unwrap();
        assert_eq!(region.as_bytes()[4], 1);
    });
}

/// Returns the contents that `path` may have after a power cut now; `None` where there is no file.
fn images(vfs: &MemoryVfs, path: &str) -> Vec<Option<Vec<u8>>> {
    let mut disk = PowerCut::default();
    vfs.operations().iter().for_each(|operation| disk.apply(operation));
    let outcomes = disk.aftermaths(Effort::Usual, 1);
    let mut found: Vec<_> = outcomes.iter().map(|outcome| disk.image(outcome).read(Path::new(path)).ok()).collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn a_power_cut_keeps_what_was_synced_and_any_part_of_the_rest() {
    let vfs = MemoryVfs::recording();
    let dir = vfs.open_dir(Path::new("")).unwrap();
    let file = dir.create("file").unwrap();
    file.write_at(b"abcd", 0).unwrap();
    let torn = [b"".to_vec(), b"\0\0\0\0".to_vec(), b"ab".to_vec(), b"abc".to_vec(), b"abcd".to_vec()];
    let expected: Vec<_> = std::iter::once(None).chain(torn.map(Some)).collect();
    assert_eq!(images(&vfs, "file"), expected, "neither name nor bytes are safe");
    file.sync().unwrap();
    assert_eq!(images(&vfs, "file"), [None, Some(b"abcd".to_vec())], "bytes are, the name is not");
    dir.sync().unwrap();
    assert_eq!(images(&vfs, "file"), [Some(b"abcd".to_vec())]);
    dir.rename("file", "other").unwrap();
    for image in [images(&vfs, "file"), images(&vfs, "other")] {
        assert_eq!(image, [None, Some(b"abcd".to_vec())], "renamed or not");
    }
    dir.sync().unwrap();
    dir.remove("other").unwrap();
    assert_eq!(images(&vfs, "other"), [None, Some(b"abcd".to_vec())], "a removal is no more durable than a creation");
}

#[test]
fn names_survive_by_the_sync_of_their_own_directory() {
    let vfs = MemoryVfs::recording();
    vfs.create_dir(Path::new("sub")).unwrap();
    let dir = vfs.open_dir(Path::new("sub")).unwrap();
    dir.create("file").unwrap();
    dir.sync().unwrap();
    assert_eq!(images(&vfs, "sub/file"), [None, Some(Vec::new())], "the name of the directory is not safe");
    dir.sync_parent().unwrap();
    assert_eq!(images(&vfs, "sub/file"), [Some(Vec::new())]);
}

#[test]
fn bytes_whose_sync_failed_are_seen_but_never_reach_the_disk() {
    let vfs = MemoryVfs::recording();
    let faulty = FaultyVfs::new(vfs.clone(), 4, Fault::Io, false);
    let dir = faulty.open_dir(Path::new("")).unwrap();
    let file = dir.create("file").unwrap();
    dir.sync().unwrap();
    file.write_at(b"lost", 0).unwrap();
    assert!(file.sync().is_err() && faulty.fired() == Some("sync"));
    file.sync().unwrap();
    assert_eq!(whole(&*file), b"lost");
    assert_eq!(images(&vfs, "file"), [Some(Vec::new())]);
}

#[test]
fn every_operation_can_fail_and_a_short_write_does_half() {
    for fault in Fault::ALL {
        let vfs = FaultyVfs::new(MemoryVfs::default(), 2, fault, true);
        let dir = vfs.open_dir(Path::new("")).unwrap();
        let file = dir.create("file").unwrap();
        match fault {
            Fault::ShortWrite => assert_eq!(file.write_at(b"four", 0).unwrap(), 2),
            _ => assert!(file.write_at(b"four", 0).is_err()),
        }
        let failures = [
            kind(file.bytes()),
            kind(file.read_at(&mut [0], 0)),
            kind(file.sync()),
            kind(file.try_lock(true)),
            kind(file.identity()),
            kind(file.map(0, LEAVE)),
            kind(file.protect()),
            kind(vfs.create_dir(Path::new("dir"))),
            kind(vfs.open_dir(Path::new(""))),
            kind(dir.create_dir("dir")),
            kind(dir.open_dir("dir")),
            kind(dir.list()),
            kind(dir.create("new")),
            kind(dir.open("file")),
            kind(dir.open_or_create("file")),
            kind(dir.rename("file", "new")),
            kind(dir.remove("file")),
            kind(dir.sync()),
            kind(dir.sync_parent()),
            kind(dir.find("file")),
            kind(dir.identity()),
            kind(dir.lineage()),
        ];
        assert!(failures.iter().all(|failure| failure.is_some() && *failure == failures[0]), "{fault:?} {failures:?}");
    }
}
