//! Calls of the API, made on a recording file system beside the model.

use crate::oracle::{self, History, State};
use otolith::Error;
use otolith::testing::store::vfs::{Effort, MemoryVfs, PowerCut};
use otolith::testing::store::{Change, Durability, Store, Tuning};

/// A call of the API.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Commit(Vec<Change>, Durability),
    Sync,
    Flush,
    Compact,
    /// The same, and nothing is left of what was deleted.
    Purge,
    /// Rows of all views are derived, which writes files that need not survive.
    Derive,
    /// The store is closed and opened again.
    Close,
    /// The store is dropped and opened again.
    Drop,
    /// The process is killed, and another opens the database.
    Die,
}

pub(crate) fn sync(changes: impl Into<Vec<Change>>) -> Call {
    Call::Commit(changes.into(), Durability::Sync)
}

pub(crate) fn buffered(changes: impl Into<Vec<Change>>) -> Call {
    Call::Commit(changes.into(), Durability::Buffered)
}

/// A database in use on a recording file system, with what it must hold.
pub(crate) struct Session {
    pub(crate) vfs: MemoryVfs,
    pub(crate) history: History,
    tuning: Tuning,
    pub(crate) store: Option<Store>,
    /// The disk when recording began.
    disk: PowerCut,
    moments: Vec<Moment>,
}

/// The end of a call: how many operations there were by then, and which states of the history may survive a cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) operations: usize,
    pub(crate) survivors: (usize, usize),
}

impl Session {
    /// Makes a database; that is the first call.
    pub(crate) fn new(tuning: Tuning) -> Session {
        let vfs = MemoryVfs::recording();
        let store = Some(oracle::writer(&vfs, tuning).unwrap());
        let history = History::new(State::new());
        let mut session = Session { vfs, history, tuning, store, disk: PowerCut::default(), moments: Vec::new() };
        session.note();
        session
    }

    fn note(&mut self) {
        let moment = Moment { operations: self.vfs.operation_count(), survivors: self.history.range() };
        self.moments.push(moment);
    }

    /// Makes a call; it must do what the model does.
    pub(crate) fn call(&mut self, call: &Call) {
        let store = self.store.take().unwrap();
        let again = match call {
            Call::Commit(changes, durability) => {
                let done = store.commit_with(changes.clone(), *durability);
                match oracle::apply_all(self.history.newest(), changes) {
                    Some(next) => {
                        done.unwrap();
                        self.history.commit(next);
                        if *durability == Durability::Sync {
                            self.history.sync();
                        }
                    }
                    None => assert!(matches!(done, Err(Error::NotFound { .. } | Error::Exists { .. })), "{done:?}"),
                }
                Some(store)
            }
            Call::Sync => {
                store.sync().unwrap();
                self.history.sync();
                Some(store)
            }
            Call::Flush => {
                store.flush().unwrap();
                self.history.sync();
                Some(store)
            }
            Call::Compact => {
                assert!(store.compact(&|| true).unwrap().finished);
                Some(store)
            }
            Call::Purge => {
                assert!(store.purge(&|| true).unwrap().finished);
                self.history.sync();
                Some(store)
            }
            Call::Derive => {
                oracle::derive(&store).unwrap();
                Some(store)
            }
            Call::Close => {
                store.close().unwrap();
                None
            }
            Call::Drop => {
                drop(store);
                None
            }
            Call::Die => {
                self.vfs = self.vfs.kill();
                drop(store);
                None
            }
        };
        let store = again.unwrap_or_else(|| {
            // Whatever opens a database makes durable what it found.
            self.history.sync();
            oracle::writer(&self.vfs, self.tuning).unwrap()
        });
        assert_eq!(oracle::read(&store.version()).unwrap(), *self.history.newest(), "after {call:?}");
        self.store = Some(store);
        self.note();
    }

    /// Cuts the power; the number picks what that leaves.
    pub(crate) fn cut(&mut self, number: usize) {
        let operations = self.vfs.operations();
        self.vfs.kill();
        self.store = None;
        operations.iter().for_each(|operation| self.disk.apply(operation));
        let outcomes = self.disk.aftermaths(Effort::Usual, number as u64);
        let outcome = &outcomes[number % outcomes.len()];
        self.vfs = self.disk.image(outcome);
        self.disk = PowerCut::of(&self.vfs);
        self.vfs.record();
        let store = oracle::writer(&self.vfs, self.tuning).unwrap();
        let found = oracle::read(&store.version()).unwrap();
        assert!(self.history.survivors().contains(&found), "{found:?} instead of {:?}", self.history.survivors());
        self.history = History::new(found);
        self.store = Some(store);
        self.moments.clear();
        self.note();
    }

    /// The process ends without another word. What was done by then, call by call.
    pub(crate) fn end(mut self) -> (MemoryVfs, History, Vec<Moment>) {
        self.vfs = self.vfs.kill();
        drop(self.store);
        (self.vfs, self.history, self.moments)
    }
}
