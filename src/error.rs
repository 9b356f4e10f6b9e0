//! The one error type of the library, with variants grouped by who has to act.
//!
//! There are three families, see [`ErrorKind`]: the *caller* asked for something impossible, the *environment* refused
//! (disk, lock, permissions), or *damage* was found in a database. Messages say what failed, where, and what to do. Bad
//! bytes from disk and bad text from users never cause a panic: they become an [`Error`].

use std::io;
use std::path::{Path, PathBuf};

/// A result whose error is [`Error`] unless another is named.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act on an [`Error`]; see [`Error::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request cannot be fulfilled as it stands: change the request or the input file.
    Caller,
    /// The surroundings refused: disk, permissions, network, another writer.
    Environment,
    /// A file of a database is damaged, or of a newer format. [`Database::verify`](crate::Database::verify) names
    /// every damaged place, [`DatabaseOptions::repair_to`](crate::DatabaseOptions::repair_to) saves what is whole.
    Damage,
}

/// Everything that can go wrong. Its `Display` is one line that names the place and says what to do.
///
/// # Examples
///
/// ```
/// use otolith::{Database, Error, ErrorKind};
///
/// match Database::open_read_only("nowhere.otolith") {
///     Ok(db) => println!("{:?}", db.collections()),
///     Err(Error::NotFound { name, .. }) => println!("there is no database {name} yet"),
///     Err(error) if error.kind() == ErrorKind::Damage => println!("{error}: restore the backup"),
///     Err(error) => return Err(error),
/// }
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value has another shape, type or size than its place demands.
    #[error("{what}: expected {expected}, found {found}")]
    Mismatch {
        /// The value that was checked.
        what: String,
        /// What its place demands.
        expected: String,
        /// What it is instead.
        found: String,
    },
    /// A filter expression cannot be read.
    #[error("filter: {what} at byte {at_byte} of `{filter}`")]
    FilterSyntax {
        /// The whole expression.
        filter: String,
        /// Where reading stopped, in bytes from the start of the expression.
        at_byte: usize,
        /// What was expected there.
        what: String,
    },
    /// An argument has a value that makes no sense.
    #[error("{what}: {why}")]
    Invalid {
        /// The argument.
        what: String,
        /// Why it is refused, and what would be accepted.
        why: String,
    },
    /// Something that was named does not exist.
    #[error("{what} `{name}`: not found{hint}")]
    NotFound {
        /// The kind of thing: `collection`, `view`, `database`, `model`.
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// The end of the message, such as names that do exist. May be empty.
        hint: String,
    },
    /// A name is taken already.
    #[error("{what} `{name}`: exists already")]
    Exists {
        /// The kind of thing: `collection`, `view`.
        what: &'static str,
        /// The name that is taken.
        name: String,
    },
    /// A file or directory that was handed in (a sound, a model, a table, a target) cannot be used.
    #[error("{}: {why}", path.display())]
    Unusable {
        /// The path of the file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Something could not be fetched from the network.
    #[error("{url}: {why}")]
    Download {
        /// The address that was asked for.
        url: String,
        /// What the server or the network did, and what to do.
        why: String,
    },
    /// The database was opened for reading only.
    #[error("{}: opened for reading only: open it with `Database::open` to write", path.display())]
    ReadOnly {
        /// The directory of the database.
        path: PathBuf,
    },
    /// The operating system refused an operation on a file.
    #[error("{}: {operation}: {source}", path.display())]
    Io {
        /// The path of the file or directory.
        path: PathBuf,
        /// The operation: `open`, `read`, `sync` and the like.
        operation: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process, or another handle of this one, has the database open for writing.
    #[error("{}: locked by {holder}: wait for it to end, or open the database read-only", path.display())]
    Locked {
        /// The directory of the database.
        path: PathBuf,
        /// What the lock file says about its holder.
        holder: String,
    },
    /// This handle no longer writes: after an earlier failure it is unknown what is on disk, or the directory is no
    /// longer the one that was opened. Reading still works.
    #[error("{}: nothing more is written ({cause}): close the database and open it again", path.display())]
    Poisoned {
        /// The directory of the database.
        path: PathBuf,
        /// What happened.
        cause: String,
    },
    /// The disk is full. Nothing of the commit was kept; reading still works, and writing does once there is space.
    #[error("{}: disk full: free some space and try again", path.display())]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// A commit failed after its last step had begun: after reopening it is there wholly or not at all.
    #[error("{}: outcome of the commit unknown ({cause}): reopen the database to see whether it took place", path.display())]
    OutcomeUnknown {
        /// The directory of the database.
        path: PathBuf,
        /// What failed.
        cause: String,
    },
    /// A file of a database does not hold what was written to it.
    #[error("{}: damaged{}: {what}: verifying the database names every place, repairing it saves what is whole", path.display(), at(*offset))]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where the damage is, in bytes from the start of the file, when that is known.
        offset: Option<u64>,
        /// What is wrong there.
        what: String,
    },
    /// A file was written in a format that this release does not read.
    #[error("{}: format {found}, this release reads {supported}: use a newer otolith", path.display())]
    Version {
        /// The path of the file.
        path: PathBuf,
        /// The version or the flag that was found.
        found: String,
        /// The versions that this release reads.
        supported: String,
    },
}

/// Shows an id on one line: its first 60 characters, escaped.
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
    /// Returns who has to act.
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

    /// Makes an [`Error::Io`] of a failed file operation, or an [`Error::DiskFull`] where that was the reason.
    pub fn io(path: impl AsRef<Path>, operation: &'static str, source: io::Error) -> Error {
        let path = path.as_ref().to_path_buf();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Error::DiskFull { path }
            }
            _ => Error::Io { path, operation, source },
        }
    }

    /// Makes an [`Error::Corrupt`].
    pub fn corrupt(path: impl AsRef<Path>, offset: impl Into<Option<u64>>, what: impl Into<String>) -> Error {
        Error::Corrupt { path: path.as_ref().to_path_buf(), offset: offset.into(), what: what.into() }
    }

    /// Makes an [`Error::Unusable`].
    pub fn unusable(path: impl AsRef<Path>, why: impl Into<String>) -> Error {
        Error::Unusable { path: path.as_ref().to_path_buf(), why: why.into() }
    }

    /// Makes an [`Error::Mismatch`].
    pub fn mismatch(what: impl Into<String>, expected: impl ToString, found: impl ToString) -> Error {
        Error::Mismatch { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// Makes an [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>, why: impl Into<String>) -> Error {
        Error::Invalid { what: what.into(), why: why.into() }
    }

    /// Adds to the message which record of a batch an error is about: its id and its place, counted from 0.
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

    /// Makes an [`Error::NotFound`]; the first eight of `others`, the names that do exist, go into its hint.
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
