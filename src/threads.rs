//! The threads that share the work: those of rayon's global pool, made before anything needs them. The operating
//! system may refuse threads (limits on processes), and a forked child has none of its parent's: there, each thread
//! that asks for work does it alone.

use rayon::ThreadPoolBuilder;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::{env, process, thread};

/// The process that first asked for threads, and what it got.
#[derive(Debug)]
struct Begun {
    process: u32,
    /// Whether the operating system gave it threads.
    has_threads: bool,
}

impl Begun {
    /// Returns whether the process with this id has threads to share its work with.
    fn shares_out(&self, process: u32) -> bool {
        self.has_threads && self.process == process
    }
}

static BEGUN: OnceLock<Begun> = OnceLock::new();

/// Makes sure that there are threads for the work of the calling thread, or that it does its work itself. Every
/// public call that shares out work begins with this.
pub(crate) fn ready() {
    use_threads(None);
}

/// Makes the threads among which this library shares its work: `wanted` of them, or with `None` as many as there are
/// cores (or as `RAYON_NUM_THREADS` says). They are rayon's global pool, which can be made only once: the first call in
/// a process decides, and opening a database makes that call. So call this before, or not at all.
///
/// Returns false when the operating system gives no threads; each calling thread then does all its work itself.
///
/// # Examples
///
/// ```
/// // Leave the other cores to the rest of the program.
/// if !otolith::use_threads(Some(2)) {
///     eprintln!("no threads to be had: searches run on the thread that asks");
/// }
/// ```
pub fn use_threads(wanted: Option<usize>) -> bool {
    // A caller that runs in a pool of its own has chosen its threads.
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

/// Makes the calling thread a pool of its own for the rest of its life: it does all its work itself and waits for no
/// other thread.
fn alone() {
    // The thread is in no pool yet, as `use_threads` has checked, so this cannot fail for that reason.
    let _ = ThreadPoolBuilder::new().num_threads(1).use_current_thread().build();
}

/// Returns how many threads rayon would start.
fn usual() -> usize {
    let asked = env::var("RAYON_NUM_THREADS").ok().and_then(|count| count.parse().ok()).filter(|count| *count > 0);
    asked.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
}

/// Makes rayon's global pool of `count` threads; returns false, and makes nothing, when the system refuses them.
/// Rayon's pool can be made only once, even if that fails, so the threads are started before it.
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
    // Where the program has made the pool already, that one stays, and the threads started here end.
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
        // Two threads, each alone: neither belongs to the other's pool.
        let threads = [thread::spawn(work), thread::spawn(work)];
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    }
}
