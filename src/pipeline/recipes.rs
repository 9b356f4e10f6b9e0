//! Chains of steps that proved themselves on frames of sound. `docs/experiment.md` says what each finds on ESC-50.
//!
//! `with_context` is for frames that each cover a short moment, such as those of [`LogMel`](crate::embed::LogMel): each
//! gains by its neighbours. The frames of a network cover their neighbours already.
//!
//! # Examples
//!
//! ```
//! use otolith::pipeline::recipes;
//! use otolith::{Metric, View};
//!
//! // One vector a record, turned by what tells the classes in its field `class` apart.
//! let view = View::new(recipes::adapted(true, "class", 0)).metric(Metric::Cosine);
//! assert_eq!(view.steps().last().map(|step| step.name()), Some("lda"));
//! ```

use super::{Statistic, Step};

/// Returns steps that make whitened rows, of every second one: no loud direction drowns the others when rows are
/// compared by MaxSim.
pub fn whitened(with_context: bool) -> Vec<Step> {
    let context = with_context.then(|| Step::Stack { offsets: vec![-8, -4, -2, 0, 2, 4, 8] });
    let white = Step::Pca { dim: 96, whiten: true };
    context.into_iter().chain([Step::Every { n: 2 }, white, Step::Normalise]).collect()
}

/// Returns steps that make one vector of 100 numbers a record: which of a thousand kinds of row it has (k-means), and
/// how that varies; whitened. `seed` is that of the k-means.
pub fn codes(with_context: bool, seed: u64) -> Vec<Step> {
    pooled_codes(with_context, seed).chain([Step::Pca { dim: 100, whiten: true }]).collect()
}

/// Returns steps that make one vector a record, at most as many numbers as there are classes less one: the same kinds
/// of row, turned by what tells the classes apart that `field` names (LDA). All steps but the last learn from all
/// records, with the field or without.
pub fn adapted(with_context: bool, field: &str, seed: u64) -> Vec<Step> {
    let discriminants = Step::Lda { field: field.to_owned(), shrinkage: 0.1, dim: None };
    pooled_codes(with_context, seed).chain([Step::Pca { dim: 400, whiten: false }, discriminants]).collect()
}

fn pooled_codes(with_context: bool, seed: u64) -> impl Iterator<Item = Step> {
    whitened(with_context).into_iter().chain([
        Step::Codes { centroids: 1000, sample: 30_000, rounds: 8, seed },
        Step::Pool(vec![Statistic::Mean, Statistic::Max, Statistic::Std]),
        Step::Standardise,
    ])
}
