//! Where a database lies: on a network, where it cannot be written, or in more files than a process may open.
#![allow(clippy::unwrap_used)]

use otolith::testing::store::vfs::{FileId, FileSystem, Found, MemoryVfs, Region, Unchanging, Vfs, VfsDir, VfsFile};
use otolith::testing::store::{Access, Change, Mode, Options, Store};
use otolith::{Database, Error, Matrix, Record, Schema};
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files in memory that claim to lie somewhere else, and that cannot be mapped.
#[derive(Debug)]
struct Elsewhere(MemoryVfs, FileSystem);

#[derive(Debug)]
struct ElsewhereDir(Box<dyn VfsDir>);

#[derive(Debug)]
struct Unmappable(Box<dyn VfsFile>);

fn unmappable(file: io::Result<Box<dyn VfsFile>>) -> io::Result<Box<dyn VfsFile>> {
    file.map(|file| Box::new(Unmappable(file)) as Box<dyn VfsFile>)
}

impl Vfs for Elsewhere {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn VfsDir>> {
        Ok(Box::new(ElsewhereDir(self.0.open_dir(path)?)))
    }
    fn file_system(&self, _: &Path) -> FileSystem {
        self.1.clone()
    }
}

impl VfsDir for ElsewhereDir {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        self.0.create_dir(name)
    }
    fn open_dir(&self, name: &str) -> io::Result<Box<dyn VfsDir>> {
        Ok(Box::new(ElsewhereDir(self.0.open_dir(name)?)))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        unmappable(self.0.create(name))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        unmappable(self.0.open(name))
    }
    fn open_or_create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        unmappable(self.0.open_or_create(name))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn sync_parent(&self) -> io::Result<()> {
        self.0.sync_parent()
    }
    fn find(&self, name: &str) -> io::Result<Option<Found>> {
        self.0.find(name)
    }
    fn identity(&self) -> io::Result<FileId> {
        self.0.identity()
    }
    fn lineage(&self) -> io::Result<Vec<FileId>> {
        self.0.lineage()
    }
}

impl VfsFile for Unmappable {
    fn bytes(&self) -> io::Result<u64> {
        self.0.bytes()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn try_lock(&self, exclusive: bool) -> io::Result<bool> {
        self.0.try_lock(exclusive)
    }
    fn identity(&self) -> io::Result<FileId> {
        self.0.identity()
    }
    fn map(&self, _: u64, _: Unchanging) -> io::Result<Region> {
        panic!("mapped")
    }
    fn protect(&self) -> io::Result<()> {
        self.0.protect()
    }
}

fn matrix(seed: usize) -> Matrix {
    Matrix::from_rows(4, 8, (0..32).map(|n| (n * (seed + 1) % 7) as f32 - 3.0).collect()).unwrap()
}

/// Finds each of `count` records by its own rows.
fn finds_each(db: &Database, count: usize) {
    let clips = db.collection("c").unwrap();
    assert_eq!(clips.len().unwrap(), count);
    for seed in 0..count {
        assert_eq!(clips.get(&format!("r{seed}")).unwrap().unwrap().matrix, matrix(seed));
        assert_eq!(clips.query(&matrix(seed)).run().unwrap().len(), count.min(10));
    }
}

#[test]
fn a_network_file_system_is_written_only_when_the_caller_says_so_and_is_never_mapped() {
    for (place, name) in [
        (FileSystem::Network("nfs".into()), "nfs"),
        (FileSystem::Unknown("a file system of unknown type 0x00000007".into()), "0x00000007"),
    ] {
        let files = MemoryVfs::default();
        let vfs = || Arc::new(Elsewhere(files.clone(), place.clone()));
        let refused = Database::options().vfs(vfs()).open("/db").map(drop).unwrap_err();
        assert!(matches!(refused, Error::Unusable { .. }), "{refused:?}");
        let text = refused.to_string();
        for part in ["/db", name, "allow_network_fs(true)", "--allow-network-fs", "local disk"] {
            assert!(text.contains(part), "`{part}` is missing from: {text}");
        }
        assert!(files.open_dir(Path::new("/db")).is_err(), "a refused database was made");

        let db = Database::options().vfs(vfs()).allow_network_fs(true).open("/db").unwrap();
        let clips = db.create_collection("c", Schema::new(8)).unwrap();
        for seed in 0..3 {
            clips.upsert([Record::new(format!("r{seed}"), matrix(seed))]).unwrap();
        }
        // Small files are read wherever they lie; one of this length would be mapped.
        let large = Matrix::from_rows(20_000, 8, vec![0.5; 160_000]).unwrap();
        db.create_collection("large", Schema::new(8)).unwrap().upsert([Record::new("r0", large)]).unwrap();
        db.flush().unwrap();
        finds_each(&db, 3);
        drop((clips, db));
        finds_each(&Database::options().vfs(vfs()).read_only().open("/db").unwrap(), 3);
        // The same files where they may be mapped, to see that the test would notice.
        let mapping = Database::options().vfs(Arc::new(Elsewhere(files.clone(), FileSystem::Local))).read_only();
        let mapped = std::panic::catch_unwind(AssertUnwindSafe(|| mapping.open("/db").map(drop)));
        assert!(mapped.is_err());
    }
}

/// What the kernel makes out of nothing keeps no database.
#[cfg(target_os = "linux")]
#[test]
fn a_file_system_that_nobody_knows_is_named_by_its_number() {
    let refused = Database::open("/proc/self/sounds.otolith").map(drop).unwrap_err();
    assert!(matches!(refused, Error::Unusable { .. }) && refused.to_string().contains("0x00009fa0"), "{refused}");
}

#[cfg(unix)]
mod kinds;
#[cfg(unix)]
mod moved;

#[cfg(unix)]
mod children {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    /// Set for the tests below that are run again in a child: the database.
    const CHILD: &str = "OTOLITH_TEST_PLACE_CHILD";
    const RECORDS: usize = 5;

    pub(crate) fn child_database() -> Option<PathBuf> {
        std::env::var_os(CHILD).map(PathBuf::from)
    }

    /// A command that runs the test of that name again, on `db`.
    pub(crate) fn again(shell: &str, name: &str, db: &Path) -> Command {
        let mut command = Command::new("sh");
        let test = std::env::current_exe().unwrap();
        command.args(["-c", shell, "sh"]).arg(test).args(["--exact", name, "--nocapture"]).env(CHILD, db);
        command
    }

    pub(crate) fn succeeds(command: &mut Command) {
        let output = command.output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}\n{err}");
        assert!(out.contains("1 passed"), "the child ran no test: {out}");
    }

    /// A database with a writer still at work: some records may be in the log only.
    fn database(path: &Path) -> Database {
        let db = Database::open(path).unwrap();
        let clips = db.create_collection("c", Schema::new(8)).unwrap();
        for seed in 0..RECORDS {
            clips.upsert([Record::new(format!("r{seed}"), matrix(seed))]).unwrap();
        }
        db
    }

    fn reads_and_does_not_write(path: &Path) {
        let names = |dir: &Path| fs::read_dir(dir).unwrap().count();
        let before = names(path) + names(&path.join("seg")) + names(&path.join("derived"));
        for access in [Access::Map, Access::Read] {
            finds_each(&Database::options().access(access).read_only().open(path).unwrap(), RECORDS);
        }
        let refused = Database::open(path).map(drop).unwrap_err();
        // Somebody writes, or the medium cannot be written at all.
        assert!(matches!(refused, Error::Io { .. } | Error::Locked { .. }), "{refused}");
        assert_eq!(names(path) + names(&path.join("seg")) + names(&path.join("derived")), before);
    }

    #[test]
    fn a_directory_without_write_permission_is_read() {
        if let Some(path) = child_database() {
            return reads_and_does_not_write(&path);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let writer = database(&path);
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(folder.path(), 0o755);
        let dirs = [path.clone(), path.join("seg"), path.join("view"), path.join("derived")];
        dirs.iter().for_each(|dir| mode(dir, 0o555));
        mode(&path.join("LOCK"), 0o444);
        let mut child = again("exec \"$@\"", "children::a_directory_without_write_permission_is_read", &path);
        if fs::metadata(folder.path()).unwrap().uid() == 0 {
            // Permissions do not bind root, so somebody else reads; who must be able to read this program, too.
            child.uid(65_534).gid(65_534);
            let program = std::env::current_exe().unwrap();
            let seen = Command::new("test").arg("-x").arg(&program).uid(65_534).gid(65_534).status().unwrap();
            if !seen.success() {
                return eprintln!("skipped: another user cannot run {}", program.display());
            }
        }
        succeeds(&mut child);
        dirs.iter().for_each(|dir| mode(dir, 0o755));
        drop(writer);
    }

    #[test]
    fn a_read_only_mount_is_read() {
        if let Some(path) = child_database() {
            return reads_and_does_not_write(&path);
        }
        let may_mount = Command::new("unshare").args(["--mount", "true"]).output();
        if !may_mount.is_ok_and(|output| output.status.success()) {
            return eprintln!("skipped: `unshare --mount` is not allowed here, so nothing can be mounted read-only");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let writer = database(&path);
        let shell = format!(
            "mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}' && ! touch '{0}/probe' 2>/dev/null && exec \"$@\"",
            path.display()
        );
        let inner = again(&shell, "children::a_read_only_mount_is_read", &path);
        let mut child = Command::new("unshare");
        child.arg("--mount").arg("sh").args(inner.get_args()).env(CHILD, &path);
        succeeds(&mut child);
        drop(writer);
    }

    const SEGMENTS: usize = 1_000;

    #[test]
    fn a_thousand_segments_need_few_descriptors() {
        if let Some(path) = child_database() {
            for access in [Access::Map, Access::Read] {
                let store = Store::open(&path, Mode::Read, Options { access, ..Options::default() }).unwrap();
                let version = store.version();
                for _ in 0..2 {
                    for (n, collection) in version.collections.values().enumerate() {
                        let (at, record) = collection.find("r").unwrap().unwrap();
                        assert_eq!(collection.segments[at].segment.matrix(record).unwrap().into_matrix(), matrix(n));
                    }
                }
            }
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let store = Store::open(&path, Mode::Write { create: true }, Options::default()).unwrap();
        // One collection each, so that nothing joins them.
        let name = |n| format!("{n:04}");
        let create = (0..SEGMENTS).map(|n| Change::CreateCollection { name: name(n), schema: Schema::new(8) });
        let fill =
            (0..SEGMENTS).map(|n| Change::Upsert { collection: name(n), records: vec![Record::new("r", matrix(n))] });
        store.commit(create.chain(fill).collect()).unwrap();
        store.flush().unwrap();
        drop(store);
        let sealed = fs::read_dir(path.join("seg")).unwrap().count();
        assert!(sealed >= SEGMENTS, "{sealed} segments");
        succeeds(&mut again(
            "ulimit -n 128 && exec \"$@\"",
            "children::a_thousand_segments_need_few_descriptors",
            &path,
        ));
    }
}
