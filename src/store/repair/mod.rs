//! Saves what is whole in a damaged database into a new one.
//!
//! # Words
//! The *base* is the newest manifest that can be read. If newer manifests are damaged, or there is none, the files
//! themselves say what they are: a segment names its collection in its ABOUT section, a delete set names its segment in
//! its file name and header, and every record has the number of the commit that wrote it.
//! # In and out
//! ```text
//! files -> Catalog (segments, delete sets, views, each from base or by itself) -> two passes over the records -> Store
//! ```
//! The first pass reads only ids and decides which record of an id counts: that of the latest commit, or none if that
//! one is known to be deleted. The second copies those that can be read, a record at a time. What is lost is listed,
//! never replaced: an older record does not stand in for a damaged newer one. Where a delete set is damaged, all
//! records of its segment are kept, because too much is better than too little for an only copy; the report says so.
//!
//! # Costs
//! Every byte of every live record is read and written once. Memory: some 50 bytes for each record of the largest
//! collection, the tables of one segment, and a batch of records.
//!
//! # What it does not do
//! It never writes to the damaged database ([`repair_in_place`] does, and touches nothing that holds records). Records
//! in the log enter the two passes like those of one more segment, with the numbers of their own commits; of a damaged
//! log, every whole commit that was durable counts.

mod catalog;
mod copy;
mod report;

pub use report::{LostRecord, LostSegment, LostView, RepairReport, Revived, SavedCollection};

use crate::error::{Error, ErrorKind, Result};
use crate::store::Change;
use crate::store::Durability;
use crate::store::Mode;
use crate::store::Options;
use crate::store::Store;
use crate::store::files::{DERIVED, DIRS, Files, VIEW, is_missing};
use crate::store::upkeep::verify::{self, Depth, Finding};
use crate::store::version;
use catalog::Catalog;
use copy::Salvage;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Writes everything that is whole in the database at `path` into a new one at `out`, and reports what is not. Nothing
/// is written to `path`; what was written to `out` before an error must not be used.
///
/// # Errors
/// [`Error::NotFound`] when there is no database, [`Error::Unusable`] when `out` is not empty or lies within `path`,
/// [`Error::Version`] when it is of a newer format (that is no damage), [`Error::Io`] and [`Error::DiskFull`]. Damage
/// is no error.
pub fn repair_to(path: &Path, options: Options, out: &Path) -> Result<RepairReport> {
    let files = version::at(options.vfs.clone(), path)?;
    if files.contains(out)? {
        return Err(Error::unusable(out, "lies within the damaged database: give the path of a new directory"));
    }
    match Files::new(options.vfs.clone(), out).and_then(|files| files.list("")) {
        Err(error) if is_missing(&error) => {}
        Ok(names) if names.is_empty() => {}
        Ok(_) => return Err(Error::unusable(out, "is not empty: give the path of a new directory")),
        Err(error) => return Err(error),
    }
    let mut report = RepairReport::default();
    let catalog = Catalog::read(&files, &mut report)?;
    let store = Store::open(out, Mode::Write { create: true }, options)?;
    for (id, collection) in &catalog.collections {
        let (name, schema) = (collection.name.clone(), collection.schema.clone());
        let create = Change::CreateCollection { name: name.clone(), schema };
        store.commit_with(vec![create], Durability::Buffered)?;
        let mut saved = SavedCollection { name, was: collection.was.clone(), records: 0, views: Vec::new() };
        saved.records = Salvage::new(&files, &catalog, *id, &store, &mut report).run()?;
        for view in catalog.views.iter().filter(|view| view.collection == *id) {
            let (collection, name) = (saved.name.clone(), view.file.name.clone());
            let (settings, sections) = (view.file.settings.clone(), view.file.sections.clone());
            let change = Change::CreateView { collection, name, settings, sections };
            match store.commit_with(vec![change], Durability::Buffered) {
                Ok(_) => saved.views.push(view.file.name.clone()),
                // Its sums are right, and still no database accepts such a view.
                Err(error) if error.kind() == ErrorKind::Caller => report.views.push(LostView {
                    collection: Some(saved.name.clone()),
                    name: Some(view.file.name.clone()),
                    damage: Finding { path: files.path(VIEW), offset: None, what: error.to_string(), derived: false },
                }),
                Err(error) => return Err(error),
            }
        }
        report.collections.push(saved);
    }
    store.close()?;
    Ok(report)
}

/// Removes what no manifest names (temporary files, files of commits that never took place) and derived files that are
/// damaged or wrong; returns the paths of what it removed. Nothing else is changed; a database that cannot be opened is
/// left alone.
///
/// # Errors
/// As [`Store::open`] for writing, and errors of removing files.
pub fn repair_in_place(path: &Path, options: Options) -> Result<Vec<PathBuf>> {
    let before = names(&version::at(options.vfs.clone(), path)?)?;
    // Opening for writing takes the lock and removes left-over files.
    let store = Store::open(path, Mode::Write { create: false }, options)?;
    let files = store.shared.files.clone();
    let derived = files.path(DERIVED);
    for finding in verify::verify(&files, Depth::Derived)?.findings {
        if let Some(name) = finding.path.strip_prefix(&derived).ok().and_then(Path::to_str) {
            match files.remove(&format!("{DERIVED}/{name}")) {
                Err(error) if !is_missing(&error) => return Err(error),
                _ => {}
            }
        }
    }
    store.close()?;
    let after = names(&files)?;
    Ok(before.difference(&after).map(|name| files.path(name)).collect())
}

/// Returns the names of all files.
fn names(files: &Files) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for dir in std::iter::once("").chain(DIRS) {
        names.extend(files.list_if_there(dir)?.into_iter().map(|name| match dir {
            "" => name,
            _ => format!("{dir}/{name}"),
        }));
    }
    Ok(names)
}
