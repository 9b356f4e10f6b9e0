//! What a handle and the threads that work for it share. `write/commit.rs` and `upkeep/` say what is done with it.

use super::derived::Derived;
use super::files::{self, Files};
use super::version::replay::Replay;
use super::version::{self, Version};
use super::write::writer::Writer;
use super::{Access, Tuning};
use crate::error::{Error, Result};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};

/// What the handle and its threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) files: Files,
    pub(crate) access: Access,
    pub(crate) tuning: Tuning,
    /// The version that readers get: everything acknowledged.
    pub(crate) current: RwLock<Arc<Version>>,
    /// Where a reader is in the log. None for a writer, which knows what it wrote.
    pub(crate) replay: Option<Mutex<Replay>>,
    /// Shared with snapshots, which may outlive the store.
    pub(crate) derived: Arc<Derived>,
    pub(crate) writer: Option<Mutex<Writer>>,
    /// Notified whenever commits have become durable.
    pub(crate) synced: Condvar,
}

impl Shared {
    pub(crate) fn version(&self) -> Arc<Version> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace(&self, next: Arc<Version>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Two threads may each bring a version; the newer one stays.
        if next.is_after(&current) {
            *current = next;
        }
    }

    /// Remembers an error that happened beside the commits.
    pub(crate) fn note(&self, error: Error) {
        if let Ok(mut writer) = self.unchecked_writer() {
            writer.trouble = Some(error.to_string());
            writer.untold = Some(error);
        }
    }

    pub(crate) fn refresh(&self) -> Result<Arc<Version>> {
        match &self.replay {
            None => Ok(self.version()),
            Some(replay) => self.catch_up(&mut replay.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Moves to the newest version; `replay` is at the same place afterwards.
    pub(crate) fn catch_up(&self, replay: &mut Replay) -> Result<Arc<Version>> {
        let known = self.version();
        let anew = |what: String| Error::unusable(self.files.root(), format!("{what}: open it anew"));
        let gone = |error: Error| match error {
            error if files::is_missing(&error) || matches!(error, Error::NotFound { .. }) => {
                anew("was removed".to_owned())
            }
            other => other,
        };
        let newest = version::is_newest(&self.files, known.generation).map_err(gone)?;
        if newest && known.is_in_place(&self.files)? {
            match replay.catch_up(&self.files, &known) {
                Ok(None) => return Ok(known),
                Ok(Some(next)) => {
                    self.replace(Arc::new(next));
                    return Ok(self.version());
                }
                // A newer manifest appeared while the log was read.
                Err(_) if !version::is_newest(&self.files, known.generation)? => {}
                Err(error) => return Err(error),
            }
        }
        let (next, now) = version::newest_of(&self.files, self.access, Some(&known)).map_err(gone)?;
        if next.manifest.database != known.manifest.database {
            return Err(anew("holds another database than when it was opened".to_owned()));
        }
        if next.generation <= known.generation {
            return Err(anew(
                "holds an older state than this handle has seen, as when a backup is restored".to_owned(),
            ));
        }
        self.files.check_place().map_err(|error| match error {
            Error::Poisoned { cause, .. } => anew(cause),
            other => other,
        })?;
        *replay = now;
        self.replace(Arc::new(next));
        Ok(self.version())
    }
}
