//! Running many queries at once.

use super::{Hits, Query};
use crate::error::Result;
use crate::index::planes::{FEW_ROWS, MEMBERS, Together};
use crate::threads;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// Fewest records that are bounded for several queries at once: fewer are so little work for each that all queries side
/// by side use more threads.
const MANY: usize = 1_000;

/// Runs queries side by side on the rayon pool and returns their answers in order; they are the same as those of one
/// query after the other. For many short queries this gives more answers a second than sharing out the work of each;
/// a query may still use threads that have nothing else to do.
///
/// The first query of each view runs alone: it may have to derive rows or codes, which the others then find ready. Of
/// queries of up to 48 rows, without a filter or a budget of time, sixteen at a time read the records once for all of
/// them, where these can be bounded.
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
    let queries: Vec<Query<'q>> = queries.into_iter().collect();
    let groups = groups(&queries);
    let mut queries: Vec<Option<Query<'q>>> = queries.into_iter().map(Some).collect();
    let mut answers: Vec<Option<Result<Hits>>> = queries.iter().map(|_| None).collect();
    for Group { members, together } in groups {
        let own = members.iter().filter_map(|&at| Some((at, queries[at].take()?)));
        let mut own: Vec<(usize, Query<'q>)> = own.collect();
        if together {
            let together = Arc::new(Together::new(own.iter().map(|(_, query)| query.rows).collect()));
            for (member, (_, query)) in own.iter_mut().enumerate() {
                query.together = Some((Arc::clone(&together), member));
            }
        }
        let others = own.split_off(1); // no group is empty
        let answer = |(at, query): (usize, Query<'q>)| (at, query.run());
        let first: Vec<_> = own.into_iter().map(answer).collect();
        let others: Vec<_> = others.into_par_iter().map(answer).collect();
        first.into_iter().chain(others).for_each(|(at, hits)| answers[at] = Some(hits));
    }
    answers.into_iter().flatten().collect()
}

/// Queries of which the first is run before the others.
struct Group {
    members: Vec<usize>,
    /// Whether they are bounded together.
    together: bool,
}

/// Divides queries into groups of the same view: a few of a few rows that search the same, or all the others.
fn groups(queries: &[Query<'_>]) -> Vec<Group> {
    let mut alike: HashMap<_, Vec<usize>> = HashMap::new();
    for (at, query) in queries.iter().enumerate() {
        let is_plain = query.filter.is_none() && query.budget.is_none();
        let state = match &query.snapshot {
            Ok(snapshot) if is_plain && snapshot.len() >= MANY && (2..=FEW_ROWS).contains(&query.rows.rows()) => {
                let (database, collection, generation, commit) = snapshot.identity();
                Some((database, collection.to_owned(), generation, commit))
            }
            _ => None,
        };
        alike.entry((state, query.view.as_str())).or_default().push(at);
    }
    let groups = alike.into_iter().flat_map(|((state, _), members)| {
        let most = if state.is_some() { MEMBERS } else { members.len() };
        let group =
            |members: &[usize]| Group { members: members.to_vec(), together: state.is_some() && members.len() > 1 };
        members.chunks(most).map(group).collect::<Vec<_>>()
    });
    let mut groups: Vec<Group> = groups.collect();
    groups.sort_by_key(|group| group.members[0]);
    groups
}
