//! The comparison: every arm on the same queries and records, through a database on disk, by the library's public face.

use super::arms::{Arm, Frames};
use super::data_set::DataSet;
use super::frames::{self, CLIP_SECONDS};
use super::measure::{Outcome, evaluate};
use super::progress::Progress;
use super::protocol::{Protocol, Round};
use super::table::{ArmKind, ArmResult, Comparison, Example, ExampleHit, ModelInfo, Moment};
use crate::classify::LinearProbe;
use crate::collection::Collection;
use crate::database::Database;
use crate::embed::Embedder;
use crate::error::{Error, Result};
use crate::matrix::Matrix;
use crate::pipeline::Pipeline;
use crate::query::{Hits, Query};
use crate::store::RAW;
use rayon::prelude::*;
use std::collections::HashMap;
use std::time::Instant;

/// Queries of each arm that are kept with their hits, to be shown.
const EXAMPLES: usize = 8;
/// Hits kept of each.
const EXAMPLE_HITS: usize = 5;

/// What is compared, and how.
pub struct Setup<'a> {
    /// The clips.
    pub set: &'a DataSet,
    /// Who queries whom.
    pub protocol: Protocol,
    /// What makes frames of clips.
    pub embedder: &'a dyn Embedder,
    /// Name and layer of it, for the table.
    pub model: (String, Option<String>),
    /// Whether a frame is a glance of log-mel energies.
    pub short_frames: bool,
    /// The arms to run.
    pub arms: Vec<Arm>,
    /// Seed of the arms that draw.
    pub seed: u64,
}

/// Runs the experiment in a database, which keeps the frames for the next time.
///
/// # Errors
/// [`Error::Invalid`] when the protocol does not suit the set, and those of reading, embedding and writing.
pub fn compare(setup: &Setup<'_>, db: &Database, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<Comparison> {
    let rounds = setup.protocol.rounds(setup.set)?;
    let collection = frames::store(setup.set, setup.embedder, db, progress)?;
    let rate = f64::from(setup.embedder.sample_rate());
    let samples = (CLIP_SECONDS * rate) as usize;
    let rows = samples.saturating_sub(setup.embedder.receptive_field()) / setup.embedder.hop() + 1;
    let bench = Bench {
        setup,
        rounds: &rounds,
        collection,
        frames: Frames { rows, short: setup.short_frames, seed: setup.seed },
        clip_of: setup.set.clips.iter().enumerate().map(|(number, clip)| (clip.name.as_str(), number)).collect(),
    };
    let arms = setup.arms.iter().map(|&arm| bench.run(arm, progress)).collect::<Result<Vec<_>>>()?;
    Ok(Comparison {
        dataset: setup.set.name.clone(),
        clips: setup.set.clips.len(),
        classes: setup.set.classes.len(),
        protocol: setup.protocol.name().to_owned(),
        model: ModelInfo {
            name: setup.model.0.clone(),
            layer: setup.model.1.clone(),
            dim: setup.embedder.dim(),
            rows_per_clip: rows,
        },
        arms,
        skipped: Vec::new(),
    })
}

/// Everything that the arms share.
struct Bench<'a> {
    setup: &'a Setup<'a>,
    rounds: &'a [Round],
    collection: Collection,
    frames: Frames,
    clip_of: HashMap<&'a str, usize>,
}

/// What an arm gathers over the rounds.
#[derive(Default)]
struct Tally {
    outcomes: Vec<Outcome>,
    examples: Vec<Example>,
    shape: (usize, usize),
    records: usize,
    fit_seconds: f64,
    search_seconds: f64,
}

impl Bench<'_> {
    fn run(&self, arm: Arm, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<ArmResult> {
        progress(Progress::Begin {
            what: arm.name(),
            steps: self.rounds.iter().map(|round| round.queries.len()).sum(),
        });
        let mut tally = Tally::default();
        let kind = if arm == Arm::LinearProbe { ArmKind::Classifier } else { ArmKind::Search };
        match kind {
            ArmKind::Search => self.search(arm, &mut tally, progress)?,
            ArmKind::Classifier => self.classify(arm, &mut tally, progress)?,
        }
        progress(Progress::End);
        let evaluation = evaluate(&tally.outcomes, self.setup.set.classes.len());
        Ok(ArmResult {
            arm: arm.name().to_owned(),
            kind,
            dim: tally.shape.1,
            rows: tally.shape.0,
            queries: tally.outcomes.len(),
            records: tally.records,
            measures: evaluation.measures,
            confusion: evaluation.confusion,
            right: evaluation.right,
            fit_seconds: tally.fit_seconds,
            search_seconds: tally.search_seconds,
            examples: tally.examples,
        })
    }

    /// Makes the arm's view, for each round anew where it learns from the records, and asks every query in it.
    fn search(&self, arm: Arm, tally: &mut Tally, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<()> {
        let view_name = format!("compare {}", arm.name());
        if self.collection.view(&view_name).is_ok() {
            self.collection.drop_view(&view_name)?; // left by a comparison that was interrupted
        }
        for (number, round) in self.rounds.iter().enumerate() {
            let begin = Instant::now();
            let view = match arm.view(&self.frames) {
                None => RAW,
                Some(view) => {
                    if number == 0 || arm.is_fitted() {
                        self.collection.create_view(&view_name, &view.fitted_on(round.fit_filter.clone()))?;
                    }
                    view_name.as_str()
                }
            };
            tally.fit_seconds += begin.elapsed().as_secs_f64();
            if number == 0 {
                let shown = self.collection.apply_view(view, &self.frames_of(round.queries[0])?)?;
                tally.shape = (shown.rows(), shown.dim());
            }
            tally.records = tally.records.max(round.records.len());

            let begin = Instant::now();
            // Makes the rows of the view, for which threads of a pool would not wait for each other.
            self.question(&self.frames_of(round.queries[0])?, round, view).k(1).run()?;
            let answers: Vec<Outcome> = round
                .queries
                .par_iter()
                .map(|&clip| {
                    let frames = self.frames_of(clip)?;
                    let hits = self.question(&frames, round, view).k(round.records.len()).run()?;
                    progress(Progress::Step);
                    self.outcome(clip, round, &hits)
                })
                .collect::<Result<_>>()?;
            tally.search_seconds += begin.elapsed().as_secs_f64();
            tally.outcomes.extend(answers);

            if tally.examples.is_empty() {
                let step = round.queries.len().div_ceil(EXAMPLES).max(1);
                let shown = round.queries.iter().step_by(step);
                tally.examples = shown.map(|&clip| self.example(clip, round, view)).collect::<Result<_>>()?;
            }
            if view != RAW && (arm.is_fitted() || number + 1 == self.rounds.len()) {
                self.collection.drop_view(&view_name)?;
            }
        }
        Ok(())
    }

    /// Fits the classifier on the pooled frames of the round's clips and asks it about each query.
    fn classify(&self, arm: Arm, tally: &mut Tally, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Result<()> {
        let begin = Instant::now();
        let features = self.pooled(arm)?;
        tally.shape = (1, features[0].len());
        tally.fit_seconds = begin.elapsed().as_secs_f64();
        let set = self.setup.set;
        for round in self.rounds {
            let begin = Instant::now();
            let rows: Vec<f32> = round.fit.iter().flat_map(|&clip| features[clip].iter().copied()).collect();
            let rows = Matrix::from_rows(round.fit.len(), features[0].len(), rows)?;
            let labels: Vec<usize> = round.fit.iter().map(|&clip| set.clips[clip].class).collect();
            let groups: Vec<u32> = round.fit.iter().map(|&clip| set.clips[clip].fold).collect();
            let probe = LinearProbe::fit(rows.view(), &labels, set.classes.len(), &groups)?;
            tally.fit_seconds += begin.elapsed().as_secs_f64();
            tally.records = tally.records.max(round.fit.len());

            let begin = Instant::now();
            for &clip in &round.queries {
                let chances = probe.predict(&features[clip])?;
                let mut ranked: Vec<usize> = (0..chances.len()).collect();
                ranked.sort_by(|&a, &b| chances[b].total_cmp(&chances[a]).then(a.cmp(&b)));
                tally.outcomes.push(Outcome { truth: set.clips[clip].class, ranked, relevant: None });
                progress(Progress::Step);
            }
            tally.search_seconds += begin.elapsed().as_secs_f64();
        }
        Ok(())
    }

    /// The classifier's features of every clip, in the order of the set.
    fn pooled(&self, arm: Arm) -> Result<Vec<Vec<f32>>> {
        let view = arm.view(&self.frames).ok_or_else(|| Error::invalid("arm", "has no features"))?;
        let pool = Pipeline::fit(view.steps(), self.setup.embedder.dim(), &Vec::new())?;
        let clips = &self.setup.set.clips;
        let one = |number| Ok(pool.apply(self.frames_of(number)?.view())?.into_values());
        (0..clips.len()).into_par_iter().map(one).collect()
    }

    fn frames_of(&self, clip: usize) -> Result<Matrix> {
        let name = &self.setup.set.clips[clip].name;
        let record = self.collection.get(name)?;
        Ok(record.ok_or_else(|| Error::not_found("record", name.as_str(), [""; 0]))?.matrix)
    }

    fn question<'q>(&self, frames: &'q Matrix, round: &Round, view: &str) -> Query<'q> {
        self.collection.query(frames).view(view).filter(round.records_filter.clone())
    }

    fn clip_of(&self, id: &str) -> Result<usize> {
        self.clip_of.get(id).copied().ok_or_else(|| Error::not_found("clip", id, [""; 0]))
    }

    /// The classes of the hits in order. The filter must have chosen just the records of the round.
    fn outcome(&self, query: usize, round: &Round, hits: &Hits) -> Result<Outcome> {
        let set = self.setup.set;
        if hits.len() != round.records.len() {
            return Err(Error::mismatch("records of the round", round.records.len(), hits.len()));
        }
        let mut ranked = Vec::with_capacity(hits.len());
        for hit in hits {
            let clip = self.clip_of(&hit.id)?;
            if round.records.binary_search(&clip).is_err() {
                return Err(Error::invalid("round", format!("`{}` is not among its records", hit.id)));
            }
            ranked.push(set.clips[clip].class);
        }
        let truth = set.clips[query].class;
        let relevant = round.records.iter().filter(|&&clip| set.clips[clip].class == truth).count();
        Ok(Outcome { truth, ranked, relevant: Some(relevant) })
    }

    fn example(&self, clip: usize, round: &Round, view: &str) -> Result<Example> {
        let frames = self.frames_of(clip)?;
        let hits = self.question(&frames, round, view).k(EXAMPLE_HITS).explain().run()?;
        let shown = hits.iter().map(|hit| {
            let runs = hit.explanation.iter().flat_map(|why| &why.runs);
            // A run over all of both says nothing of moments.
            let whole = |rows: &std::ops::Range<usize>| rows.len() == self.frames.rows;
            let moments = runs.filter(|run| !(whole(&run.query_rows) && whole(&run.record_rows))).take(3);
            Ok(ExampleHit {
                clip: self.clip_of(&hit.id)?,
                score: hit.score,
                moments: moments
                    .filter_map(|run| {
                        let (query, record) = (run.query_seconds.as_ref()?, run.record_seconds.as_ref()?);
                        Some(Moment {
                            query: (query.start, query.end),
                            record: (record.start, record.end),
                            share: run.share,
                        })
                    })
                    .collect(),
            })
        });
        Ok(Example { query: clip, hits: shown.collect::<Result<_>>()? })
    }
}
