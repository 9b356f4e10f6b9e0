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

    /// Keeps damage, unreadable files included; gives every other error back.
    fn try_from(error: Error) -> Result<Damage, Error> {
        match error {
            Error::Corrupt { path, offset, what } => Ok(Damage::Corrupt { path, offset, what }),
            Error::Version { path, found, supported } => Ok(Damage::Version { path, found, supported }),
            // A sector that cannot be read costs what lies in it, not the whole database.
            Error::Io { path, operation: "read", source } => {
                Ok(Damage::Corrupt { path, offset: None, what: format!("it cannot be read: {source}") })
            }
            other => Err(other),
        }
    }
}
