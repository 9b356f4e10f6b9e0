//! Damage that is kept until somebody asks for what it hit.

use crate::error::Error;
use std::path::PathBuf;

/// The content of an [`Error::Corrupt`] or [`Error::Version`], which can be handed out again and again.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    Corrupt { path: PathBuf, offset: Option<u64>, what: String },
    Version { path: PathBuf, found: String, supported: String },
}

impl Damage {
    pub(crate) fn error(&self) -> Error {
        match self.clone() {
            Damage::Corrupt { path, offset, what } => Error::Corrupt { path, offset, what },
            Damage::Version { path, found, supported } => Error::Version { path, found, supported },
        }
    }
}

impl TryFrom<Error> for Damage {
    type Error = Error;

    /// Keeps damage; gives every other error back.
    fn try_from(error: Error) -> Result<Damage, Error> {
        match error {
            Error::Corrupt { path, offset, what } => Ok(Damage::Corrupt { path, offset, what }),
            Error::Version { path, found, supported } => Ok(Damage::Version { path, found, supported }),
            other => Err(other),
        }
    }
}
