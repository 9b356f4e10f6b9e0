//! Records of one schema: written in batches, read in snapshots, searched through views.
//!
//! A [`Collection`] is a handle: cheap to clone, usable from any thread. Each `upsert` and `delete` is one commit:
//! all of it is there after a crash or none, and it is on disk when the call returns. Each read sees the newest
//! version; take a [`Snapshot`] where several reads must agree.
//!
//! Raw rows are stored once, as given. A [`View`] derives other rows from them (context, whitening, pooling, ..). Its
//! fitted parameters are kept and its rows can be rebuilt at any time, so a new view never means embedding again.

mod candidates;
mod index;
mod sq8;
mod view;

pub use index::{IndexInfo, IndexKind};
pub use view::{View, ViewInfo};

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::index::{Place, Selected, ViewRows, select};
use crate::matrix::{Matrix, MatrixView, StoredMatrix};
use crate::pipeline::{Pipeline, Source};
use crate::query::{Proof, Query, Verdict};
use crate::record::{Record, Schema, check_name};
use crate::store::{BulkLoad, Change, RAW, Snapshot, Store};
use crate::threads;
use std::sync::Arc;

/// A handle to one collection of a [`Database`](crate::Database): records that share a [`Schema`], with their views
/// and indexes.
///
/// Handles are cheap to clone and may be used from any thread. A handle stays valid when the collection is dropped;
/// its calls then give [`Error::NotFound`].
///
/// # Examples
///
/// ```
/// use otolith::{Database, IndexKind, Matrix, Record, Schema, Step, View};
/// # let folder = tempfile::tempdir()?;
/// # let db = Database::open(folder.path().join("sounds.otolith"))?;
///
/// let clips = db.create_collection("clips", Schema::new(2))?;
/// let matrix = Matrix::from_rows(3, 2, vec![0.1, 0.9, 0.2, 0.8, 0.3, 0.7])?;
/// clips.upsert([Record::new("bird-1", matrix.clone()).field("class", "bird")])?;
/// assert_eq!(clips.get("bird-1")?.map(|record| record.matrix), Some(matrix.clone()));
///
/// // Search every second row only.
/// clips.create_view("sparse", &View::new([Step::Every { n: 2 }]))?;
/// let hits = clips.query(&matrix).view("sparse").k(1).run()?;
/// assert_eq!(hits[0].id, "bird-1");
///
/// // Index the view for queries that ask for a recall; a segment as small as this one is scanned instead.
/// let built = clips.build_index("sparse", IndexKind::Candidates)?;
/// assert!(built.is_empty());
///
/// assert_eq!(clips.delete(["bird-1", "bird-2"])?, 1); // one of them was there
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Collection {
    store: Arc<Store>,
    name: String,
}

impl Collection {
    pub(crate) fn new(store: &Arc<Store>, name: &str) -> Collection {
        Collection { store: Arc::clone(store), name: name.to_owned() }
    }

    /// Returns the collection's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what all records share: dimension, metric, precision of storage and the like.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the collection has been dropped; likewise for all calls below.
    pub fn schema(&self) -> Result<Schema> {
        Ok(self.snapshot()?.schema().clone())
    }

    /// Takes a snapshot of the newest version that this handle knows, to read from while others write.
    ///
    /// # Errors
    /// As [`Collection::schema`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("sounds.otolith"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2))?;
    /// # let vector = Matrix::from_vector(vec![0.6, 0.8])?;
    /// clips.upsert([Record::new("dog-1", vector.clone())])?;
    /// let before = clips.snapshot()?;
    /// clips.upsert([Record::new("dog-2", vector.clone())])?;
    ///
    /// assert_eq!((before.len(), clips.len()?), (1, 2));
    /// assert_eq!(before.query(&vector).run()?.len(), 1); // the later record is not in it
    /// for entry in before.iter() {
    ///     println!("{}: {} rows, {}", entry.id()?, entry.rows()?, entry.fields()?.to_json());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot(&self) -> Result<Snapshot> {
        threads::ready();
        self.store.snapshot(&self.name)
    }

    /// Writes the records in one commit, replacing those of the same id, and returns their ids in order. Of several
    /// records with one id in the batch, the last stays. They are on disk when the call returns.
    ///
    /// Each call waits for the disk once, so many records in one call are much faster than many calls. Damage never
    /// keeps a record from being written: an older one of the same id that cannot be read counts as absent.
    ///
    /// # Errors
    /// - [`Error::Mismatch`] and [`Error::Invalid`] for a record that does not fit the schema, naming the first such
    ///   record and its place in the batch; [`Error::Invalid`] when the database is at one of its
    ///   [`limits`](crate::limits).
    /// - [`Error::NotFound`] when the collection has been dropped, [`Error::ReadOnly`] when the handle only reads.
    /// - [`Error::DiskFull`], [`Error::Io`], [`Error::Poisoned`] for what the disk or the system refused.
    /// - [`Error::OutcomeUnknown`] when the commit had begun to become visible: after reopening it is there wholly or
    ///   not at all. After every other error nothing was written.
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("sounds.otolith"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2))?;
    /// let ids = clips.upsert([
    ///     Record::new("dog-1", Matrix::from_vector(vec![0.6, 0.8])?).field("class", "dog"),
    ///     Record::auto(Matrix::from_rows(2, 2, vec![0.1, 0.9, 0.2, 0.8])?), // gets a number as its id
    /// ])?;
    /// assert_eq!(ids[0], "dog-1");
    /// assert!(Record::is_numbered_id(&ids[1]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn upsert(&self, records: impl IntoIterator<Item = Record>) -> Result<Vec<String>> {
        let records: Vec<Record> = records.into_iter().collect();
        if records.is_empty() {
            return self.snapshot().map(|_| Vec::new());
        }
        let published = self.store.commit(vec![Change::Upsert { collection: self.name.clone(), records }])?;
        Ok(published.ids.into_iter().next().unwrap_or_default())
    }

    /// Begins to load many records: they go straight into sealed segments, so each byte is written once. None of them
    /// is visible before [`BulkLoad::finish`], which makes them all visible in one commit. Other commits go on
    /// meanwhile.
    ///
    /// # Errors
    /// As [`Collection::upsert`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("vectors.otolith"))?;
    /// # let vectors = db.create_collection("vectors", Schema::new(2))?;
    /// let mut load = vectors.bulk_load()?;
    /// for n in 0..1_000 {
    ///     let vector = Matrix::from_vector(vec![n as f32, 1.0])?;
    ///     load.push(Record::new(format!("vector-{n}"), vector))?; // every record needs an id
    /// }
    /// assert_eq!(vectors.len()?, 0);
    /// assert_eq!(load.finish()?, 1_000);
    /// assert_eq!(vectors.len()?, 1_000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn bulk_load(&self) -> Result<BulkLoad> {
        self.store.bulk_load(&self.name)
    }

    /// Deletes the records of these ids in one commit and returns how many of them existed. Their space is freed by
    /// compaction, and erased for good by [`Database::purge`](crate::Database::purge).
    ///
    /// # Errors
    /// As [`Collection::upsert`]; [`Error::Corrupt`] when an id is not found but may lie in a damaged place: then
    /// nothing is deleted.
    pub fn delete<I: Into<String>>(&self, ids: impl IntoIterator<Item = I>) -> Result<u64> {
        let ids: Vec<String> = ids.into_iter().map(Into::into).collect();
        let published = self.store.commit(vec![Change::Delete { collection: self.name.clone(), ids }])?;
        Ok(published.deleted.into_iter().next().unwrap_or_default())
    }

    /// Returns the record with this id, copied out, or `None`. To read only its rows or its fields, take a
    /// [`snapshot`](Collection::snapshot) and ask for its [`Entry`](crate::Entry).
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the record lies in a damaged block, or is not found and may lie in one.
    pub fn get(&self, id: &str) -> Result<Option<Record>> {
        self.snapshot()?.get(id)
    }

    /// Returns the number of records.
    ///
    /// # Errors
    /// As [`Collection::schema`].
    pub fn len(&self) -> Result<usize> {
        Ok(self.snapshot()?.len())
    }

    /// Returns whether there are no records.
    ///
    /// # Errors
    /// As [`Collection::schema`].
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Begins a query: which records are most like `rows`? The rows are raw, of the collection's dimension. Nothing
    /// happens before [`Query::run`], which also reports what is wrong with the query.
    ///
    /// # Examples
    ///
    /// ```
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("sounds.otolith"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2))?;
    /// # clips.upsert([Record::new("dog-1", Matrix::from_vector(vec![0.6, 0.8])?).field("seconds", 5.0)])?;
    /// let query = Matrix::from_rows(2, 2, vec![0.5, 0.9, 0.7, 0.7])?;
    /// let hits = clips.query(&query).k(3).filter("seconds >= 2").run()?;
    /// println!("{} {:.3} per row", hits[0].id, hits[0].score_per_row);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn query<'q>(&self, rows: impl Into<MatrixView<'q>>) -> Query<'q> {
        Query::new(self.snapshot(), rows.into())
    }

    /// Checks a proof ([`Hits::proof`](crate::Hits::proof)) against the newest records; see [`Snapshot::check`].
    ///
    /// # Errors
    /// As [`Snapshot::check`].
    pub fn check<'q>(&self, query: impl Into<MatrixView<'q>>, proof: &Proof) -> Result<Verdict> {
        self.snapshot()?.check(query, proof)
    }

    /// Fits a view on the collection's records (or on those that [`View::fitted_on`] names), keeps its parameters in
    /// one commit, and derives its rows. Rows of records that are written later are derived when they are first
    /// searched.
    ///
    /// # Errors
    /// [`Error::Exists`] when there is a view of this name or the name is `raw`; [`Error::Invalid`] for steps that
    /// cannot follow each other or cannot be fitted on these records; [`Error::FilterSyntax`] for the filter; those
    /// of [`Collection::upsert`]. [`Error::Corrupt`] names a record that cannot be read: a view is never fitted on
    /// fewer records than asked for, so delete that record or leave it out by [`View::fitted_on`].
    ///
    /// # Examples
    ///
    /// ```
    /// use otolith::{Step, View};
    /// # use otolith::{Database, Matrix, Record, Schema};
    /// # let folder = tempfile::tempdir()?;
    /// # let db = Database::open(folder.path().join("sounds.otolith"))?;
    /// # let clips = db.create_collection("clips", Schema::new(2))?;
    /// # for n in 0..5 {
    /// #     let matrix = Matrix::from_rows(2, 2, vec![n as f32, 1.0, 0.5, n as f32])?;
    /// #     clips.upsert([Record::new(format!("{n}"), matrix)])?;
    /// # }
    ///
    /// let centred = View::new([Step::Centre, Step::Normalise]).fitted_on("id != '4'");
    /// clips.create_view("centred", &centred)?;
    /// let info = clips.view("centred")?;
    /// assert_eq!((info.dim, info.steps.len()), (2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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
        // Fitted parameters are kept for good, so they must be fitted on exactly the records that were asked for.
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
        // The view is committed. If its rows cannot be derived now, the first search by it reports why.
        let _ = self.snapshot().and_then(|snapshot| ViewRows::open(&snapshot, name).map(drop));
        Ok(())
    }

    /// Describes all views, sorted by name, without `raw`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the parameters of a view are damaged.
    pub fn views(&self) -> Result<Vec<ViewInfo>> {
        let snapshot = self.snapshot()?;
        snapshot.view_names().map(|name| ViewInfo::read(snapshot.view(name)?)).collect()
    }

    /// Describes the view called `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, [`Error::Corrupt`] when its parameters are damaged.
    pub fn view(&self, name: &str) -> Result<ViewInfo> {
        ViewInfo::read(self.snapshot()?.view(name)?)
    }

    /// Returns what a view makes of raw rows: the rows that it would compare if these were a query. `raw` returns
    /// them as they are.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when the rows do not have the collection's dimension, [`Error::NotFound`] for an unknown
    /// view, [`Error::Corrupt`] when its parameters are damaged.
    pub fn apply_view<'r>(&self, name: &str, rows: impl Into<MatrixView<'r>>) -> Result<Matrix> {
        let (snapshot, rows) = (self.snapshot()?, rows.into());
        if name != RAW {
            return snapshot.view(name)?.pipeline()?.apply(rows);
        }
        let dim = snapshot.schema().dim;
        if rows.dim() != dim {
            return Err(Error::mismatch("dimension", dim, rows.dim()));
        }
        Ok(rows.to_matrix())
    }

    /// Drops a view: its parameters, its derived rows and the indexes over them.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of this name, and those of [`Collection::upsert`].
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
