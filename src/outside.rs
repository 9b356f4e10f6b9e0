//! Opens files in places that other programs can write to: only regular files are opened, no more is read than asked
//! for, and nothing is written through a symbolic link.

use crate::error::{Error, Result};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
#[cfg(unix)]
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a regular file for reading; links in the path are followed. It neither waits for the writer of a pipe nor
/// touches a device.
///
/// # Errors
/// [`Error::Unusable`] when it is anything but a regular file, [`Error::Io`] when it cannot be opened.
pub fn open(path: &Path) -> Result<File> {
    let failed = |source| Error::io(path, "open", source);
    // Checked before opening, because opening a device can have effects, and again after, because the file may be
    // swapped in between.
    check(path, &fs::metadata(path).map_err(failed)?)?;
    let file = options().open(path).map_err(failed)?;
    check(path, &file.metadata().map_err(failed)?)?;
    Ok(file)
}

/// Returns all bytes of a regular file of at most `limit` bytes.
///
/// # Errors
/// Those of [`open`]; [`Error::Unusable`] when it is longer, without reading it whole.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = |source| Error::io(path, "read", source);
    let too_long = |bytes| Error::unusable(path, format!("{bytes} bytes, and such a file may have {limit}"));
    let file = open(path)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > limit {
        return Err(too_long(length.to_string()));
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > limit {
        true => Err(too_long(format!("more than {limit}"))),
        false => Ok(bytes),
    }
}

/// Creates a new file at `path` in place of any file there; a link is replaced, not followed.
///
/// # Errors
/// [`Error::Io`] and [`Error::DiskFull`].
pub fn create(path: &Path) -> Result<File> {
    let failed = |source| Error::io(path, "create", source);
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    File::options().write(true).create_new(true).open(path).map_err(failed)
}

/// Opens one of the program's own regular files for writing, as `options` say; a link at `path` is an error.
///
/// # Errors
/// [`Error::Unusable`] when it is anything but a regular file, [`Error::Io`] when it cannot be opened.
pub fn reopen(path: &Path, options: &mut OpenOptions) -> Result<File> {
    let failed = |source| Error::io(path, "open", source);
    match fs::symlink_metadata(path) {
        Ok(about) => check(path, &about)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let file = direct(options).open(path).map_err(failed)?;
    check(path, &file.metadata().map_err(failed)?)?;
    Ok(file)
}

fn check(path: &Path, about: &Metadata) -> Result<()> {
    match about {
        about if about.is_file() => Ok(()),
        about if about.is_dir() => Err(Error::unusable(path, "a directory, not a file")),
        about if about.is_symlink() => Err(Error::unusable(path, "a link where none belongs: remove it")),
        _ => Err(Error::unusable(path, "not a regular file: a pipe, a socket or a device cannot be used")),
    }
}

/// Options for reading. The flags keep pipes and terminals from doing harm, and mean nothing for regular files.
#[cfg(unix)]
fn options() -> OpenOptions {
    use rustix::fs::OFlags;
    let mut options = File::options();
    options.read(true).custom_flags((OFlags::NONBLOCK | OFlags::NOCTTY).bits() as _);
    options
}

#[cfg(unix)]
fn direct(options: &mut OpenOptions) -> &OpenOptions {
    use rustix::fs::OFlags;
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits() as _)
}

#[cfg(not(unix))]
fn options() -> OpenOptions {
    let mut options = File::options();
    options.read(true);
    options
}

#[cfg(not(unix))]
fn direct(options: &mut OpenOptions) -> &OpenOptions {
    options
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened_and_no_more_is_read_than_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), b"12345").unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        for name in ["file", "link"] {
            assert_eq!(read(&at(name), 5).unwrap(), b"12345");
            assert!(matches!(read(&at(name), 4), Err(Error::Unusable { .. })));
        }
        for path in [at("pipe"), at("."), "/dev/zero".into()] {
            let error = open(&path).unwrap_err();
            assert!(matches!(error, Error::Unusable { .. }), "{error}");
            assert!(error.to_string().starts_with(path.to_str().unwrap()), "{error}");
        }
        assert!(matches!(open(&at("nothing")), Err(Error::Io { .. })));
        // Nothing is written through a link, and a link is replaced by a file.
        assert!(matches!(reopen(&at("link"), File::options().write(true).create(true)), Err(Error::Unusable { .. })));
        assert!(matches!(reopen(&at("pipe"), File::options().write(true)), Err(Error::Unusable { .. })));
        reopen(&at("file"), File::options().append(true)).unwrap();
        reopen(&at("new"), File::options().write(true).create(true)).unwrap();
        for name in ["link", "pipe"] {
            create(&at(name)).unwrap();
            assert_eq!(read(&at(name), 5).unwrap(), b"");
        }
        assert_eq!(read(&at("file"), 5).unwrap(), b"12345");
        // A file whose length the system reports as 0 although it has bytes.
        if let Ok(bytes) = fs::read("/proc/self/status") {
            assert!(!bytes.is_empty() && read(Path::new("/proc/self/status"), 8).is_err());
        }
    }
}
