//! The hub's cache on disk, one repository's part of it, as the Python library lays it out:
//!
//! ```text
//! models--OWNER--NAME/refs/main                       the commit that the branch was at, as text
//!                     blobs/ETAG                      the bytes
//!                     snapshots/COMMIT/config.json -> ../../blobs/ETAG
//!                     .no_exist/COMMIT/config.json    empty: the hub has no such file at that commit
//! .locks/models--OWNER--NAME/ETAG.lock                held while blobs/ETAG is written
//! ```

use super::HubId;
use crate::error::{Error, Result};
use crate::outside;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

pub(super) struct Cache {
    repository: PathBuf,
    locks: PathBuf,
}

impl Cache {
    pub(super) fn of(root: &Path, id: &HubId) -> Cache {
        Cache { repository: root.join(id.folder()), locks: root.join(".locks").join(id.folder()) }
    }

    /// Returns the commit that a branch or tag was at when it was last looked up.
    pub(super) fn commit(&self, id: &HubId) -> Option<String> {
        if id.is_pinned() {
            return Some(id.revision().to_owned());
        }
        let commit = outside::read(&self.repository.join("refs").join(id.revision()), 1_024).ok()?;
        let commit = str::from_utf8(&commit).ok()?.trim();
        is_plain(commit).then(|| commit.to_owned())
    }

    /// Writes down which commit a branch or tag is at.
    pub(super) fn set_commit(&self, id: &HubId, commit: &str) -> Result<()> {
        if id.is_pinned() || self.commit(id).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.repository.join("refs").join(id.revision());
        make_parent(&path)?;
        replace(&path, |new| File::create_new(new)?.write_all(commit.as_bytes()))
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.repository.join("snapshots").join(commit)
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.repository.join("blobs").join(etag)
    }

    /// Returns whether the hub has said that there is no such file.
    pub(super) fn is_absent(&self, commit: &str, file: &str) -> bool {
        self.absent(commit, file).exists()
    }

    /// Returns whether a file is here, or is known to be absent from the hub.
    pub(super) fn is_known(&self, commit: &str, file: &str) -> bool {
        self.snapshot(commit).join(file).exists() || self.is_absent(commit, file)
    }

    pub(super) fn set_absent(&self, commit: &str, file: &str) -> Result<()> {
        let path = self.absent(commit, file);
        make_parent(&path)?;
        // Another process may write the same at the same time.
        replace(&path, |new| File::create_new(new).map(drop))
    }

    fn absent(&self, commit: &str, file: &str) -> PathBuf {
        self.repository.join(".no_exist").join(commit).join(file)
    }

    /// Waits until no other process writes the blob, and locks it until the returned handle is dropped.
    pub(super) fn lock(&self, etag: &str) -> Result<File> {
        let path = self.locks.join(format!("{etag}.lock"));
        make_parent(&path)?;
        let file = outside::reopen(&path, File::options().create(true).truncate(false).write(true))?;
        file.lock().map_err(|e| Error::io(&path, "lock", e))?;
        Ok(file)
    }

    /// Makes a file of a snapshot: a link to the blob, or a copy where links cannot be made. The caller holds its lock.
    pub(super) fn point(&self, commit: &str, file: &str, etag: &str) -> Result<()> {
        let path = self.snapshot(commit).join(file);
        make_parent(&path)?;
        let blob = self.blob(etag);
        replace(&path, |new| {
            link(&Path::new("../../blobs").join(etag), new).or_else(|_| fs::copy(&blob, new).map(|_| ()))
        })
    }
}

/// Makes a file under another name and then renames it, so that nobody sees half of it.
fn replace(path: &Path, make: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<()> {
    let new = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&new); // left by an earlier process with the same number
    make(&new).and_then(|()| fs::rename(&new, path)).map_err(|e| Error::io(path, "write", e))
}

pub(super) fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|e| Error::io(parent, "create", e))
}

#[cfg(unix)]
fn link(to: &Path, at: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(not(unix))]
fn link(_to: &Path, _at: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Returns whether a text from a server can be used as the name of a file.
pub(super) fn is_plain(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
