//! What a segment remembers of its artefacts: which exist, which do not, and which thread may load or build them.

use crate::store::ViewFile;
use crate::store::layout::{Kind, Sixteen};
use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Artefacts that were asked for, by the root of the view (zeros without one) and kind.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<Key, Remembered>>);

type Key = (Sixteen, Kind);

#[derive(Debug, Default)]
struct Remembered {
    found: Found,
    turns: Arc<Turns>,
}

#[derive(Debug, Default)]
enum Found {
    #[default]
    Unknown,
    Absent,
    There(Arc<dyn Any + Send + Sync>),
}

/// Locks for loading and for building an artefact. They are two because building takes long: whoever only looks whether
/// there is an artefact must not wait for one to be built.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    load: Mutex<()>,
    build: Mutex<()>,
}

impl Turns {
    pub(crate) fn to_load(&self) -> Option<MutexGuard<'_, ()>> {
        turn(&self.load)
    }

    pub(crate) fn to_build(&self) -> Option<MutexGuard<'_, ()>> {
        turn(&self.build)
    }
}

/// Waits for the lock. A thread of a rayon pool that would have to wait gets none and continues without it.
fn turn(turn: &Mutex<()>) -> Option<MutexGuard<'_, ()>> {
    match turn.try_lock() {
        Ok(turn) => Some(turn),
        Err(TryLockError::WouldBlock) if rayon::current_thread_index().is_some() => None,
        Err(_) => Some(turn.lock().unwrap_or_else(PoisonError::into_inner)),
    }
}

impl Cache {
    /// Returns the place of an artefact.
    pub(crate) fn slot<A: Send + Sync + 'static>(&self, kind: Kind, view: Option<&ViewFile>) -> Slot<'_, A> {
        let root = view.map(|view| view.root).unwrap_or_default();
        Slot { cache: self, key: (root, kind), artefact: PhantomData }
    }

    /// Forgets the artefacts of views that no longer exist, and which artefacts are absent: others may have built them.
    pub(crate) fn retain(&self, views: &HashSet<Sixteen>) {
        let stays = |root: &Sixteen| *root == Sixteen::default() || views.contains(root);
        self.remembered().retain(|(root, _), it| {
            if matches!(it.found, Found::Absent) {
                it.found = Found::Unknown;
            }
            stays(root)
        });
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<Key, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one artefact among those that a segment remembers.
#[derive(Debug)]
pub(crate) struct Slot<'a, A> {
    cache: &'a Cache,
    key: Key,
    artefact: PhantomData<A>,
}

impl<A: Send + Sync + 'static> Slot<'_, A> {
    /// Returns the artefact, or `Some(None)` if it is known to be absent, or `None` if nothing is known.
    pub(crate) fn known(&self) -> Option<Option<Arc<A>>> {
        let there = match &self.cache.remembered().get(&self.key)?.found {
            Found::Unknown => return None,
            Found::Absent => return Some(None),
            Found::There(there) => Arc::clone(there),
        };
        there.downcast().ok().map(Some)
    }

    pub(crate) fn turns(&self) -> Arc<Turns> {
        self.cache.remembered().entry(self.key).or_default().turns.clone()
    }

    /// Remembers an artefact; if another thread has brought one before, that one stays and is returned.
    pub(crate) fn remember(&self, made: Arc<A>) -> Arc<A> {
        let mut remembered = self.cache.remembered();
        let found = &mut remembered.entry(self.key).or_default().found;
        if let Found::There(there) = found
            && let Ok(there) = Arc::clone(there).downcast()
        {
            return there;
        }
        *found = Found::There(made.clone());
        made
    }

    /// Remembers an artefact, replacing any other.
    pub(crate) fn replace(&self, made: Arc<A>) -> Arc<A> {
        self.cache.remembered().entry(self.key).or_default().found = Found::There(made.clone());
        made
    }

    /// Remembers that there is none; if one was built meanwhile, returns that one.
    pub(crate) fn remember_absence(&self) -> Option<Arc<A>> {
        let mut remembered = self.cache.remembered();
        let found = &mut remembered.entry(self.key).or_default().found;
        if let Found::There(there) = found {
            return Arc::clone(there).downcast().ok();
        }
        *found = Found::Absent;
        None
    }
}
