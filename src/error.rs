//! The one error type of the engine, told apart by who has to act.
//!
//! Three families, see [`ErrorKind`]: the *caller* asked for something impossible, the *environment* refused
//! (disk, lock, permissions), or *damage* was found in a database. Messages say what failed, where, and what to do.
//! Bytes from disk and text from users never panic: they end here.

use std::io;
use std::path::{Path, PathBuf};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act on an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be fulfilled as it stands: change the request or the input file.
    Caller,
    /// The surroundings refused: disk, permissions, another writer.
    Environment,
    /// A file of a database is damaged. Verifying names every place, repairing saves what is whole.
    Damage,
}

/// Everything that can go wrong in the engine and in the rooms above it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value has another shape, type or size than its place demands.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// What was looked at.
        what: String,
        /// What its place demands.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A filter expression cannot be read.
    #[error("filter: {what} at byte {at_byte} of `{filter}`")]
    FilterSyntax {
        /// The whole expression.
        filter: String,
        /// Where reading stopped, in bytes from the start.
        at_byte: usize,
        /// What was expected there.
        what: String,
    },
    /// An argument has a value that makes no sense.
    #[error("{what}: {why}")]
    Invalid {
        /// Which argument.
        what: String,
        /// Why it is refused and what would be accepted.
        why: String,
    },
    /// A named thing does not exist.
    #[error("{what} `{name}`: not found{hint}")]
    NotFound {
        /// The kind of thing: `collection`, `view`, `record`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What there is instead, beginning with `: `, or empty.
        hint: String,
    },
    /// A name is taken already.
    #[error("{what} `{name}`: exists already")]
    Exists {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A file handed in (sound, model, table, array) cannot be used.
    #[error("{}: {why}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Something could not be fetched.
    #[error("{url}: {why}")]
    Download {
        /// Where from.
        url: String,
        /// What the server or the network did, and what to do.
        why: String,
    },
    /// The database was opened for reading only.
    #[error("{}: opened for reading only: open it with `Database::open` to write", path.display())]
    ReadOnly {
        /// The database.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("{}: {operation}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried: `open`, `read`, `sync`, ..
        operation: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process, or another handle of this one, is writing.
    #[error("{}: locked by {holder}: wait for it to end, or open the database read-only", path.display())]
    Locked {
        /// The database.
        path: PathBuf,
        /// What the lock file says of its holder.
        holder: String,
    },
    /// An earlier failure left it unknown what is on disk, or the directory is not what was opened any more, so this handle
    /// writes no more.
    #[error("{}: nothing more is written ({cause}): close the database and open it again", path.display())]
    Poisoned {
        /// The database.
        path: PathBuf,
        /// What happened.
        cause: String,
    },
    /// The disk is full. Nothing of the batch was kept; readers go on.
    #[error("{}: disk full: free some space and try again", path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// A commit failed after its last step had begun: after reopening it is there wholly or not at all.
    #[error("{}: outcome of the commit unknown ({cause}): reopen the database to see whether it took place", path.display())]
    OutcomeUnknown {
        /// The database.
        path: PathBuf,
        /// What failed.
        cause: String,
    },
    /// A file of a database does not hold what was written to it.
    #[error("{}: damaged{}: {what}: verifying the database names every place, repairing it saves what is whole", path.display(), at(*offset))]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where, in bytes from its start, when that is known.
        offset: Option<u64>,
        /// What is wrong there.
        what: String,
    },
    /// A file was written by a release that this one does not understand.
    #[error("{}: format {found}, this release reads {supported}: use a newer otolith", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version or flag found.
        found: String,
        /// What is understood.
        supported: String,
    },
}

/// An id as far as it helps to find the record, on one line.
struct Shown<'a>(&'a str);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown: String = self.0.chars().take(60).flat_map(char::escape_debug).collect();
        f.write_str(&shown)?;
        if self.0.chars().nth(60).is_some() { f.write_str("..") } else { Ok(()) }
    }
}

fn at(offset: Option<u64>) -> String {
    offset.map(|at| format!(" at byte {at}")).unwrap_or_default()
}

impl Error {
    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Mismatch { .. }
            | Error::FilterSyntax { .. }
            | Error::Invalid { .. }
            | Error::NotFound { .. }
            | Error::Exists { .. }
            | Error::Unusable { .. }
            | Error::ReadOnly { .. } => ErrorKind::Caller,
            Error::Download { .. }
            | Error::Io { .. }
            | Error::Locked { .. }
            | Error::Poisoned { .. }
            | Error::DiskFull { .. }
            | Error::OutcomeUnknown { .. } => ErrorKind::Environment,
            Error::Corrupt { .. } | Error::Version { .. } => ErrorKind::Damage,
        }
    }

    /// A failed file operation; a full disk gets its own variant.
    pub fn io(path: impl AsRef<Path>, operation: &'static str, source: io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Error::DiskFull { path }
            }
            _ => Error::Io { path, operation, source },
        }
    }

    /// Damage in a file of a database.
    pub fn corrupt(path: impl AsRef<Path>, offset: impl Into<Option<u64>>, what: impl Into<String>) -> Error {
        Error::Corrupt { path: path.as_ref().to_path_buf(), offset: offset.into(), what: what.into() }
    }

    /// A file handed in that cannot be used.
    pub fn unusable(path: impl AsRef<Path>, why: impl Into<String>) -> Error {
        Error::Unusable { path: path.as_ref().to_path_buf(), why: why.into() }
    }

    /// A value of another shape than its place demands.
    pub fn mismatch(what: impl Into<String>, expected: impl ToString, found: impl ToString) -> Error {
        Error::Mismatch { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// A senseless argument.
    pub fn invalid(what: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Invalid { what: what.into(), why: why.into() }
    }

    /// The same, of the record at this place of a batch, counted from 0.
    pub(crate) fn of_record(self, at: usize, id: Option<&str>) -> Error {
        let record = match id {
            Some(id) => format!("record `{}` (number {at} of the batch, from 0)", Shown(id)),
            None => format!("record number {at} of the batch, from 0"),
        };
        match self {
            Error::Mismatch { what, expected, found } => {
                Error::Mismatch { what: format!("{record}: {what}"), expected, found }
            }
            Error::Invalid { what, why } => Error::Invalid { what: format!("{record}: {what}"), why },
            other => other,
        }
    }

    /// A name that does not exist; `others` are the names that do.
    pub fn not_found<N: AsRef<str>>(
        what: &'static str,
        name: impl Into<String>,
        others: impl IntoIterator<Item = N>,
    ) -> Error {
        let others: Vec<String> = others.into_iter().take(8).map(|name| format!("`{}`", name.as_ref())).collect();
        let hint = if others.is_empty() { String::new() } else { format!(": there is {}", others.join(", ")) };
        Error::NotFound { what, name: name.into(), hint }
    }
}
