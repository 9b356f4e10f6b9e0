//! Threads that share out work: those of rayon's global pool, made before anything needs them. The system may refuse threads (limits on
//! processes), and a forked child has none of its parent's: there each thread that brings work does it alone.

use rayon::ThreadPoolBuilder;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::{env, process, thread};

/// What the process began with.
#[derive(Debug)]
struct Begun {
    process: u32,
    /// Whether it got threads.
    has_threads: bool,
}

impl Begun {
    /// Whether that process, asking now, has threads that take its work.
    fn shares_out(&self, process: u32) -> bool {
        self.has_threads && self.process == process
    }
}

static BEGUN: OnceLock<Begun> = OnceLock::new();

/// Makes sure that the work of the thread that calls is done by somebody, by itself if need be. Called wherever work comes in.
pub(crate) fn ready() {
    use_threads(None);
}

/// Makes the threads that this library shares work out to: so many, or with `None` as many as there are cores. They are rayon's global
/// pool; the first call of a process decides, and opening a database is one. False when the system gives no threads: whoever
/// calls then does all the work.
pub fn use_threads(wanted: Option<usize>) -> bool {
    // Whoever called it from a pool of its own has chosen.
    if rayon::current_thread_index().is_some() {
        return true;
    }
    let begun = BEGUN.get_or_init(|| {
        let most = wanted.unwrap_or_else(usual);
        let mut counts = std::iter::successors(Some(most), |count| Some(count / 2)).take_while(|count| *count > 0);
        Begun { process: process::id(), has_threads: counts.any(make) }
    });
    let shares_out = begun.shares_out(process::id());
    if !shares_out {
        alone();
    }
    shares_out
}

/// Makes the calling thread a pool of its own, for the rest of its life: it waits for no other, and no other for it.
fn alone() {
    // It has none: that was looked at.
    let _ = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
}

/// How many threads rayon would take.
fn usual() -> usize {
    let asked = env::var("RAYON_NUM_THREADS").ok().and_then(|count| count.parse().ok()).filter(|count| *count > 0);
    asked.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Makes the pool with so many threads; false, and nothing is there, when they cannot be had. The pool can be made but once, even when
/// that fails, so the threads are there before it.
fn make(count: usize) -> bool {
    let (give, take) = mpsc::channel::<rayon::ThreadBuilder>();
    let take = Arc::new(Mutex::new(take));
    let mut waiting = Vec::new();
    for _ in 0..count {
        let take = Arc::clone(&take);
        let work = move || {
            let given = take.lock().unwrap_or_else(PoisonError::into_inner).recv();
            if let Ok(member) = given {
                member.run();
            }
        };
        match thread::Builder::new().name("otolith work".into()).spawn(work) {
            Ok(thread) => waiting.push(thread),
            Err(_) => {
                drop(give);
                waiting.into_iter().for_each(|thread| drop(thread.join()));
                return false;
            }
        }
    }
    let hand = |member| give.send(member).map_err(|_| io::Error::other("its threads have ended"));
    // Where the program has made the pool already, it stays, and the threads here end.
    let _ = ThreadPoolBuilder::new().num_threads(count).spawn_handler(hand).build_global();
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    #[test]
    fn a_child_has_none_of_its_parents_threads() {
        let begun = Begun { process: 7, has_threads: true };
        assert!(begun.shares_out(7) && !begun.shares_out(8));
        assert!(!Begun { process: 7, has_threads: false }.shares_out(7));
    }

    #[test]
    fn a_thread_that_is_alone_does_everything_itself() {
        let work = || {
            alone();
            let own = thread::current().id();
            assert_eq!(rayon::current_num_threads(), 1);
            (0..1_000).into_par_iter().all(|_| thread::current().id() == own)
        };
        // Each of them: none is the other's pool.
        let threads = [thread::spawn(work), thread::spawn(work)];
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    }
}
