//! What is searched in, and what for: a file put into a database, or a database as it is.

use super::super::model::COLLECTION;
use super::super::output::Output;
use crate::exchange::{self, Input, Naming};
use otolith::Matrix;
use otolith::Metric;
use otolith::RAW;
use otolith::{Collection, Database, Record, Schema};
use otolith::{Error, Result};
use std::path::Path;

/// Records in a database, and questions to them.
pub(super) struct Subject {
    pub(super) db: Database,
    pub(super) collection: Collection,
    pub(super) view: String,
    pub(super) questions: Vec<Question>,
}

/// One query.
pub(super) struct Question {
    pub(super) rows: Matrix,
    /// The record that it is, where it is one of those searched in: no part of its answer.
    pub(super) own: Option<String>,
}

impl Subject {
    /// Puts the records of a file into a new database, without those that are to be asked for when there are no
    /// `queries`.
    pub(super) fn load(
        input: &Path,
        metric: Metric,
        (queries, wanted): (Option<&Path>, u32),
        folder: &Path,
        output: &Output,
    ) -> Result<Subject> {
        let Input { dim, count, records, .. } = exchange::open(input, &Naming::default())?;
        let mut questions = match queries {
            _ if count == 0 => return Err(Error::unusable(input, "no record in it")),
            Some(queries) => read_questions(queries, dim, wanted)?,
            None if count < 2 => return Err(Error::unusable(input, "a single record: give --queries")),
            None => Vec::new(),
        };
        let hold_out = if queries.is_none() { u64::from(wanted).min(count / 10).max(1) } else { 0 };
        let db = Database::open(folder)?;
        let collection = db.create_collection(COLLECTION, Schema::new(dim).metric(metric))?;
        let mut load = collection.bulk_load()?;
        let bar = output.progress(count, "loading");
        for (number, record) in (0..).zip(records) {
            let mut record = record?;
            if is_drawn(number, count, hold_out) {
                questions.push(Question { rows: record.matrix, own: None });
            } else {
                record.id.get_or_insert_with(|| Record::numbered_id(number));
                load.push(record)?;
            }
            bar.inc(1);
        }
        load.finish()?;
        bar.finish_and_clear();
        Subject { db, collection, view: RAW.to_owned(), questions }.checked(input)
    }

    /// A database as it is. Some of its records are the questions when there are no `queries`.
    pub(super) fn existing(
        folder: &Path,
        collection: &str,
        view: &str,
        (queries, wanted): (Option<&Path>, u32),
    ) -> Result<Subject> {
        let db = Database::open_read_only(folder)?;
        let collection = db.collection(collection)?;
        let snapshot = collection.snapshot()?;
        let questions = match queries {
            Some(queries) => read_questions(queries, snapshot.schema().dim, wanted)?,
            None => {
                let (count, wanted) = (snapshot.len() as u64, u64::from(wanted).min(snapshot.len() as u64));
                let drawn = (0..).zip(snapshot.iter()).filter(|(number, _)| is_drawn(*number, count, wanted));
                let question = |record: Record| Question { rows: record.matrix, own: record.id };
                drawn.map(|(_, entry)| entry.to_record().map(question)).collect::<Result<_>>()?
            }
        };
        Subject { db, collection, view: view.to_owned(), questions }.checked(folder)
    }

    /// Makes sure that there is something to ask.
    fn checked(mut self, source: &Path) -> Result<Subject> {
        self.questions.retain(|question| question.rows.rows() > 0);
        if self.questions.is_empty() {
            return Err(Error::unusable(source, "no query with rows: give --queries"));
        }
        Ok(self)
    }
}

/// Whether this of `count` records is one of the `wanted`, which are drawn at equal distances: files are often in
/// order.
fn is_drawn(number: u64, count: u64, wanted: u64) -> bool {
    number * wanted / count != (number + 1) * wanted / count
}

fn read_questions(path: &Path, dim: usize, wanted: u32) -> Result<Vec<Question>> {
    let input = exchange::open(path, &Naming::default())?;
    if input.dim != dim {
        let expected = format!("rows of {dim} numbers, as the records have");
        return Err(Error::mismatch(path.display().to_string(), expected, input.dim));
    }
    let question = |record: Result<Record>| record.map(|record| Question { rows: record.matrix, own: None });
    input.records.take(wanted as usize).map(question).collect()
}
