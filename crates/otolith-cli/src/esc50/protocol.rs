//! Who is searched for, and among whom.
//!
//! | protocol | queries | records |
//! |---|---|---|
//! | `folds` | every clip, a fold at a time | the clips of the other folds |
//! | `34-5-1` | of each class the 40th clip in the set's order | of each class the first 34; the next 5 are for choosing |
//! | `open-set` | the clips of held-out classes, a fold at a time | the clips of the held-out classes in other folds |
//!
//! A set that comes with splits keeps them under `34-5-1`: its training clips are the records, its `val` (else `test`)
//! clips the queries. Folds keep the clips of one recording together, so `folds` is the fair test; the order of the
//! 34-5-1 split is the set's own, as in the tutorial that it follows, and nothing random enters it.

use super::data_set::{DataSet, Split};
use otolith::{Error, Result};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Of each class, in the set's order: this many clips to train, to test and to validate.
const DEALT: [(Split, usize); 3] = [(Split::Train, 34), (Split::Test, 5), (Split::Val, 1)];

/// How many parts the classes are dealt to for `open-set`: each in turn is unknown to whatever is fitted.
const HELD_OUT: usize = 5;

/// A way of turning a data set into queries and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Each fold in turn queries the others.
    Folds,
    /// The tutorial's split: 34 clips of a class to search in, 5 for choosing, 1 to search for.
    Split34_5_1,
    /// As [`Protocol::Folds`] among classes that nothing was fitted on.
    OpenSet,
}

/// One pass: every query is searched for among the records. All three are numbers into [`DataSet::clips`], ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// What it is called: `fold 3`.
    pub name: String,
    /// The clips searched for.
    pub queries: Vec<usize>,
    /// The clips searched in; no query is among them.
    pub records: Vec<usize>,
    /// The clips that anything may be fitted on: the records, except under `open-set`. Rounds that share theirs follow
    /// each other, so whoever fits may keep the last fit.
    pub fit: Vec<usize>,
    /// The records as a filter on the fields `fold`, `split` and `class` of their records in a database.
    pub records_filter: String,
    /// The clips to fit on, likewise.
    pub fit_filter: String,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Protocol; 3] = [Protocol::Folds, Protocol::Split34_5_1, Protocol::OpenSet];

    /// The name on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Folds => "folds",
            Protocol::Split34_5_1 => "34-5-1",
            Protocol::OpenSet => "open-set",
        }
    }

    /// The rounds of this protocol on a data set.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the set cannot give them: fewer than two folds, too few clips in a class for 34, 5 and
    /// 1, a class without a training clip, or too few classes to hold some out.
    pub fn rounds(self, set: &DataSet) -> Result<Vec<Round>> {
        match self {
            Protocol::Folds => folds(set),
            Protocol::Split34_5_1 => Ok(vec![split_round(set)?]),
            Protocol::OpenSet => open_set(set),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(name: &str) -> Result<Protocol> {
        let all = Protocol::ALL;
        all.into_iter()
            .find(|protocol| protocol.name() == name)
            .ok_or_else(|| Error::not_found("protocol", name, all.map(Protocol::name)))
    }
}

/// Which split each clip is in: the one it came with, else 34, 5 and 1 of each class in the set's order. A class may
/// have more than 40 clips; the rest is in no split.
///
/// # Errors
/// [`Error::Invalid`] when a class has fewer than 40 clips.
pub fn splits(set: &DataSet) -> Result<Vec<Option<Split>>> {
    if set.clips.iter().any(|clip| clip.split.is_some()) {
        return Ok(set.clips.iter().map(|clip| clip.split).collect());
    }
    let dealt: Vec<Split> = DEALT.iter().flat_map(|&(split, count)| std::iter::repeat_n(split, count)).collect();
    let mut splits = vec![None; set.clips.len()];
    for (class, clips) in set.clips_by_class().into_iter().enumerate() {
        if clips.len() < dealt.len() {
            let why = format!(
                "needs {} clips of each class, and {} has {} of `{}`: use `folds`, or sort the clips into train, \
                 test and val",
                dealt.len(),
                set.name,
                clips.len(),
                set.classes[class]
            );
            return Err(Error::invalid("protocol 34-5-1", why));
        }
        for (clip, &split) in std::iter::zip(clips, &dealt) {
            splits[clip] = Some(split);
        }
    }
    Ok(splits)
}

fn split_round(set: &DataSet) -> Result<Round> {
    let splits = splits(set)?;
    let of = |split| pick(set, |clip| splits[clip] == Some(split));
    let (queries, name) = match of(Split::Val) {
        val if val.is_empty() => (of(Split::Test), Split::Test.name()),
        val => (val, Split::Val.name()),
    };
    let records = of(Split::Train);
    let known: BTreeSet<usize> = records.iter().map(|&clip| set.clips[clip].class).collect();
    if let Some(&lost) = queries.iter().find(|&&clip| !known.contains(&set.clips[clip].class)) {
        let why = format!("class `{}` has a query but no training clip", set.classes[set.clips[lost].class]);
        return Err(Error::invalid("protocol 34-5-1", why));
    }
    if queries.is_empty() {
        return Err(Error::invalid("protocol 34-5-1", "the set has no val and no test clip to search for"));
    }
    let filter = format!("split = '{}'", Split::Train.name());
    Ok(Round {
        name: name.to_owned(),
        queries,
        fit: records.clone(),
        records,
        records_filter: filter.clone(),
        fit_filter: filter,
    })
}

fn folds(set: &DataSet) -> Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for fold in fold_numbers(set, |_| true)? {
        let records = pick(set, |clip| set.clips[clip].fold != fold);
        let queries = pick(set, |clip| set.clips[clip].fold == fold);
        let filter = format!("fold != {fold}");
        rounds.push(Round {
            name: format!("fold {fold}"),
            queries,
            fit: records.clone(),
            records,
            records_filter: filter.clone(),
            fit_filter: filter,
        });
    }
    Ok(rounds)
}

fn open_set(set: &DataSet) -> Result<Vec<Round>> {
    if set.classes.len() < 2 * HELD_OUT {
        let (classes, least) = (set.classes.len(), 2 * HELD_OUT);
        let why = format!("holds a fifth of the classes out, which takes at least {least}; {} has {classes}", set.name);
        return Err(Error::invalid("protocol open-set", why));
    }
    let mut rounds = Vec::new();
    for part in 0..HELD_OUT {
        let held_out = |clip: usize| set.clips[clip].class % HELD_OUT == part;
        let fit = pick(set, |clip| !held_out(clip));
        let names = set.classes.iter().enumerate().filter(|(class, _)| class % HELD_OUT == part);
        let names: Vec<String> = names.map(|(_, name)| format!("{name:?}")).collect();
        let among = format!("class in ({})", names.join(", "));
        for fold in fold_numbers(set, held_out)? {
            rounds.push(Round {
                name: format!("classes {part} modulo {HELD_OUT}, fold {fold}"),
                queries: pick(set, |clip| held_out(clip) && set.clips[clip].fold == fold),
                records: pick(set, |clip| held_out(clip) && set.clips[clip].fold != fold),
                fit: fit.clone(),
                records_filter: format!("{among} and fold != {fold}"),
                fit_filter: format!("not ({among})"),
            });
        }
    }
    Ok(rounds)
}

/// The folds of the clips that `keep` keeps; at least two.
fn fold_numbers(set: &DataSet, keep: impl Fn(usize) -> bool) -> Result<BTreeSet<u32>> {
    let numbers: BTreeSet<u32> = pick(set, keep).into_iter().map(|clip| set.clips[clip].fold).collect();
    match numbers.len() {
        0 | 1 => Err(Error::invalid(
            "protocol",
            format!("{}: all clips are in one fold: nothing is left to search", set.name),
        )),
        _ => Ok(numbers),
    }
}

fn pick(set: &DataSet, keep: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..set.clips.len()).filter(|&clip| keep(clip)).collect()
}
