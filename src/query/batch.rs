//! Running many queries at once.

use super::{Hits, Query};
use crate::error::Result;
use crate::threads;
use rayon::prelude::*;
use std::collections::HashSet;

/// Runs queries side by side on the rayon pool and returns their answers in order; they are the same as those of one
/// query after the other. For many short queries this gives more answers a second than sharing out the work of each;
/// a query may still use threads that have nothing else to do.
///
/// The first query of each view runs alone: it may have to derive rows or codes, which the others then find ready.
///
/// # Examples
///
/// ```
/// use otolith::run_all;
/// # use otolith::{Database, Matrix, Record, Schema};
/// # let folder = tempfile::tempdir()?;
/// # let db = Database::open(folder.path().join("vectors.otolith"))?;
/// # let vectors = db.create_collection("vectors", Schema::new(2))?;
/// # for n in 0..9 {
/// #     vectors.upsert([Record::new(format!("{n}"), Matrix::from_vector(vec![n as f32, 1.0])?)])?;
/// # }
/// let questions = [Matrix::from_vector(vec![2.1, 1.0])?, Matrix::from_vector(vec![7.2, 1.0])?];
/// let snapshot = vectors.snapshot()?; // so that all of them ask the same version
/// let answers = run_all(questions.iter().map(|rows| snapshot.query(rows).k(1)));
/// let best: Vec<String> = answers.into_iter().map(|hits| Ok(hits?[0].id.clone())).collect::<otolith::Result<_>>()?;
/// assert_eq!(best, ["2", "7"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_all<'q>(queries: impl IntoIterator<Item = Query<'q>>) -> Vec<Result<Hits>> {
    threads::ready();
    let mut views = HashSet::new();
    let begin = |query: Query<'q>| match views.insert(query.view.clone()) {
        true => Begun::Done(query.run()),
        false => Begun::Waiting(query),
    };
    let begun: Vec<Begun<'q>> = queries.into_iter().map(begin).collect();
    let finish = |begun| match begun {
        Begun::Done(answer) => answer,
        Begun::Waiting(query) => query.run(),
    };
    begun.into_par_iter().map(finish).collect()
}

enum Begun<'q> {
    Done(Result<Hits>),
    Waiting(Query<'q>),
}
