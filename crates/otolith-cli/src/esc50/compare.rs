//! The comparison: every arm on the same queries and records, through a database on disk, by the library's public face.

use super::arms::{Arm, Frames};
use super::combine::{self, Ranking};
use super::data_set::DataSet;
use super::fine_tuned::{FineTuning, Sounds, Tuned};
use super::frames::{self, CLIP_SECONDS};
use super::measure::{Outcome, evaluate};
use super::progress::Progress;
use super::protocol::{Protocol, Round};
use super::table::{ArmKind, ArmResult, Comparison, Example, ExampleHit, ModelInfo, Moment, Skipped, Training};
use otolith::Collection;
use otolith::Database;
use otolith::Matrix;
use otolith::Metric;
use otolith::RAW;
use otolith::classify::fine_tune::{self, Corpus};
use otolith::classify::{self, LinearProbe};
use otolith::embed::{self, Embedder};
use otolith::pipeline::Pipeline;
use otolith::query::{Hits, Query};
use otolith::{Error, Result};
use otolith::{Record, Schema};
use rayon::prelude::*;
use std::collections::HashMap;
use std::time::Instant;

/// Queries of each arm that are kept with their hits, to be shown.
const EXAMPLES: usize = 8;
/// Hits kept of each.
const EXAMPLE_HITS: usize = 5;
/// Nearest records that vote.
const NEIGHBOURS: usize = 10;

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
    /// The arms to run.
    pub arms: Vec<Arm>,
    /// Seed of the arms that draw.
    pub seed: u64,
    /// How networks are trained; `None` where the model is none.
    pub tuning: Option<FineTuning>,
}

impl Setup<'_> {
    /// Why an arm has no answer.
    fn refuses(&self, arm: Arm) -> Option<&'static str> {
        match arm {
            Arm::FineTune | Arm::Tuned if self.tuning.is_none() => Some("needs a wav2vec2 model"),
            _ => arm.refuses(self.protocol),
        }
    }
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
        frames: Frames { rows, short: embed::has_short_rows(setup.embedder.identity()), seed: setup.seed },
        clip_of: setup.set.clips.iter().enumerate().map(|(number, clip)| (clip.name.as_str(), number)).collect(),
    };
    let (mut run, mut skipped) = (Vec::new(), Vec::new());
    for &arm in &setup.arms {
        match setup.refuses(arm) {
            Some(why) => skipped.push(Skipped { arm: arm.name().to_owned(), why: why.to_owned() }),
            None => run.push(arm),
        }
    }
    let mut tallies = bench.search_all(&run, progress)?;
    for &arm in run.iter().filter(|&&arm| arm == Arm::LinearProbe) {
        tallies.insert(arm, bench.classify(arm, progress)?);
    }
    if let Some(tuning) = &setup.tuning
        && run.iter().any(|arm| matches!(arm, Arm::FineTune | Arm::Tuned))
    {
        let (classifier, search) = bench.fine_tune(tuning, db, progress)?;
        tallies.extend([(Arm::FineTune, classifier), (Arm::Tuned, search)]);
    }
    let arms = run.iter().filter_map(|arm| tallies.remove(arm).map(|tally| bench.result(*arm, tally))).collect();
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
        skipped,
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
    training: Vec<Training>,
}

type Report<'a> = &'a (dyn Fn(Progress<'_>) + Sync);

impl Bench<'_> {
    fn result(&self, arm: Arm, tally: Tally) -> ArmResult {
        let evaluation = evaluate(&tally.outcomes, self.setup.set.classes.len());
        ArmResult {
            arm: arm.name().to_owned(),
            kind: arm.kind(),
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
            training: tally.training,
        }
    }

    /// Runs every arm but the classifiers that see no records. Round by round, so that a view is fitted and searched
    /// once for all arms that need its scores, and only those of one round are held.
    fn search_all(&self, arms: &[Arm], progress: Report<'_>) -> Result<HashMap<Arm, Tally>> {
        let wanted = |arm: &Arm| {
            arms.contains(arm) || arms.iter().any(|other| other.parts().iter().any(|(part, _)| part == arm))
        };
        let searched = || Arm::ALL.into_iter().filter(|arm| !arm.is_trained() && arm.parts().is_empty()).filter(wanted);
        let combined = || arms.iter().copied().filter(|arm| !arm.parts().is_empty());
        let mut tallies: HashMap<Arm, Tally> = HashMap::new();
        for number in 0..self.rounds.len() {
            let mut rankings = HashMap::new();
            for arm in searched() {
                rankings.insert(arm, self.search(arm, number, tallies.entry(arm).or_default(), progress)?);
            }
            for arm in combined() {
                self.combine(arm, number, &rankings, tallies.entry(arm).or_default())?;
            }
        }
        for arm in combined() {
            // What it would have taken on its own.
            let parts = arm.parts().iter().filter_map(|(part, _)| tallies.get(part));
            let of_parts = parts.map(|part| (part.shape, part.records, part.fit_seconds, part.search_seconds));
            let of_parts: Vec<_> = of_parts.collect();
            let tally = tallies.entry(arm).or_default();
            for (at, (shape, records, fit, search)) in of_parts.into_iter().enumerate() {
                if at == 0 {
                    (tally.shape, tally.records) = (shape, records);
                }
                tally.fit_seconds += fit;
                tally.search_seconds += search;
            }
        }
        for arm in searched() {
            let view = view_name(arm);
            if self.collection.view(&view).is_ok() {
                self.collection.drop_view(&view)?;
            }
        }
        Ok(tallies)
    }

    /// Makes the arm's view, anew where it learns from other records than in the round before, and asks every query of
    /// the round in it.
    fn search(&self, arm: Arm, number: usize, tally: &mut Tally, progress: Report<'_>) -> Result<Vec<Ranking>> {
        let (round, before) = (&self.rounds[number], number.checked_sub(1).map(|before| &self.rounds[before]));
        progress(Progress::Begin { what: &format!("{}, {}", arm.name(), round.name), steps: round.queries.len() });
        let begin = Instant::now();
        let name = view_name(arm);
        let view = match arm.view(&self.frames) {
            None => RAW,
            Some(view) => {
                if before.is_none_or(|before| arm.is_fitted() && before.fit_filter != round.fit_filter) {
                    if self.collection.view(&name).is_ok() {
                        self.collection.drop_view(&name)?; // of the round before, or left by an interrupted comparison
                    }
                    self.collection.create_view(&name, &view.fitted_on(round.fit_filter.clone()))?;
                }
                name.as_str()
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
        let rankings: Vec<Ranking> = round
            .queries
            .par_iter()
            .map(|&clip| {
                let frames = self.frames_of(clip)?;
                let hits = self.question(&frames, round, view).k(round.records.len()).run()?;
                progress(Progress::Step);
                self.ranking(round, &hits)
            })
            .collect::<Result<_>>()?;
        tally.search_seconds += begin.elapsed().as_secs_f64();
        tally.outcomes.extend(
            std::iter::zip(&round.queries, &rankings).map(|(&clip, ranking)| self.outcome(clip, round, ranking)),
        );
        if number == 0 {
            tally.examples = shown(round).map(|(_, clip)| self.example(clip, round, view)).collect::<Result<_>>()?;
        }
        progress(Progress::End);
        Ok(rankings)
    }

    /// The answers of an arm to the queries of a round, made of those of its parts.
    fn combine(&self, arm: Arm, number: usize, rankings: &HashMap<Arm, Vec<Ranking>>, tally: &mut Tally) -> Result<()> {
        let (set, round) = (self.setup.set, &self.rounds[number]);
        let begin = Instant::now();
        let parts: Vec<(&[Ranking], f64)> =
            arm.parts().iter().filter_map(|(part, weight)| Some((rankings.get(part)?.as_slice(), *weight))).collect();
        if arm.kind() == ArmKind::Classifier {
            let class = |clip: usize| set.clips[clip].class;
            tally.outcomes.extend(std::iter::zip(&round.queries, parts[0].0).map(|(&clip, ranking)| Outcome {
                truth: class(clip),
                ranked: combine::vote(ranking, class, NEIGHBOURS),
                relevant: None,
            }));
        } else {
            let name = |clip: usize| set.clips[clip].name.as_str();
            let fused: Vec<Ranking> = (0..round.queries.len())
                .into_par_iter()
                .map(|at| combine::fuse(parts.iter().map(|(rankings, weight)| (&rankings[at], *weight)), name))
                .collect();
            tally.outcomes.extend(
                std::iter::zip(&round.queries, &fused).map(|(&clip, ranking)| self.outcome(clip, round, ranking)),
            );
            if number == 0 {
                let hit = |&(clip, score): &(usize, f64)| ExampleHit { clip, score, moments: Vec::new() };
                let hits = |at: usize| fused[at].iter().take(EXAMPLE_HITS).map(hit).collect();
                tally.examples = shown(round).map(|(at, query)| Example { query, hits: hits(at) }).collect();
            }
        }
        tally.search_seconds += begin.elapsed().as_secs_f64();
        Ok(())
    }

    /// Fits the classifier on the pooled frames of the round's clips and asks it about each query.
    fn classify(&self, arm: Arm, progress: Report<'_>) -> Result<Tally> {
        progress(Progress::Begin {
            what: arm.name(),
            steps: self.rounds.iter().map(|round| round.queries.len()).sum(),
        });
        let mut tally = Tally::default();
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
                let ranked = classify::ranked(&probe.predict(&features[clip])?);
                tally.outcomes.push(Outcome { truth: set.clips[clip].class, ranked, relevant: None });
                progress(Progress::Step);
            }
            tally.search_seconds += begin.elapsed().as_secs_f64();
        }
        progress(Progress::End);
        Ok(tally)
    }

    /// Trains a network on the records of each round, asks it about the queries, and searches by its hidden states.
    fn fine_tune(&self, tuning: &FineTuning, db: &Database, progress: Report<'_>) -> Result<(Tally, Tally)> {
        let set = self.setup.set;
        let rate = self.setup.embedder.sample_rate();
        let samples = Some((CLIP_SECONDS * f64::from(rate)) as usize);
        let sounds = Sounds { set, rate, samples };
        let corpus = Corpus::new(&sounds);
        let (mut classifier, mut search) = (Tally::default(), Tally::default());
        for round in self.rounds.iter().take(tuning.rounds) {
            let begin = Instant::now();
            let tuned = tuning.round(set, &corpus, round, &|step| match step {
                fine_tune::Progress::Epoch { number, steps, first } => {
                    progress(Progress::Begin { what: &format!("fine-tune, {}, epoch {number}", round.name), steps });
                    (0..first).for_each(|_| progress(Progress::Step));
                }
                fine_tune::Progress::Step(_) => progress(Progress::Step),
                fine_tune::Progress::Evaluated { .. } => {}
                fine_tune::Progress::Epochs(_) => progress(Progress::End),
            })?;
            classifier.fit_seconds += begin.elapsed().as_secs_f64();
            classifier.shape = (self.frames.rows, tuned.rows[0].len());
            classifier.records = classifier.records.max(round.fit.len());
            classifier.outcomes.extend(tuned.predictions.iter().map(|one| Outcome {
                truth: set.clips[one.clip].class,
                ranked: one.ranked(),
                relevant: None,
            }));
            classifier.training.push(Training { round: round.name.clone(), epochs: tuned.epochs.clone() });
            self.search_tuned(&tuned, round, db, &mut search)?;
        }
        search.fit_seconds = classifier.fit_seconds;
        Ok((classifier, search))
    }

    /// Searches the records of a round by the hidden states of its network.
    fn search_tuned(&self, tuned: &Tuned, round: &Round, db: &Database, tally: &mut Tally) -> Result<()> {
        const NAME: &str = "tuned";
        let begin = Instant::now();
        if db.collections().iter().any(|name| name == NAME) {
            db.drop_collection(NAME)?; // left by a comparison that was interrupted
        }
        let dim = tuned.rows[0].len();
        let collection = db.create_collection(NAME, Schema::new(dim).metric(Metric::Cosine))?;
        let (queries, records) = tuned.rows.split_at(round.queries.len());
        let record = |(&clip, row): (&usize, &Vec<f32>)| {
            Ok(Record::new(self.setup.set.clips[clip].name.clone(), Matrix::from_rows(1, dim, row.clone())?))
        };
        collection.upsert(round.records.iter().zip(records).map(record).collect::<Result<Vec<_>>>()?)?;
        for (&clip, row) in round.queries.iter().zip(queries) {
            let row = Matrix::from_rows(1, dim, row.clone())?;
            let hits = collection.query(&row).k(round.records.len()).run()?;
            tally.outcomes.push(self.outcome(clip, round, &self.ranking(round, &hits)?));
        }
        (tally.shape, tally.records) = ((1, dim), tally.records.max(round.records.len()));
        tally.search_seconds += begin.elapsed().as_secs_f64();
        db.drop_collection(NAME)
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

    /// The clips of the hits in order. The filter must have chosen just the records of the round.
    fn ranking(&self, round: &Round, hits: &Hits) -> Result<Ranking> {
        if hits.len() != round.records.len() {
            return Err(Error::mismatch("records of the round", round.records.len(), hits.len()));
        }
        let clips = hits.iter().map(|hit| {
            let clip = self.clip_of(&hit.id)?;
            match round.records.binary_search(&clip) {
                Ok(_) => Ok((clip, hit.score)),
                Err(_) => Err(Error::invalid("round", format!("`{}` is not among its records", hit.id))),
            }
        });
        clips.collect()
    }

    fn outcome(&self, query: usize, round: &Round, ranking: &[(usize, f64)]) -> Outcome {
        let class = |clip: usize| self.setup.set.clips[clip].class;
        let truth = class(query);
        let relevant = round.records.iter().filter(|&&clip| class(clip) == truth).count();
        Outcome { truth, ranked: ranking.iter().map(|&(clip, _)| class(clip)).collect(), relevant: Some(relevant) }
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

fn view_name(arm: Arm) -> String {
    format!("compare {}", arm.name())
}

/// The queries of a round that are shown, each with its place among them.
fn shown(round: &Round) -> impl Iterator<Item = (usize, usize)> {
    let step = round.queries.len().div_ceil(EXAMPLES).max(1);
    round.queries.iter().copied().enumerate().step_by(step)
}
