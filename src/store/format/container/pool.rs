//! Files that are read without a mapping. A database may have thousands of segments and a process only some hundred
//! descriptors (1,024 is a common limit), so only the files that were read last are kept open.

use crate::error::{Error, Result};
use crate::store::files::{File, Files, is_missing};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most files that are kept open, in the whole process.
const OPEN_FILES: usize = 64;

/// Open files by the number of their [`PooledFile`], the one read last at the end.
static OPEN: Mutex<VecDeque<(u64, Arc<File>)>> = Mutex::new(VecDeque::new());

/// Opens a file that must be there, because a manifest names it.
pub(crate) fn open(files: &Files, name: &str) -> Result<File> {
    files.open(name).map_err(|error| match is_missing(&error) {
        true => Error::corrupt(files.path(name), None, "the file is missing"),
        false => error,
    })
}

/// An immutable file that is opened again whenever others have pushed it out.
#[derive(Debug)]
pub(crate) struct PooledFile {
    files: Files,
    name: String,
    number: u64,
}

impl PooledFile {
    /// Adds a file that was just opened.
    pub(crate) fn new(files: &Files, name: &str, file: File) -> PooledFile {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed);
        keep(number, Arc::new(file));
        PooledFile { files: files.clone(), name: name.to_owned(), number }
    }

    /// Returns the file, opening it again if needed.
    pub(crate) fn get(&self) -> Result<Arc<File>> {
        let mut open_files = pool();
        if let Some(at) = open_files.iter().position(|(number, _)| *number == self.number)
            && let Some(entry) = open_files.remove(at)
        {
            let file = entry.1.clone();
            open_files.push_back(entry);
            return Ok(file);
        }
        drop(open_files);
        let file = Arc::new(open(&self.files, &self.name)?);
        keep(self.number, file.clone());
        Ok(file)
    }
}

impl Drop for PooledFile {
    fn drop(&mut self) {
        pool().retain(|(number, _)| *number != self.number);
    }
}

fn pool() -> MutexGuard<'static, VecDeque<(u64, Arc<File>)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(number: u64, file: Arc<File>) {
    let mut open_files = pool();
    open_files.push_back((number, file));
    let pushed_out = if open_files.len() > OPEN_FILES { open_files.pop_front() } else { None };
    // Closing may take a while, and nobody need wait for it: so not under the lock.
    drop(open_files);
    drop(pushed_out);
}
