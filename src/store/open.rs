//! Opens and makes databases.

use crate::error::{Error, Result};
use crate::limits;
use crate::random::unique_bytes;
use crate::store::derived::Derived;
use crate::store::files::{DERIVED, DIRS, Files, LOCK, RESERVE, SEG, TEMPORARY, VIEW, file_system, lock};
use crate::store::format::log::{self, Cursor};
use crate::store::format::manifest::{Manifest, generation_of, number_of};
use crate::store::shared::Shared;
use crate::store::upkeep::background::Background;
use crate::store::version::draft::Draft;
use crate::store::version::replay::Replay;
use crate::store::version::{self, Version, missing, newest_of};
use crate::store::vfs::Vfs;
use crate::store::write::gc;
use crate::store::write::writer::{Environment, Writer};
use crate::store::{Access, Mode, Options, Store};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, RwLock};

impl Store {
    /// Opens the database in the directory `path`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none and none is to be made, [`Error::Unusable`] when the directory holds
    /// something else or lies on a file system that is not trusted ([`Options::allow_network`]), [`Error::Locked`] when
    /// another writer has it, [`Error::Corrupt`] and [`Error::Version`] when its newest manifest cannot be used,
    /// [`Error::Io`].
    pub fn open(path: &Path, mode: Mode, options: Options) -> Result<Store> {
        let options = file_system::admit(path, mode, options)?;
        let access = options.access;
        let create = match mode {
            Mode::Read => {
                let files = version::at(options.vfs.clone(), path)?;
                let (version, replay) = newest_of(&files, access, None)?;
                return Ok(Store::new(files, options, version, Some(replay), None));
            }
            Mode::Write { create } => create,
        };
        let files = prepare(options.vfs.clone(), path, create)?;
        let lock = lock::acquire(&files)?;
        if version::generations(&files)?.is_empty() {
            initialise(&files)?;
        }
        let (manifest, no_writing, pin) = version::newest(&files)?;
        if no_writing {
            let found = "with flags that forbid writing".to_owned();
            let supported = "it for reading only".to_owned();
            return Err(Error::Version { path: path.to_path_buf(), found, supported });
        }
        // Empty directories get lost when a database is copied, and that of derived files may have been removed by
        // hand. Where a directory is missing that should hold files, an empty one would make nothing better.
        for dir in DIRS {
            if dir == DERIVED || !manifest.kept().any(|name| name.starts_with(dir)) {
                files.create_dir(dir)?;
            }
        }
        let retired = gc::retire(&files, 2);
        // A publish whose last sync failed may have left a name that is seen but not durable. It is made durable before
        // anything builds on it.
        files.sync_dir("")?;
        let version = Version::load(&files, access, manifest, pin, None)?;
        let logs = Cursor::logs(&files, version.manifest.first_log())?;
        let (version, direct, next_no) = recover(&files, access, version, &logs)?;
        let next_no = next_number(&files, version.manifest.next_no.max(next_no))?;
        let environment = Environment { files: files.clone(), access, tuning: options.tuning };
        let writer = Writer::new(environment, lock, Arc::new(version), next_no, direct);
        let version = Version::clone(&writer.newest);
        let store = Store::new(files, options, version, None, Some(writer));
        store.begin_writing(retired, !logs.is_empty())?;
        Ok(store)
    }

    fn new(files: Files, options: Options, version: Version, replay: Option<Replay>, writer: Option<Writer>) -> Store {
        let database = version.manifest.database;
        let derived = Arc::new(Derived::new(files.clone(), options.access, database, writer.is_some()));
        let shared = Shared {
            files,
            access: options.access,
            tuning: options.tuning,
            current: RwLock::new(Arc::new(version)),
            replay: replay.map(Mutex::new),
            derived,
            writer: writer.map(Mutex::new),
            synced: Condvar::new(),
        };
        Store { shared: Arc::new(shared), background: Background::default() }
    }

    /// Begins to write. What was recovered from the log is published in files first, so that no recovered state is ever
    /// only in memory.
    fn begin_writing(&self, retired: Result<()>, recovered: bool) -> Result<()> {
        let files = &self.shared.files;
        let mut writer = self.shared.writer()?;
        if recovered {
            let draft = Draft::new(&writer.newest, writer.next_no);
            self.shared.publish(&mut writer, draft)?;
        }
        let manifest = writer.newest.manifest.clone();
        let swept = gc::sweep(files, &manifest, &[], gc::Round::Opening, &writer.making);
        writer.trouble = retired.and(swept).err().map(|error| error.to_string());
        writer.make_reserve();
        Ok(())
    }
}

/// Applies the log that a writer left. First its files are synced and read from the disk once more: what the system has
/// cached of them may never have got there. Also returns the segment files that the log names, and a number above those
/// that it gave.
fn recover(files: &Files, access: Access, version: Version, logs: &[u64]) -> Result<(Version, BTreeSet<String>, u64)> {
    if logs.is_empty() {
        return Ok((version, BTreeSet::new(), 0));
    }
    let known: BTreeSet<String> = version.manifest.kept().collect();
    let growing = files.list(SEG)?.into_iter().filter(|name| name.ends_with(".oseg"));
    let growing = growing.map(|name| format!("{SEG}/{name}")).filter(|name| !known.contains(name));
    for name in logs.iter().map(|number| log::name_of(*number)).chain(growing) {
        let file = files.open(&name)?;
        file.sync()?;
        file.forget();
    }
    files.sync_dir(SEG)?;
    let mut replay = Replay::new(&version, access);
    let next = replay.catch_up(files, &version)?;
    let direct = replay.direct().collect();
    let next_no = replay.next_no;
    Ok((next.unwrap_or(version), direct, next_no))
}

/// Returns a number greater than that of every file, even of files that no manifest knows.
fn next_number(files: &Files, at_least: u64) -> Result<u64> {
    let mut next = at_least;
    for dir in ["", SEG, VIEW] {
        let numbers = files.list(dir)?;
        let numbers = numbers.iter().filter_map(|name| log::number_of(name).or_else(|| number_of(name)));
        // No file of the store has a larger one.
        next = numbers.filter(|number| *number < limits::COUNTER).map(|number| number + 1).fold(next, u64::max);
    }
    Ok(next)
}

/// Opens a directory, and checks that it is a database or may become one, and that nothing leads out of it.
fn prepare(vfs: Arc<dyn Vfs>, path: &Path, create: bool) -> Result<Files> {
    let files = match create {
        true => Files::make(vfs, path)?,
        false => version::at(vfs, path)?,
    };
    let names = files.list("")?;
    files.check_kinds()?;
    if names.iter().any(|name| generation_of(name).is_some()) {
        return Ok(files);
    }
    let ours = |name: &String| {
        let fixed = name == LOCK || name == RESERVE || DIRS.contains(&name.as_str());
        fixed || name.ends_with(TEMPORARY) || log::number_of(name).is_some()
    };
    match names.iter().find(|name| !ours(name)) {
        Some(other) => {
            let why = format!("is no database and not empty (there is `{other}`): give the path of a new directory");
            Err(Error::unusable(path, why))
        }
        None if create => Ok(files),
        None => Err(missing(path)),
    }
}

/// Makes the directories and the first manifest; goes on where an earlier attempt was cut off.
fn initialise(files: &Files) -> Result<()> {
    files.sync_parent()?;
    for dir in DIRS {
        files.create_dir(dir)?;
    }
    for dir in [SEG, VIEW, ""] {
        let ours =
            |name: &String| if dir.is_empty() { log::number_of(name).is_some() } else { !name.ends_with(TEMPORARY) };
        if let Some(name) = files.list(dir)?.into_iter().find(ours) {
            return Err(Error::corrupt(files.path(dir), None, format!("there is `{name}`, but no manifest names it")));
        }
    }
    files.sync_dir("")?;
    let manifest = Manifest::empty(unique_bytes());
    Manifest::place(files, manifest.generation, &manifest.encode())
}
