//! Records of one schema: written in batches, read in snapshots, searched through views.
//!
//! A [`Collection`] is a handle: cheap to clone, usable from any thread. Each `upsert` and `delete` is one commit: all there
//! or not at all after any crash, and on disk when the call returns. Reads see the newest version; whoever needs
//! several reads to agree takes a [`Snapshot`].
//!
//! Raw rows are stored once, as given. A [`View`] derives other rows from them (context, whitening, pooling, ..): its
//! fitted parameters are kept, its rows can be rebuilt at any time, so changing one's mind about them never means embedding
//! again.

mod candidates;
mod index;
mod view;

pub use index::{IndexInfo, IndexKind};
pub use view::{View, ViewInfo};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::{Place, Selected, ViewRows, select};
use crate::matrix::{Matrix, MatrixView, StoredMatrix};
use crate::pipeline::{Pipeline, Source};
use crate::query::Query;
use crate::record::{Record, Schema, check_name};
use crate::store::{BulkLoad, Change, RAW, Snapshot, Store};
use crate::threads;
use std::sync::Arc;

/// A handle to one collection of a [`Database`](crate::Database).
#[derive(Clone)]
pub struct Collection {
    store: Arc<Store>,
    name: String,
}

impl Collection {
    pub(crate) fn new(store: &Arc<Store>, name: &str) -> Collection {
        Collection { store: Arc::clone(store), name: name.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What all its records share.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the collection has been dropped; likewise for all calls below.
    pub fn schema(&self) -> Result<Schema> {
        Ok(self.snapshot()?.schema().clone())
    }

    /// The newest version, to read from while others write.
    ///
    /// # Errors
    /// As [`Collection::schema`].
    pub fn snapshot(&self) -> Result<Snapshot> {
        threads::ready();
        Snapshot::new(&self.store, &self.name)
    }

    /// Writes the records in one commit, replacing those of the same id, and returns their ids in order. Of several with one
    /// id in the batch the last stays. They are on disk when this returns. Damage never keeps a record from being written: one of the same id that cannot be
    /// read counts as not there.
    ///
    /// # Errors
    /// [`Error::Mismatch`] and [`Error::Invalid`] for records that do not fit, naming the first such and its place in the batch
    /// (nothing is written), [`Error::Invalid`] when the database could not write them out any more (see [`limits`](crate::limits)),
    /// [`Error::ReadOnly`], [`Error::DiskFull`], [`Error::Io`], [`Error::Poisoned`], [`Error::OutcomeUnknown`].
    pub fn upsert(&self, records: impl IntoIterator<Item = Record>) -> Result<Vec<String>> {
        let records: Vec<Record> = records.into_iter().collect();
        if records.is_empty() {
            return self.snapshot().map(|_| Vec::new());
        }
        let published = self.store.commit(vec![Change::Upsert { collection: self.name.clone(), records }])?;
        Ok(published.ids.into_iter().next().unwrap_or_default())
    }

    /// Begins to load many records at once: they go straight into sealed segments, each byte written once, and none of them is
    /// visible before [`BulkLoad::finish`] makes all of them so in one commit. Other commits go on meanwhile.
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    pub fn bulk_load(&self) -> Result<BulkLoad> {
        self.store.bulk_load(&self.name)
    }

    /// Deletes the records of these ids in one commit and returns how many there were.
    ///
    /// # Errors
    /// As [`Collection::upsert`]; [`Error::Corrupt`] when an id is not found and may be in what damage hides: then nothing
    /// is deleted.
    pub fn delete<I: Into<String>>(&self, ids: impl IntoIterator<Item = I>) -> Result<u64> {
        let ids: Vec<String> = ids.into_iter().map(Into::into).collect();
        let published = self.store.commit(vec![Change::Delete { collection: self.name.clone(), ids }])?;
        Ok(published.deleted.into_iter().next().unwrap_or_default())
    }

    /// The record of that id.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it lies in a damaged block, or is not found and may lie in one.
    pub fn get(&self, id: &str) -> Result<Option<Record>> {
        self.snapshot()?.get(id)
    }

    /// Number of records.
    ///
    /// # Errors
    /// As [`Collection::schema`].
    pub fn len(&self) -> Result<usize> {
        Ok(self.snapshot()?.len())
    }

    /// Whether there are no records.
    ///
    /// # Errors
    /// As [`Collection::schema`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Asks which records are most like `rows`.
    pub fn query<'q>(&self, rows: impl Into<MatrixView<'q>>) -> Query<'q> {
        Query::new(self.snapshot(), rows.into())
    }

    /// Fits a view on the records there are (or on those that its filter names), keeps its parameters in one commit, and
    /// derives its rows. Records written later get theirs when they are first searched.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::Invalid`] for steps that cannot follow each other or cannot be fitted on these records,
    /// [`Error::Corrupt`] naming a record that cannot be read (delete it, or leave it out by
    /// [`View::fitted_on`]: nothing is fitted on fewer records than asked for), and those of [`Collection::upsert`].
    pub fn create_view(&self, name: &str, view: &View) -> Result<()> {
        check_name("view", name)?;
        if name == RAW {
            return Err(Error::Exists { what: "view", name: name.to_owned() });
        }
        let snapshot = self.snapshot()?;
        if snapshot.view(name).is_ok() {
            return Err(Error::Exists { what: "view", name: name.to_owned() });
        }
        let filter = view.fitted_on.as_deref().map(Filter::parse).transpose()?;
        let selection = select(&snapshot, filter.as_ref())?;
        // Fitted parameters are kept for good: what they were fitted on is to be what was asked for.
        if let Some(unreadable) = selection.unreadable.first() {
            return Err(unreadable.error());
        }
        let training =
            Training { places: selection.segments.iter().flat_map(Selected::places).collect(), snapshot: &snapshot };
        let pipeline = Pipeline::fit(&view.steps, snapshot.schema().dim, &training)?;
        self.store.commit(vec![Change::CreateView {
            collection: self.name.clone(),
            name: name.to_owned(),
            settings: view.settings(snapshot.schema(), &pipeline),
            sections: pipeline.sections(),
        }])?;
        // The view stands: whatever keeps its rows from being derived now meets whoever searches by it.
        let _ = self.snapshot().and_then(|snapshot| ViewRows::open(&snapshot, name).map(drop));
        Ok(())
    }

    /// The views by name, without `raw`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the parameters of one are damaged.
    pub fn views(&self) -> Result<Vec<ViewInfo>> {
        let snapshot = self.snapshot()?;
        snapshot.view_names().map(|name| ViewInfo::read(snapshot.view(name)?)).collect()
    }

    /// One view.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Corrupt`].
    pub fn view(&self, name: &str) -> Result<ViewInfo> {
        ViewInfo::read(self.snapshot()?.view(name)?)
    }

    /// What a view makes of raw rows: those of a query before it is compared.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the rows do not fit the collection, [`Error::NotFound`], [`Error::Corrupt`].
    pub fn apply_view<'r>(&self, name: &str, rows: impl Into<MatrixView<'r>>) -> Result<Matrix> {
        let (snapshot, rows) = (self.snapshot()?, rows.into());
        if name == RAW { Ok(rows.to_matrix()) } else { snapshot.view(name)?.pipeline()?.apply(rows) }
    }

    /// Forgets a view: its parameters and its rows.
    ///
    /// # Errors
    /// [`Error::NotFound`], and those of [`Collection::upsert`].
    pub fn drop_view(&self, name: &str) -> Result<()> {
        self.store.commit(vec![Change::DropView { collection: self.name.clone(), name: name.to_owned() }])?;
        Ok(())
    }
}

/// The records that a view is fitted on.
struct Training<'a> {
    snapshot: &'a Snapshot,
    places: Vec<Place>,
}

impl Source for Training<'_> {
    fn len(&self) -> usize {
        self.places.len()
    }

    fn matrix(&self, index: usize) -> Result<StoredMatrix<'_>> {
        let place = self.places[index];
        let segment = &self.snapshot.segments()[place.segment as usize].segment;
        let unread =
            |error| segment.unreadable(place.record, error).map_or_else(|other| other, |record| record.error());
        segment.matrix(place.record).map_err(unread)
    }

    fn label(&self, index: usize, field: &str) -> Result<Option<String>> {
        let place = self.places[index];
        let segment = &self.snapshot.segments()[place.segment as usize].segment;
        let unread =
            |error| segment.unreadable(place.record, error).map_or_else(|other| other, |record| record.error());
        let fields = segment.fields(place.record).map_err(unread)?;
        Ok(fields.label(field))
    }
}
