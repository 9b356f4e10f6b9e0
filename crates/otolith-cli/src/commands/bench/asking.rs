//! Questions asked one after another on one thread, timed, and compared with the truth.

use super::super::output::Output;
use super::report::Speed;
use super::subject::{Question, Subject};
use otolith::query::{Hits, Query};
use otolith::{Error, Result};
use rayon::ThreadPool;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// Questions asked before the clock runs: the first answers read from disk what the others find in memory.
const WARM_UP: usize = 5;

/// How much of the exact answer is wanted.
#[derive(Clone, Copy)]
pub(super) enum Effort {
    Exact,
    /// An index's own setting.
    Setting(usize),
    /// A share of the exact answer.
    Recall(f64),
}

/// The questions, and a thread to ask them on.
pub(super) struct Asking {
    pub(super) subject: Subject,
    /// Hits wanted.
    pub(super) k: usize,
    thread: ThreadPool,
}

/// What came of asking all questions.
pub(super) struct Pass {
    /// Ids found, a list a question.
    pub(super) answers: Vec<Vec<String>>,
    /// The share of the truth that was found.
    pub(super) recall: f64,
    pub(super) speed: Speed,
    /// The way that most questions took.
    pub(super) chosen: String,
    /// From where to where the recall is promised to lie; none when every answer was exact.
    pub(super) promised: Option<(f64, f64)>,
}

impl Effort {
    fn of(self, query: Query<'_>) -> Query<'_> {
        match self {
            Effort::Exact => query.exact(),
            Effort::Setting(setting) => query.ef(setting).nprobe(setting).candidates(setting),
            Effort::Recall(target) => query.recall(target),
        }
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effort::Exact => f.write_str("exact"),
            Effort::Setting(setting) => write!(f, "setting {setting}"),
            Effort::Recall(target) => write!(f, "recall {target}"),
        }
    }
}

impl Asking {
    pub(super) fn new(subject: Subject, k: usize) -> Result<Asking> {
        if k == 1 && subject.questions.iter().any(|question| question.own.is_some()) {
            return Err(Error::invalid("-k 1", "a record finds itself first: give --queries, or a larger k"));
        }
        let thread = rayon::ThreadPoolBuilder::new().num_threads(1).build();
        let thread = thread.map_err(|error| Error::invalid("threads", error.to_string()))?;
        Ok(Asking { subject, k, thread })
    }

    /// Asks every question with this effort. Without a `truth` the answers are the truth.
    pub(super) fn ask(&self, effort: Effort, truth: Option<&[Vec<String>]>, output: &Output) -> Result<Pass> {
        let questions = &self.subject.questions;
        let bar = output.progress(questions.len() as u64, &effort.to_string());
        let answers = self.thread.install(|| {
            for question in questions.iter().take(WARM_UP) {
                self.answer(question, effort)?;
            }
            let timed = questions.iter().map(|question| {
                bar.inc(1);
                self.answer(question, effort)
            });
            timed.collect::<Result<Vec<_>>>()
        });
        bar.finish_and_clear();
        let (hits, seconds): (Vec<Hits>, Vec<f64>) = answers?.into_iter().unzip();
        let answers: Vec<Vec<String>> =
            hits.iter().zip(questions).map(|(hits, question)| ids(hits, question)).collect();
        let recall = truth.map_or(1.0, |truth| mean_recall(&answers, truth));
        Ok(Pass { answers, recall, speed: Speed::of(seconds), chosen: most_chosen(&hits), promised: promised(&hits) })
    }

    /// An answer, and the seconds that it took.
    fn answer(&self, question: &Question, effort: Effort) -> Result<(Hits, f64)> {
        let query = effort.of(self.subject.collection.query(&question.rows).view(&self.subject.view).k(self.k));
        let begin = Instant::now();
        let hits = query.run()?;
        let seconds = begin.elapsed().as_secs_f64();
        match hits.unreadable.first() {
            None => Ok((hits, seconds)),
            Some(record) => Err(record.error()),
        }
    }
}

/// What was found besides the question itself.
fn ids(hits: &Hits, question: &Question) -> Vec<String> {
    hits.iter().filter(|hit| question.own.as_ref() != Some(&hit.id)).map(|hit| hit.id.clone()).collect()
}

fn mean_recall(answers: &[Vec<String>], truth: &[Vec<String>]) -> f64 {
    let found = |(answer, truth): (&Vec<String>, &Vec<String>)| {
        let found = truth.iter().filter(|id| answer.contains(id)).count();
        found as f64 / truth.len().max(1) as f64
    };
    answers.iter().zip(truth).map(found).sum::<f64>() / truth.len().max(1) as f64
}

/// The ways through the segments that most answers took, in words.
fn most_chosen(hits: &[Hits]) -> String {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for hits in hits {
        let mut ways: Vec<String> = hits.plan.segments.iter().map(|segment| segment.way.to_string()).collect();
        ways.dedup();
        *times.entry(ways.join(" + ")).or_default() += 1;
    }
    times.into_iter().max_by_key(|(_, times)| *times).map(|(ways, _)| ways).unwrap_or_default()
}

/// The widest interval that an approximate answer promised.
fn promised(hits: &[Hits]) -> Option<(f64, f64)> {
    let promises = hits.iter().filter_map(|hits| hits.certificate.approximation.as_ref());
    promises.map(|promise| (promise.low, promise.high)).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}
