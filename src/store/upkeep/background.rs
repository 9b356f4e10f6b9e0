//! Background threads, begun when there is something for them to do and ended with the handle: one syncs commits that
//! were only buffered, one compacts. Their errors are in [`Stat::trouble`](crate::store::Stat), are returned by the
//! next flush, and end nothing else.

use super::compact;
use crate::store::options::Durability;
use crate::store::shared::Shared;
use crate::threads;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// The background threads of a store.
#[derive(Debug, Default)]
pub(crate) struct Background {
    syncing: Mutex<Option<Worker>>,
    compacting: Mutex<Option<Worker>>,
    /// The generation that was last checked for something to compact.
    looked_at: AtomicU64,
    end: Arc<End>,
}

/// A thread and the process that began it: a forked child has the handle but not the thread.
#[derive(Debug)]
struct Worker {
    thread: JoinHandle<()>,
    process: u32,
}

impl Worker {
    fn begin(name: &str, work: impl FnOnce() + Send + 'static) -> Option<Worker> {
        let thread = std::thread::Builder::new().name(name.into()).spawn(work).ok()?;
        Some(Worker { thread, process: process::id() })
    }

    /// Returns whether the thread has ended, or never existed in this process.
    fn is_gone(&self, process: u32) -> bool {
        self.process != process || self.thread.is_finished()
    }

    /// Waits for the thread to end, if it exists in this process.
    fn end(self, process: u32) {
        if self.process != process {
            // The thread does not exist here; even dropping the handle would access it.
            std::mem::forget(self.thread);
        } else if self.thread.thread().id() != std::thread::current().id() {
            let _ = self.thread.join();
        } // Else the last handle was dropped by the thread itself, which ends then anyway.
    }
}

/// Tells the threads to end.
#[derive(Debug, Default)]
struct End {
    is_near: Mutex<bool>,
    news: Condvar,
}

impl End {
    fn is_near(&self) -> bool {
        *self.is_near.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Background {
    /// Begins the work that is due after a commit.
    pub(crate) fn look_after(&self, shared: &Arc<Shared>, durability: Durability) {
        if !shared.tuning.background {
            return;
        }
        if durability == Durability::Buffered {
            begin(&self.syncing, "otolith sync", || {
                let (shared, end) = (shared.clone(), self.end.clone());
                move || sync_again_and_again(&shared, &end)
            });
        }
        let version = shared.version();
        if self.looked_at.swap(version.generation, Ordering::Relaxed) != version.generation
            && compact::is_due(&version, &shared.tuning)
        {
            begin(&self.compacting, "otolith compact", || {
                let (shared, end) = (shared.clone(), self.end.clone());
                move || {
                    threads::ready();
                    if let Err(error) = shared.compact(&|| !end.is_near(), compact::Reason::Due) {
                        shared.note(error);
                    }
                }
            });
        }
    }

    /// Ends the threads and waits for them.
    pub(crate) fn stop(&self) {
        *self.end.is_near.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.news.notify_all();
        for thread in [&self.syncing, &self.compacting] {
            let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(thread) = thread {
                thread.end(process::id());
            }
        }
    }
}

/// Starts a thread unless it is running.
fn begin<F: FnOnce() + Send + 'static>(place: &Mutex<Option<Worker>>, name: &str, work: impl FnOnce() -> F) {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    if place.as_ref().is_none_or(|worker| worker.is_gone(process::id())) {
        // If no thread can be started, commits do without: they look at the clock themselves.
        let begun = Worker::begin(name, work());
        if let Some(gone) = std::mem::replace(&mut *place, begun) {
            gone.end(process::id());
        }
    }
}

fn sync_again_and_again(shared: &Shared, end: &End) {
    let mut near = end.is_near.lock().unwrap_or_else(PoisonError::into_inner);
    while !*near {
        let waited = end.news.wait_timeout(near, shared.tuning.buffered_for);
        near = waited.unwrap_or_else(PoisonError::into_inner).0;
        if *near {
            return;
        }
        drop(near);
        if let Err(error) = shared.sync_if_due() {
            // After a failed sync nothing more is written, and every commit says so.
            return shared.note(error);
        }
        near = end.is_near.lock().unwrap_or_else(PoisonError::into_inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn only_the_process_that_began_a_thread_waits_for_it() {
        let begun = || Worker::begin("otolith test", || std::thread::sleep(Duration::from_secs(2))).unwrap();
        let (own, start) = (process::id(), Instant::now());
        let inherited = begun();
        assert!(!inherited.is_gone(own) && inherited.is_gone(own + 1));
        inherited.end(own + 1);
        assert!(start.elapsed() < Duration::from_secs(1));
        begun().end(own);
        assert!(start.elapsed() >= Duration::from_secs(2));
    }
}
