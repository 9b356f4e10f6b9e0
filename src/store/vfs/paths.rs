//! Directories on systems that cannot look up names relative to an open directory: they go by absolute paths without
//! links. Windows does not rename or remove a directory, nor one above it, that somebody holds open without sharing
//! that right; so that right is not shared here.

use super::{FileId, Found, Kind, VfsDir, VfsFile, WrongKind};
use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A directory whose path stays valid as long as this lives.
#[derive(Debug)]
struct PathDir {
    path: PathBuf,
    _held: File,
}

/// Opens the directory at `path`.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn VfsDir>> {
    use std::os::windows::fs::OpenOptionsExt;

    // FILE_SHARE_READ and FILE_SHARE_WRITE without FILE_SHARE_DELETE; FILE_FLAG_BACKUP_SEMANTICS opens directories.
    let mut options = OpenOptions::new();
    options.read(true).share_mode(1 | 2).custom_flags(0x0200_0000);
    let path = fs::canonicalize(path)?;
    let held = options.open(&path)?;
    match held.metadata()?.is_dir() {
        true => Ok(Box::new(PathDir { path, _held: held })),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// Returns the same identity for all files: nobody can replace a file here without removing it, and a missing name is
/// noticed.
pub(super) fn identity(_: &File) -> io::Result<FileId> {
    Ok(FileId::default())
}

impl PathDir {
    /// Identifies a path without links by its hash.
    fn id(path: &Path) -> FileId {
        FileId { device: 1, number: xxhash_rust::xxh3::xxh3_64(path.as_os_str().as_encoded_bytes()) }
    }

    fn at(&self, name: &str) -> io::Result<PathBuf> {
        let one = Path::new(name).file_name().is_some_and(|only| only == name);
        if one { Ok(self.path.join(name)) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn open_as(&self, name: &str, options: &mut OpenOptions) -> io::Result<Box<dyn VfsFile>> {
        self.check(name, Kind::File)?;
        Ok(Box::new(options.open(self.at(name)?)?))
    }

    fn check(&self, name: &str, wanted: Kind) -> io::Result<()> {
        match self.find(name)? {
            Some(found) if found.kind != wanted => Err(WrongKind { found: found.kind, wanted }.into()),
            _ => Ok(()),
        }
    }
}

impl VfsDir for PathDir {
    fn create_dir(&self, name: &str) -> io::Result<()> {
        fs::create_dir(self.at(name)?)
    }

    fn open_dir(&self, name: &str) -> io::Result<Box<dyn VfsDir>> {
        self.check(name, Kind::Dir)?;
        open(&self.at(name)?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // Names that are not UTF-8 are not the store's.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).create_new(true).open(self.at(name)?)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        self.open_as(name, OpenOptions::new().read(true))
    }

    fn open_or_create(&self, name: &str) -> io::Result<Box<dyn VfsFile>> {
        self.open_as(name, OpenOptions::new().read(true).write(true).create(true).truncate(false))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from)?, self.at(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name)?)
    }

    fn link(&self, name: &str, target: &dyn VfsDir) -> io::Result<()> {
        match (target as &dyn Any).downcast_ref::<PathDir>() {
            Some(target) => fs::hard_link(self.at(name)?, target.at(name)?),
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Does nothing, because there is no such operation: names are journalled with the file.
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn sync_parent(&self) -> io::Result<()> {
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<Option<Found>> {
        let kind = match fs::symlink_metadata(self.at(name)?) {
            Ok(is) if is.is_file() => Kind::File,
            Ok(is) if is.is_dir() => Kind::Dir,
            Ok(is) if is.is_symlink() => Kind::Link,
            Ok(_) => Kind::Other,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let identity = match kind {
            Kind::Dir => PathDir::id(&self.at(name)?),
            _ => FileId::default(),
        };
        Ok(Some(Found { identity, kind }))
    }

    fn identity(&self) -> io::Result<FileId> {
        Ok(self.lineage()?.first().copied().unwrap_or_default())
    }

    fn lineage(&self) -> io::Result<Vec<FileId>> {
        Ok(self.path.ancestors().map(PathDir::id).collect())
    }
}
