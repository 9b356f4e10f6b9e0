//! Opening and making databases.

use super::derived::Derived;
use super::draft::random_sixteen;
use super::files::{DERIVED, DIRS, Files, LOCK, SEG, TEMPORARY, VIEW, is_missing};
use super::manifest::{Manifest, generation_of, name_of};
use super::version::{self, Version};
use super::{Mode, Options, Store, Writer, file_system, gc, lock};
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

impl Store {
    /// Opens the database in the directory `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none and none is to be made, [`Error::Unusable`] when the directory holds
    /// something else or lies where nothing is promised ([`Options::allow_network`]), [`Error::Locked`] when another
    /// writer has it, [`Error::Corrupt`] and [`Error::Version`] when its newest manifest cannot be used, [`Error::Io`].
    pub fn open(path: &Path, mode: Mode, options: Options) -> Result<Store> {
        let options = file_system::admit(path, mode, options)?;
        let files = Files::new(options.vfs, path);
        let lock = match mode {
            Mode::Read => None,
            Mode::Write { create } => {
                prepare(&files, create)?;
                let lock = lock::acquire(&files)?;
                if version::generations(&files)?.is_empty() {
                    initialise(&files)?;
                }
                Some(lock)
            }
        };
        let (manifest, no_writing, pin) = match version::newest(&files) {
            Err(error) if is_missing(&error) => return Err(missing(&files)),
            newest => newest?,
        };
        if no_writing && lock.is_some() {
            let found = "with flags that forbid writing".to_owned();
            return Err(Error::Version {
                path: path.to_path_buf(),
                found,
                supported: "it for reading only".to_owned(),
            });
        }
        let mut retired = Ok(());
        if lock.is_some() {
            // A directory of derived files may have been removed by hand.
            files.create_dir(DERIVED)?;
            retired = gc::retire(&files, 2);
            // A publish whose last sync failed may have left a name that is seen but not durable. Nothing is built on it
            // before it is.
            files.sync_dir("")?;
        }
        let derived = Arc::new(Derived::new(files.clone(), options.access, manifest.database, lock.is_some()));
        let version = Version::load(&files, options.access, manifest, pin, None)?;
        let writer = lock.map(|lock| {
            let swept = gc::sweep(&files, &version.manifest, &[], gc::Round::Opening);
            let trouble = retired.and(swept).err().map(|error| error.to_string());
            Mutex::new(Writer { lock, process: std::process::id(), poisoned: None, trouble })
        });
        Ok(Store { files, access: options.access, current: RwLock::new(Arc::new(version)), derived, writer })
    }
}

fn missing(files: &Files) -> Error {
    Error::not_found("database", files.root().display().to_string(), [""; 0])
}

/// Makes sure that there is a directory that is a database or may become one.
fn prepare(files: &Files, create: bool) -> Result<()> {
    let names = match files.list("") {
        Ok(names) => names,
        Err(error) if is_missing(&error) && create => {
            files.create_dir("")?;
            Vec::new()
        }
        Err(error) if is_missing(&error) => return Err(missing(files)),
        Err(error) => return Err(error),
    };
    if names.iter().any(|name| generation_of(name).is_some()) {
        return Ok(());
    }
    let ours = |name: &String| name == LOCK || DIRS.contains(&name.as_str()) || name.ends_with(TEMPORARY);
    match names.iter().find(|name| !ours(name)) {
        Some(other) => {
            let why = format!("is no database and not empty (there is `{other}`): give the path of a new directory");
            Err(Error::unusable(files.root(), why))
        }
        None if create => Ok(()),
        None => Err(missing(files)),
    }
}

/// Makes the first manifest; goes on where an earlier attempt was cut off.
fn initialise(files: &Files) -> Result<()> {
    files.sync_parent()?;
    for dir in DIRS {
        files.create_dir(dir)?;
    }
    for dir in [SEG, VIEW] {
        if let Some(name) = files.list(dir)?.into_iter().find(|name| !name.ends_with(TEMPORARY)) {
            return Err(Error::corrupt(files.path(dir), None, format!("there is `{name}`, but no manifest names it")));
        }
    }
    files.sync_dir("")?;
    let manifest = Manifest::empty(random_sixteen());
    let name = name_of(manifest.generation);
    let temporary = format!("{name}{TEMPORARY}");
    let file = files.create(&temporary)?;
    file.write_all_at(&manifest.encode(), 0)?;
    file.sync()?;
    file.protect();
    files.rename(&temporary, &name)?;
    files.sync_dir("")
}
