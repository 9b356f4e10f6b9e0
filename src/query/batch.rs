//! Many queries at once.

use super::{Hits, Query};
use crate::error::Result;
use crate::threads;
use rayon::prelude::*;
use std::collections::HashSet;

/// Runs queries side by side on the rayon pool; the answers are those of one after the other, in order. Of many short queries a pool
/// answers more in a second than by sharing out the work of each; a query may still use threads that have nothing else to do.
///
/// The first query of each view goes alone: it may have to derive rows or codes, which the others then find.
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
