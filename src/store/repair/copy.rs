//! Decides which record of an id counts, and copies it into the new database.

use super::catalog::{Catalog, Known, Part};
use super::report::{LostRecord, LostSegment, RepairReport};
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::record::{Fields, Record};
use crate::store::files::{Files, is_missing};
use crate::store::format::log::{Commit, Operation};
use crate::store::layout::{Sixteen, root_of};
use crate::store::segment::{Body, Growing};
use crate::store::upkeep::verify::Finding;
use crate::store::{Access, Change, Durability, Segment, Store};
use std::collections::HashMap;

/// Bytes of values after which a batch is written.
const BATCH_BYTES: usize = 16 << 20;
/// Records after which a batch is written.
const BATCH_RECORDS: usize = 8_192;

/// Copies one collection.
pub(crate) struct Salvage<'a> {
    files: &'a Files,
    catalog: &'a Catalog,
    collection: u64,
    store: &'a Store,
    report: &'a mut RepairReport,
    /// The record that counts of each id, by the hash of the id.
    latest: HashMap<Sixteen, Latest>,
    batch: Vec<Record>,
    batch_bytes: usize,
    copied: u64,
    /// Records with an id that could not be read; another copy of them may still be found.
    failed: Vec<LostRecord>,
}

/// Of all records with one id, the one that counts.
struct Latest {
    /// Number of the commit that wrote it.
    seq: u64,
    /// Whether it counts as live, because nothing says that it was deleted.
    live: bool,
    copied: bool,
}

impl<'a> Salvage<'a> {
    pub(crate) fn new(
        files: &'a Files,
        catalog: &'a Catalog,
        collection: u64,
        store: &'a Store,
        report: &'a mut RepairReport,
    ) -> Salvage<'a> {
        let (batch, failed) = (Vec::new(), Vec::new());
        Salvage {
            files,
            catalog,
            collection,
            store,
            report,
            latest: HashMap::new(),
            batch,
            batch_bytes: 0,
            copied: 0,
            failed,
        }
    }

    /// Copies the collection and returns how many records were copied.
    pub(crate) fn run(mut self) -> Result<u64> {
        let Some(known) = self.catalog.collections.get(&self.collection) else { return Ok(0) };
        let parts = || self.catalog.parts.iter().filter(|part| part.entry.collection == self.collection);
        let mut sound = Vec::new();
        for part in parts().collect::<Vec<_>>() {
            let segment = self.open(part)?;
            match segment.damage() {
                None => {
                    self.resolve(part, &segment)?;
                    sound.push(part);
                }
                Some(error) => self.report.segments.push(LostSegment {
                    collection: Some(known.name.clone()),
                    records: Some(part.entry.live()),
                    damage: Finding::new(error, false)?,
                }),
            }
        }
        self.resolve_log();
        for part in sound {
            let segment = self.open(part)?;
            for number in (0..segment.records()).filter(|number| !part.deleted.contains(*number)) {
                self.record(known, &segment, number)?;
            }
        }
        self.log(known)?;
        self.write(known)?;
        let latest = &self.latest;
        self.failed.retain(|lost| {
            let copy = lost.id.as_ref().and_then(|id| latest.get(&root_of(id.as_bytes())));
            copy.is_none_or(|latest| !latest.copied)
        });
        self.report.records.append(&mut self.failed);
        Ok(self.copied)
    }

    /// Opens a segment. It is opened again for each pass, so that the tables of only one are in memory.
    fn open(&self, part: &Part) -> Result<Segment> {
        Segment::open(self.files, Access::Read, self.catalog.database, &part.entry)
    }

    /// First pass: finds the latest record of each id. Of two copies of a deleted record, one may not know that it is
    /// deleted.
    fn resolve(&mut self, part: &Part, segment: &Segment) -> Result<()> {
        for number in 0..segment.records() {
            let (Ok(seq), Ok(id)) = (segment.seq(number), segment.id(number)) else { continue };
            let live = !part.deleted.contains(number);
            let sum = root_of(id.as_bytes());
            let latest = self.latest.entry(sum).or_insert(Latest { seq, live, copied: false });
            if seq > latest.seq {
                (latest.seq, latest.live) = (seq, live);
            } else if seq == latest.seq {
                latest.live &= live;
            }
        }
        Ok(())
    }

    /// Second pass: copies a record if it is the one that counts.
    fn record(&mut self, known: &Known, segment: &Segment, number: u32) -> Result<()> {
        let (seq, id) = match (segment.seq(number), segment.id(number)) {
            (Ok(seq), Ok(id)) => (seq, id),
            (Err(error), _) | (_, Err(error)) => return self.lose(known, None, Some(number), error),
        };
        let Some(latest) = self.latest.get_mut(&root_of(id.as_bytes())) else { return Ok(()) };
        if latest.seq != seq || !latest.live || latest.copied {
            return Ok(());
        }
        let read = || {
            let (matrix, fields) = (segment.matrix(number)?.into_matrix(), segment.fields(number)?);
            let record = Record { id: Some(id.to_owned()), matrix, fields };
            let unfit = |error| Error::corrupt(segment.path(), None, format!("record {number}: {error}"));
            record.check(&known.schema).map_err(unfit)?;
            Ok(record)
        };
        match read() {
            Ok(record) => {
                latest.copied = true;
                self.put(known, record)
            }
            Err(error) => self.lose(known, Some(id.to_owned()), Some(number), error),
        }
    }

    fn put(&mut self, known: &Known, record: Record) -> Result<()> {
        self.copied += 1;
        self.batch_bytes += record.matrix.values().len() * 4;
        self.batch.push(record);
        let full = self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_RECORDS;
        if full { self.write(known) } else { Ok(()) }
    }

    /// Returns the operations in the log on this collection, each with its commit. What cannot be read is in the report
    /// already.
    fn logged(&self) -> impl Iterator<Item = (&'a Commit, Operation<'a>)> + use<'a> {
        let (mut current, wanted) = (None, self.collection);
        let commits = self.catalog.commits_of.get(&wanted).into_iter().flatten();
        let commits = commits.map(|at| &self.catalog.commits[*at]);
        let all = commits.flat_map(|commit| {
            commit.operations().unwrap_or_default().into_iter().map(move |operation| (commit, operation))
        });
        all.filter(move |(_, operation)| {
            if let Operation::Collection { id, .. } = operation {
                current = Some(*id);
            }
            current == Some(wanted)
        })
    }

    /// First pass over the log: finds the latest record of each id.
    fn resolve_log(&mut self) {
        for (commit, operation) in self.logged() {
            let (id, live) = match operation {
                Operation::Delete { id } => (id, false),
                Operation::Upsert { id, .. } | Operation::UpsertDirect { id, .. } => (id, true),
                _ => continue,
            };
            let seq = commit.seq;
            let latest = self.latest.entry(root_of(id.as_bytes())).or_insert(Latest { seq, live, copied: false });
            if seq > latest.seq {
                (latest.seq, latest.live) = (seq, live);
            }
        }
    }

    /// Second pass over the log: copies the records that count.
    fn log(&mut self, known: &Known) -> Result<()> {
        let schema = &known.schema;
        for (commit, operation) in self.logged() {
            let (id, fields, rows) = match &operation {
                Operation::Upsert { id, fields, rows, .. } | Operation::UpsertDirect { id, fields, rows, .. } => {
                    (*id, *fields, *rows)
                }
                _ => continue,
            };
            let counts = |latest: &&mut Latest| latest.seq == commit.seq && latest.live && !latest.copied;
            let Some(latest) = self.latest.get_mut(&root_of(id.as_bytes())).filter(counts) else { continue };
            let read = || {
                let values = match &operation {
                    Operation::UpsertDirect { matrix_bytes, place, .. } => {
                        let growing = Growing::open(self.files, Access::Read, place.number, place.random)?;
                        let body = Body::new(growing, *matrix_bytes, place.clone());
                        if !body.is_whole()? {
                            return Err(body.corrupt("the matrix that the log names is not whole"));
                        }
                        schema.precision.decode(&body.read()?)
                    }
                    Operation::Upsert { matrix, .. } => schema.precision.decode(matrix),
                    _ => Vec::new(),
                };
                let unfit = |error: Error| commit.corrupt(&error.to_string());
                let rows = usize::try_from(rows).unwrap_or(usize::MAX);
                let matrix = Matrix::from_rows(rows, schema.dim, values).map_err(unfit)?;
                let fields =
                    Fields::from_json(fields).ok_or_else(|| commit.corrupt("fields that are no JSON object"))?;
                let record = Record { id: Some(id.to_owned()), matrix, fields };
                record.check(schema).map_err(unfit)?;
                Ok(record)
            };
            match read() {
                Ok(record) => {
                    latest.copied = true;
                    self.put(known, record)?;
                }
                Err(error) if is_missing(&error) => {
                    let error = commit.corrupt("the segment with its matrix is missing");
                    self.lose(known, Some(id.to_owned()), None, error)?;
                }
                Err(error) => self.lose(known, Some(id.to_owned()), None, error)?,
            }
        }
        Ok(())
    }

    fn lose(&mut self, known: &Known, id: Option<String>, number: Option<u32>, error: Error) -> Result<()> {
        let (collection, damage) = (known.name.clone(), Finding::new(error, false)?);
        self.failed.push(LostRecord { collection, id, number, damage });
        Ok(())
    }

    fn write(&mut self, known: &Known) -> Result<()> {
        let records = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        if !records.is_empty() {
            let upsert = Change::Upsert { collection: known.name.clone(), records };
            self.store.commit_with(vec![upsert], Durability::Buffered)?;
        }
        Ok(())
    }
}
