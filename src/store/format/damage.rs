//! Damage, kept until somebody asks for what it hit, and the records that cannot be read because of it.

use crate::error::{Error, Result};
use std::fmt;
use std::path::PathBuf;

/// The content of an [`Error::Corrupt`] or [`Error::Version`], from which the error can be made again and again.
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

    /// Returns the file, the place in it, and what is wrong there.
    pub(crate) fn into_parts(self) -> (PathBuf, Option<u64>, String) {
        match self {
            Damage::Corrupt { path, offset, what } => (path, offset, what),
            Damage::Version { path, found, supported } => {
                (path, None, format!("format {found}, this release reads {supported}"))
            }
        }
    }
}

impl TryFrom<Error> for Damage {
    type Error = Error;

    /// Keeps damage, failed reads included; returns every other error unchanged.
    fn try_from(error: Error) -> Result<Damage> {
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

/// Records that could not be read: one, or all of a file that cannot be used as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreadable {
    /// The record's id, if it is a single one whose id can be read.
    pub id: Option<String>,
    /// How many records could not be read.
    pub records: u64,
    /// Path of the damaged file.
    pub path: PathBuf,
    /// Place in it, in bytes from its start, when that is known.
    pub offset: Option<u64>,
    /// What is wrong with the bytes there, for people to read.
    pub what: String,
}

impl Unreadable {
    /// Describes `records` records that cannot be read because of `error`.
    ///
    /// # Errors
    /// The error itself when it is not damage.
    pub(crate) fn new(id: Option<&str>, records: u64, error: Error) -> Result<Unreadable> {
        let (path, offset, what) = Damage::try_from(error)?.into_parts();
        Ok(Unreadable { id: id.map(str::to_owned), records, path, offset, what })
    }

    /// Returns the damage as an error that says which records it cost.
    pub fn error(&self) -> Error {
        Error::corrupt(&self.path, self.offset, format!("{} cannot be read: {}", self.subject(), self.what))
    }

    fn subject(&self) -> String {
        match (&self.id, self.records) {
            (Some(id), _) => format!("record `{id}`"),
            (None, 1) => "a record of unknown id".to_owned(),
            (None, records) => format!("{records} records"),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.offset.map(|at| format!(" at byte {at}")).unwrap_or_default();
        write!(f, "{} cannot be read: {}{at}: {}", self.subject(), self.path.display(), self.what)
    }
}
