//! Files that are written for other programs: under a name that nobody knew, then renamed, so that nobody takes half
//! for the whole and no link is followed that somebody has laid.

use otolith::{Error, Result};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// How the name of a file begins and ends that is not whole yet.
const PARTIAL: (&str, &str) = (".otolith-", ".partial");

/// Makes a file, in the place of the one of its name.
///
/// # Errors
/// Those of `write`; [`Error::Invalid`] for a place in a database, [`Error::Io`], [`Error::DiskFull`]. Then all is as
/// it was.
pub(crate) fn create_whole(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> Result<()>) -> Result<()> {
    Unnamed::write(path, write)?.name()
}

/// A file that is whole and has no name yet. Without one it goes when this does.
pub(crate) struct Unnamed {
    file: NamedTempFile,
    path: PathBuf,
}

impl Unnamed {
    /// Writes what is to be called `path`; the errors are those of [`create_whole`].
    pub(crate) fn write(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> Result<()>) -> Result<Unnamed> {
        let failed = |operation| move |error| Error::io(path, operation, error);
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        refuse_database(path, folder)?;
        let mut unnamed = tempfile::Builder::new();
        unnamed.prefix(PARTIAL.0).suffix(PARTIAL.1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As any file that the user makes; what the umask takes away stays away.
            unnamed.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = unnamed.tempfile_in(folder).map_err(failed("create"))?;
        let mut out = BufWriter::new(file.as_file());
        write(&mut out)?;
        out.flush().map_err(failed("write"))?;
        drop(out);
        Ok(Unnamed { file, path: path.to_owned() })
    }

    /// Gives it its name, in the place of what has it.
    pub(crate) fn name(self) -> Result<()> {
        self.file.persist(&self.path).map(drop).map_err(|error| Error::io(&self.path, "rename", error.error))
    }

    /// Gives two files that belong together their names. Whenever that is cut off, there is no old one beside a new
    /// one: of the second there is none.
    pub(crate) fn name_both(self, second: Unnamed) -> Result<()> {
        match fs::remove_file(&second.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(&second.path, "remove", error));
            }
            _ => {}
        }
        self.name()?;
        second.name()
    }
}

/// Whether a file of that name was left by an export that was cut off, also by one of earlier versions.
pub(crate) fn is_partial(name: &str) -> bool {
    name == "records.jsonl.partial" || name.strip_prefix(PARTIAL.0).is_some_and(|name| name.ends_with(PARTIAL.1))
}

/// Refuses what lies in a database: its files are its own.
pub(crate) fn refuse_database(path: &Path, folder: &Path) -> Result<()> {
    let Ok(folder) = folder.canonicalize() else { return Ok(()) };
    let is_database = |folder: &&Path| folder.join("LOCK").exists() && folder.join("seg").is_dir();
    match folder.ancestors().find(is_database) {
        None => Ok(()),
        Some(database) => {
            let why =
                format!("lies in the database {}, whose files are its own: name another place", database.display());
            Err(Error::invalid(path.display().to_string(), why))
        }
    }
}

/// A new or empty directory.
///
/// # Errors
/// [`Error::Unusable`] when something is in it, and those of [`create_whole`].
pub(crate) fn create_folder(folder: &Path) -> Result<()> {
    refuse_database(folder, folder.parent().unwrap_or(folder))?;
    fs::create_dir_all(folder).map_err(|error| Error::io(folder, "create", error))?;
    refuse_database(folder, folder)?;
    match fs::read_dir(folder).map_err(|error| Error::io(folder, "list", error))?.next() {
        None => Ok(()),
        Some(_) => Err(Error::unusable(folder, "is not empty: files of two exports would mix; name a new directory")),
    }
}

/// The path of what lies beside a file under all of its name and more: `v.npy.ids.txt` beside `v.npy`.
pub(crate) fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    name.into()
}
