//! Checks whether a directory is still the one that the handle has opened. Only the identity of what is held open
//! tells: the path may lead to another database by now, or the directory may have been emptied and filled with another
//! one.

use super::{DIRS, File, Files, LOCK, RESERVE, SEG, VIEW, retried};
use crate::error::{Error, Result};
use crate::store::vfs::{FileId, Kind, WrongKind};

/// The lock of a writer, by which it knows that the directory is still its own.
#[derive(Debug)]
pub(crate) struct Held {
    identity: FileId,
    /// The text that it wrote there, if it could.
    text: Option<Vec<u8>>,
}

/// What now has the name of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// That file.
    Same,
    /// Nothing.
    Nothing,
    /// Something else.
    Other,
}

impl Files {
    /// Fails if a name of the database is that of something of another kind, such as a link, through which bytes would
    /// go elsewhere or nowhere.
    pub(crate) fn check_kinds(&self) -> Result<()> {
        for name in [LOCK, RESERVE].into_iter().chain(DIRS) {
            let wanted = if DIRS.contains(&name) { Kind::Dir } else { Kind::File };
            match self.run(name, "look up", |dir, name| dir.find(name))? {
                Some(found) if found.kind != wanted => {
                    return Err(Error::io(
                        self.path(name),
                        "open for writing",
                        WrongKind { found: found.kind, wanted }.into(),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Remembers the lock file: from now on nothing is made, renamed or removed unless `LOCK` is still this file.
    pub(crate) fn hold(&self, lock: &File, text: Option<Vec<u8>>) -> Result<()> {
        let identity = lock.identity()?;
        let _ = self.0.lock.set(Held { identity, text });
        Ok(())
    }

    /// Fails for a writer if `LOCK` is no longer its own file; readers pass.
    pub(crate) fn check_lock(&self) -> Result<()> {
        let Some(held) = self.0.lock.get() else { return Ok(()) };
        match self.found(LOCK)? {
            Some(identity) if identity == held.identity => Ok(()),
            found => Err(self.lost(LOCK, found.is_some())),
        }
    }

    /// Also checks that nobody else has signed `LOCK`, and that the directories are still those that were opened.
    pub(crate) fn check_place(&self) -> Result<()> {
        self.check_lock()?;
        if let Some(text) = self.0.lock.get().and_then(|held| held.text.as_ref())
            && *text != self.open(LOCK)?.read(0, text.len() as u64)?.as_bytes()
        {
            return Err(self.lost(LOCK, true));
        }
        self.check_dirs()
    }

    /// Checks that the directories that are open still have their names.
    pub(crate) fn check_dirs(&self) -> Result<()> {
        for (name, opened) in [SEG, VIEW].into_iter().zip(&self.0.inside) {
            let Some(opened) = opened.get() else { continue };
            let identity =
                retried(|| opened.identity()).map_err(|error| Error::io(self.path(name), "look up", error))?;
            match self.found(name)? {
                Some(found) if found == identity => {}
                found => return Err(self.lost(name, found.is_some())),
            }
        }
        Ok(())
    }

    fn found(&self, name: &str) -> Result<Option<FileId>> {
        Ok(self.run(name, "look up", |dir, name| dir.find(name))?.map(|found| found.identity))
    }

    /// Returns what now has the name of an open file.
    pub(crate) fn holding(&self, name: &str, file: &File) -> Result<Holding> {
        Ok(match self.found(name)? {
            None => Holding::Nothing,
            Some(found) if found == file.identity()? => Holding::Same,
            Some(_) => Holding::Other,
        })
    }

    /// Checks that an open file still has its name.
    pub(crate) fn check_name(&self, name: &str, file: &File) -> Result<()> {
        match self.holding(name, file)? {
            Holding::Same => Ok(()),
            holding => Err(self.lost(name, holding == Holding::Other)),
        }
    }

    /// Makes the error that says why nothing here is touched any more.
    pub(crate) fn lost(&self, name: &str, replaced: bool) -> Error {
        let what = if replaced { "is another than this handle opened" } else { "was removed" };
        let cause = format!(
            "`{name}` {what}: the directory was emptied, replaced, restored or copied over while it was open, and \
             nothing in it is touched any more"
        );
        Error::Poisoned { path: self.root().to_path_buf(), cause }
    }
}
