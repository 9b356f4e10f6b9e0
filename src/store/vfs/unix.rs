//! Directories on Unix: every operation is relative to a directory that is held open, so no path is looked up twice.

use super::{FileId, Found, Kind, VfsDir, VfsFile, WrongKind};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Most directories above one another that are looked up: no system takes longer paths.
const DEEPEST: usize = 1_024;

/// A directory, held open.
#[derive(Debug)]
struct UnixDir(File);

/// Opens the directory at `path`.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn VfsDir>> {
    let flags = OFlags::DIRECTORY.bits() as i32;
    Ok(Box::new(UnixDir(OpenOptions::new().read(true).custom_flags(flags).open(path)?)))
}

/// Returns the identity of a file.
pub(super) fn identity(file: &File) -> io::Result<FileId> {
    let stat = file.metadata()?;
    Ok(FileId { device: stat.dev(), number: stat.ino() })
}

#[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // these numbers are narrower on other systems
fn found(stat: &Stat) -> Found {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Link,
        FileType::Fifo => Kind::Fifo,
        _ => Kind::Other,
    };
    Found { identity: FileId { device: stat.st_dev as u64, number: stat.st_ino as u64 }, kind }
}

impl UnixDir {
    fn open_as(&self, name: &str, wanted: Kind, flags: OFlags) -> io::Result<File> {
        // The system would follow the links in a path.
        if name.contains('/') {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(0o666));
        let found = match &opened {
            Ok(file) => found(&rustix::fs::fstat(file)?),
            Err(Errno::NOENT | Errno::EXIST | Errno::INTR) => return Ok(opened.map(File::from)?),
            // Each system has its own error for a link, a directory or a socket.
            Err(error) => self.find(name)?.ok_or(*error)?,
        };
        if found.kind != wanted {
            return Err(WrongKind { found: found.kind, wanted }.into());
        }
        Ok(opened.map(File::from)?)
    }
}

impl VfsDir for UnixDir {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(0o777))?)
    }

    fn open_dir(&self, name: &str) -> io::Result<Box<dyn VfsDir>> {
        Ok(Box::new(UnixDir(self.open_as(name, Kind::Dir, OFlags::RDONLY | OFlags::DIRECTORY)?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)? {
            // Names that are not UTF-8 are not the store's.
            if let Ok(name) = entry?.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.open_as(name, Kind::File, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.open_as(name, Kind::File, OFlags::RDONLY)?))
    }

    fn open_or_create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(self.open_as(name, Kind::File, OFlags::RDWR | OFlags::CREATE)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    fn link(&self, name: &str, target: &dyn VfsDir) -> io::Result<()> {
        match (target as &dyn Any).downcast_ref::<UnixDir>() {
            Some(target) => Ok(rustix::fs::linkat(&self.0, name, &target.0, name, AtFlags::empty())?),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn sync_parent(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        File::from(rustix::fs::openat(&self.0, "..", flags, Mode::empty())?).sync_all()
    }

    fn find(&self, name: &str) -> io::Result<Option<Found>> {
        match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(found(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn identity(&self) -> io::Result<FileId> {
        identity(&self.0)
    }

    fn lineage(&self) -> io::Result<Vec<FileId>> {
        let (mut lineage, mut path) = (Vec::new(), ".".to_owned());
        while lineage.len() < DEEPEST {
            // Looked up, not opened: directories above a database may allow passing through but not reading.
            let identity = found(&rustix::fs::statat(&self.0, &path, AtFlags::empty())?).identity;
            if lineage.last() == Some(&identity) {
                break;
            }
            lineage.push(identity);
            path.push_str("/..");
        }
        Ok(lineage)
    }
}
