//! What a power cut leaves is opened, verified and compared with the history.

use crate::calls::{Call, Moment, Session};
use crate::oracle::{self, DB, History, State, create, upsert};
use otolith::Error;
use otolith::testing::store::vfs::{Effort, MemoryVfs, Operation, PowerCut};
use otolith::testing::store::{Access, Depth, Store, Tuning, verify_path};
use rayon::prelude::*;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One image in so many is also opened for writing with a third cut, at every operation, where that is asked for.
const TWICE_NESTED: usize = 32_768;
/// One image in so many is also written to, and verified again.
const GO_ON: usize = 16;

/// How images are tried, and how many were.
pub(crate) struct Tried {
    pub(crate) tuning: Tuning,
    pub(crate) effort: Effort,
    /// How often the power may be cut: 2 is a second time while the database recovers from the first.
    pub(crate) depth: usize,
    pub(crate) cuts: AtomicUsize,
    /// Different images after one cut.
    pub(crate) images: AtomicUsize,
    /// Different images after more than one.
    pub(crate) nested: AtomicUsize,
}

/// Images seen before, with what they held.
pub(crate) type Seen = Mutex<HashMap<u64, State>>;

impl Tried {
    pub(crate) fn new(tuning: Tuning) -> Tried {
        let (effort, depth) = if crate::is_nightly() { (Effort::Great, 3) } else { (Effort::Usual, 2) };
        let zero = || AtomicUsize::new(0);
        Tried { tuning, effort, depth, cuts: zero(), images: zero(), nested: zero() }
    }

    /// Checks every image of a disk: it opens, for reading and for writing, verifies and holds one of the `allowed`
    /// states. Says what is wrong.
    pub(crate) fn check(&self, disk: &PowerCut, allowed: &[State], seen: &Seen) -> Result<(), String> {
        let seed = self.cuts.fetch_add(1, Ordering::Relaxed) as u64;
        for outcome in disk.aftermaths(self.effort, seed) {
            let image = disk.image(&outcome);
            let sum = image.sum();
            let before = seen.lock().unwrap().get(&sum).map(|found| is_allowed(found, allowed));
            let checked = match before {
                Some(checked) => checked,
                None => self.first_look(&image, allowed).map(|found| {
                    seen.lock().unwrap().insert(sum, found);
                }),
            };
            checked.map_err(|wrong| format!("{}: {wrong}", disk.describe(&outcome)))?;
        }
        Ok(())
    }

    fn first_look(&self, image: &MemoryVfs, allowed: &[State]) -> Result<State, String> {
        let number = self.images.fetch_add(1, Ordering::Relaxed);
        let untouched = image.copy().unwrap();
        let found = self.survive(image, allowed)?;
        // One image in so many is also opened for writing with a second cut, at every operation.
        if number.is_multiple_of(if crate::is_nightly() { 128 } else { 512 }) {
            self.cut_recovery(&untouched, &found, 2)?;
        }
        if number.is_multiple_of(GO_ON) {
            self.go_on(image, &found)?;
        }
        Ok(found)
    }

    /// Cuts the power again while the image is opened for writing. The cut number `depth` at once is the deepest.
    fn cut_recovery(&self, image: &MemoryVfs, state: &State, depth: usize) -> Result<(), String> {
        let mut disk = PowerCut::of(image);
        image.record();
        oracle::writer(image, self.tuning).map_err(|error| error.to_string())?;
        let mut seen = HashMap::new();
        for (at, operation) in image.operations().iter().enumerate() {
            disk.apply(operation);
            for outcome in disk.aftermaths(Effort::Usual, at as u64) {
                let image = disk.image(&outcome);
                if seen.insert(image.sum(), ()).is_some() {
                    continue;
                }
                let number = self.nested.fetch_add(1, Ordering::Relaxed);
                let untouched = image.copy().unwrap();
                let why = |wrong| format!("cut {depth} after operation {at}, {}: {wrong}", disk.describe(&outcome));
                self.survive(&image, std::slice::from_ref(state)).map_err(why)?;
                if depth < self.depth && number.is_multiple_of(TWICE_NESTED) {
                    self.cut_recovery(&untouched, state, depth + 1).map_err(why)?;
                }
            }
        }
        Ok(())
    }

    /// Opens what a cut left and gives the state that it holds, or says what is wrong with it.
    pub(crate) fn survive(&self, image: &MemoryVfs, allowed: &[State]) -> Result<State, String> {
        let may_be_absent = allowed.iter().any(State::is_empty);
        match verify_path(Path::new(DB), oracle::options(image, Access::Read, self.tuning), Depth::Deep) {
            Ok(report) if report.is_clean() => {}
            Ok(report) => return Err(format!("damage: {:?}", report.findings)),
            Err(Error::NotFound { .. }) if may_be_absent => {}
            Err(error) => return Err(format!("verifying: {error}")),
        }
        let read = |store: Store| oracle::read(&store.version());
        let before = match oracle::reader(image, Access::Read).and_then(read) {
            Ok(state) => Some(state),
            Err(Error::NotFound { .. }) if may_be_absent => None,
            Err(error) => return Err(format!("opening for reading: {error}")),
        };
        let found = oracle::writer(image, self.tuning).and_then(read);
        let found = found.map_err(|error| format!("opening for writing: {error}"))?;
        is_allowed(&found, allowed)?;
        match before {
            Some(before) if before != found => Err(format!("a reader saw {before:?}, then a writer found {found:?}")),
            _ => Ok(found),
        }
    }

    /// A database that survived must be as good as new.
    fn go_on(&self, image: &MemoryVfs, state: &State) -> Result<(), String> {
        let changes = vec![create("after"), upsert("after", &["x"], 3)];
        let next = oracle::apply_all(state, &changes).unwrap();
        let more = |store: Store| {
            oracle::derive(&store)?;
            store.commit(changes)?;
            store.flush()?;
            let (report, stat) = (store.verify(Depth::Deep)?, store.stat()?);
            let fine = report.findings.is_empty() && report.orphans.is_empty() && stat.trouble.is_none();
            Ok((fine, format!("{report:?} {stat:?}")))
        };
        let went_on = oracle::writer(image, self.tuning).and_then(more);
        match went_on.map_err(|error| format!("going on: {error}"))? {
            (true, _) => {}
            (false, what) => return Err(format!("going on: {what}")),
        }
        let again = oracle::writer(image, self.tuning).and_then(|store| oracle::read(&store.version()));
        is_allowed(&again.map_err(|error| format!("opening again: {error}"))?, &[next])
    }

    /// Runs calls and cuts the power after every operation of those behind the first `skip`.
    pub(crate) fn cut_everywhere(&self, calls: &[Call], skip: usize) -> Result<(), String> {
        let mut session = Session::new(self.tuning);
        calls.iter().for_each(|call| session.call(call));
        let (vfs, history, moments) = session.end();
        self.cut_all(&vfs.operations(), &history, &moments, skip).map_err(|wrong| format!("{calls:?}: {wrong}"))
    }

    /// Cuts the power after every operation of the calls behind the first `skip`.
    pub(crate) fn cut_all(
        &self,
        operations: &[Operation],
        history: &History,
        moments: &[Moment],
        skip: usize,
    ) -> Result<(), String> {
        let mut disk = PowerCut::default();
        let mut cuts = Vec::new();
        for (at, operation) in operations.iter().enumerate() {
            disk.apply(operation);
            let call = moments.iter().position(|moment| at < moment.operations).unwrap_or(moments.len() - 1);
            if call >= skip {
                cuts.push((at + 1, call, disk.clone()));
            }
        }
        let seen = Seen::default();
        cuts.into_par_iter().try_for_each(|(done, call, disk)| {
            let (from, to) = survivors(moments, done, call);
            self.check(&disk, history.states(from, to), &seen)
                .map_err(|wrong| format!("cut after operation {done} of {}, in call {call}: {wrong}", operations.len()))
        })
    }
}

/// The states that may survive when the power is cut after `done` operations, the last of them in call `call`.
pub(crate) fn survivors(moments: &[Moment], done: usize, call: usize) -> (usize, usize) {
    match moments.iter().rev().find(|moment| moment.operations == done) {
        // A call has returned, and perhaps others that did nothing.
        Some(moment) => moment.survivors,
        // Inside a call: what it does may be there already; what it makes durable need not be.
        None => (moments[call.saturating_sub(1)].survivors.0, moments[call].survivors.1),
    }
}

fn is_allowed(found: &State, allowed: &[State]) -> Result<(), String> {
    if allowed.contains(found) { Ok(()) } else { Err(format!("found {found:?} instead of one of {allowed:?}")) }
}
