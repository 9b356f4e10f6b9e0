//! Somebody moves, replaces, empties and links directories under a writer at work.
//!
//! A handle is bound to the directory that it has opened. So what it acknowledges is found there, wherever that is by
//! then, or it says that it stops; and whatever else lies in its way keeps every byte.

use crate::oracle::{self, History, State, create, create_view, delete, upsert};
use otolith::Error;
use otolith::testing::store::vfs::MemoryVfs;
use otolith::testing::store::{Access, Change, Durability, Mode, Store, Tuning};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls and moves of a history at most.
const LONGEST: usize = 24;
/// Runners side by side, each with a seed of its own.
const RUNNERS: usize = 8;

/// What the writer is asked for.
#[derive(Clone, Debug)]
enum Call {
    Commit(Change, Durability),
    Sync,
    Flush,
    Compact,
    Derive,
}

/// What somebody else does that is no business of the writer: it goes on.
#[derive(Clone, Copy, Debug)]
enum Move {
    /// The directory gets another path.
    Away,
    /// The same, and another database takes its place.
    Swap,
    /// The link on the way to it leads to another database.
    Retarget,
    /// Derived files go, with their directory.
    RemoveDerived,
    /// A log goes: what it held is in memory.
    RemoveLog,
    /// Segments that grow beside it go: what was put there can still be read.
    RemoveGrowing,
    /// The reserve goes.
    RemoveReserve,
}

/// What the writer must notice: it stops.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Blow {
    /// The directory is removed with all that is in it.
    Remove,
    /// It is emptied and filled with another database, as when a backup is restored.
    Restore,
    /// The same, but for `LOCK`.
    RestoreButLock,
    RemoveLock,
    /// `LOCK` is the file of another database.
    ReplaceLock,
    /// Somebody writes into `LOCK`, as a copy over the files does.
    SignLock,
    /// The newest manifest is another file of the same content.
    ReplaceManifest,
    /// The log is another file of the same content.
    ReplaceLog,
    /// `seg/` is a copy of itself.
    CopySegments,
    /// `seg/` leads to another database.
    LinkSegments,
}

const BLOWS: [Blow; 10] = [
    Blow::Remove,
    Blow::Restore,
    Blow::RestoreButLock,
    Blow::RemoveLock,
    Blow::ReplaceLock,
    Blow::SignLock,
    Blow::ReplaceManifest,
    Blow::ReplaceLog,
    Blow::CopySegments,
    Blow::LinkSegments,
];

#[derive(Clone, Debug)]
enum Step {
    Call(Call),
    Move(Move),
}

/// Files below a directory, by their paths in it.
type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// Another process, which does what it likes to directories.
struct Stranger {
    vfs: MemoryVfs,
    made: usize,
}

impl Stranger {
    fn tree(&self, dir: &Path) -> Tree {
        let inside = self.vfs.files().into_iter().filter(|path| path.starts_with(dir));
        inside.map(|path| (path.strip_prefix(dir).unwrap().to_path_buf(), self.vfs.read(&path).unwrap())).collect()
    }

    /// The same without derived files, which anybody may replace.
    fn lasting(&self, dir: &Path) -> Tree {
        self.tree(dir).into_iter().filter(|(name, _)| !name.starts_with("derived")).collect()
    }

    fn write_tree(&self, dir: &Path, tree: &Tree) {
        self.vfs.make_dirs(dir).unwrap();
        tree.iter().for_each(|(name, bytes)| self.vfs.write(&dir.join(name), bytes).unwrap());
    }

    /// Makes a database of its own there.
    fn database(&mut self, dir: &Path) {
        self.made += 1;
        self.vfs.make_dirs(dir).unwrap();
        let store = open(&self.vfs, dir, Mode::Write { create: true }, oracle::tuning(24)).unwrap();
        store.commit(vec![create("c"), upsert("c", &["theirs", "too"], self.made), create_view("c", "v", 1)]).unwrap();
        store.commit(vec![upsert("c", &["theirs"], self.made + 1)]).unwrap();
        // It dies with a log and a segment that grows.
        let left = self.tree(dir);
        drop(store);
        self.vfs.remove(dir).unwrap();
        self.write_tree(dir, &left);
    }

    /// A path that nothing has.
    fn elsewhere(&mut self) -> PathBuf {
        self.made += 1;
        self.vfs.make_dirs(Path::new("elsewhere")).unwrap();
        Path::new("elsewhere").join(self.made.to_string())
    }

    fn names(&self, dir: &Path, part: &str) -> Vec<PathBuf> {
        let inside = self.tree(dir).into_keys().filter(|name| name.to_str().unwrap().contains(part));
        inside.map(|name| dir.join(name)).collect()
    }

    /// Puts a new file of the same content in the place of one.
    fn renew(&self, path: &Path) {
        self.vfs.write(path, &self.vfs.read(path).unwrap()).unwrap();
    }
}

fn open(vfs: &MemoryVfs, dir: &Path, mode: Mode, tuning: Tuning) -> otolith::Result<Store> {
    Store::open(dir, mode, oracle::options(vfs, Access::Map, tuning))
}

/// A writer and a reader at work, and what must hold.
struct World {
    stranger: Stranger,
    writer: Store,
    reader: Store,
    history: History,
    /// Where the directory is that they have opened.
    home: PathBuf,
    /// What lies elsewhere.
    others: BTreeMap<PathBuf, Tree>,
}

impl World {
    fn new(tuning: Tuning, by_link: bool) -> World {
        let vfs = MemoryVfs::default();
        let mut stranger = Stranger { vfs: vfs.clone(), made: 0 };
        vfs.make_dirs(Path::new("one")).unwrap();
        vfs.link_to(Path::new("one"), Path::new("current")).unwrap();
        let other = PathBuf::from("two/db");
        stranger.database(&other);
        let path = Path::new(if by_link { "current/../current/./db" } else { "one/db" });
        let writer = open(&vfs, path, Mode::Write { create: true }, tuning).unwrap();
        let first = vec![create("c"), create_view("c", "v", 1)];
        writer.commit(first.clone()).unwrap();
        let history = History::new(oracle::apply_all(&State::new(), &first).unwrap());
        let reader = open(&vfs, path, Mode::Read, tuning).unwrap();
        let others = BTreeMap::from([(other.clone(), stranger.tree(&other))]);
        World { stranger, writer, reader, history, home: "one/db".into(), others }
    }

    fn call(&mut self, call: &Call) -> otolith::Result<()> {
        match call {
            Call::Commit(change, durability) => {
                self.writer.commit_with(vec![change.clone()], *durability)?;
                let next = oracle::apply_all(self.history.newest(), std::slice::from_ref(change)).unwrap();
                self.history.commit(next);
                if *durability == Durability::Sync {
                    self.history.sync();
                }
            }
            Call::Sync => {
                self.writer.sync()?;
                self.history.sync();
            }
            Call::Flush => {
                self.writer.flush()?;
                self.history.sync();
            }
            Call::Compact => drop(self.writer.compact(&|| true)?),
            Call::Derive => oracle::derive(&self.writer)?,
        }
        Ok(())
    }

    /// Another database comes to lie at a path.
    fn another(&mut self, path: &Path) {
        self.stranger.database(path);
        self.others.insert(path.to_path_buf(), self.stranger.tree(path));
    }

    fn make(&mut self, what: Move) {
        let vfs = self.stranger.vfs.clone();
        let all = |paths: Vec<PathBuf>| paths.iter().for_each(|path| vfs.remove(path).unwrap());
        match what {
            Move::Away | Move::Swap => {
                let to = self.stranger.elsewhere();
                vfs.rename(&self.home, &to).unwrap();
                let before = std::mem::replace(&mut self.home, to);
                if matches!(what, Move::Swap) {
                    self.another(&before);
                }
            }
            Move::Retarget => {
                let to = self.stranger.elsewhere();
                self.another(&to.join("db"));
                vfs.link_to(&to, Path::new("current")).unwrap();
            }
            Move::RemoveDerived => drop(vfs.remove(&self.home.join("derived"))),
            Move::RemoveLog => all(self.stranger.names(&self.home, "wal-")),
            Move::RemoveReserve => all(self.stranger.names(&self.home, "RESERVE")),
            Move::RemoveGrowing => {
                let mut growing = self.stranger.names(&self.home, ".oseg");
                growing.retain(|path| !is_sealed(&vfs.read(path).unwrap()));
                all(growing);
            }
        }
    }

    /// Deals a blow and says whether the directory is another's now, so that nothing in it may change.
    fn suffer(&mut self, blow: Blow) -> bool {
        let (vfs, home) = (self.stranger.vfs.clone(), self.home.clone());
        let newest = |part: &str| self.stranger.names(&home, part).pop();
        let other = self.others[Path::new("two/db")].clone();
        match blow {
            Blow::Remove => vfs.remove(&home).unwrap(),
            Blow::Restore | Blow::RestoreButLock => {
                for name in self.stranger.tree(&home).into_keys() {
                    if blow == Blow::Restore || name != Path::new("LOCK") {
                        vfs.remove(&home.join(name)).unwrap();
                    }
                }
                let restored = other.into_iter().filter(|(name, _)| blow == Blow::Restore || name != Path::new("LOCK"));
                self.stranger.write_tree(&home, &restored.collect());
            }
            Blow::RemoveLock => vfs.remove(&home.join("LOCK")).unwrap(),
            Blow::ReplaceLock => vfs.write(&home.join("LOCK"), &other[Path::new("LOCK")]).unwrap(),
            Blow::SignLock => vfs.overwrite(&home.join("LOCK"), &other[Path::new("LOCK")]).unwrap(),
            Blow::ReplaceManifest => self.stranger.renew(&newest("manifest-").unwrap()),
            Blow::ReplaceLog => match newest("wal-") {
                Some(log) => self.stranger.renew(&log),
                // Nothing to replace: the same by another way.
                None => vfs.remove(&home.join("LOCK")).unwrap(),
            },
            Blow::CopySegments | Blow::LinkSegments => {
                let (to, seg) = (self.stranger.elsewhere(), home.join("seg"));
                vfs.rename(&seg, &to).unwrap();
                match blow {
                    Blow::LinkSegments => vfs.link_to(Path::new("two/db/seg"), &seg).unwrap(),
                    _ => self.stranger.write_tree(&seg, &self.stranger.tree(&to)),
                }
            }
        }
        matches!(blow, Blow::Restore | Blow::RestoreButLock)
    }

    fn check_others(&self, after: &dyn std::fmt::Debug) {
        for (path, tree) in &self.others {
            let now = self.stranger.tree(path);
            assert!(now.keys().eq(tree.keys()), "{}: files came or went by {after:?}", path.display());
            assert!(now == *tree, "{} was written to by {after:?}", path.display());
        }
    }

    /// What a process finds that opens the directory now.
    fn found(&self) -> otolith::Result<State> {
        oracle::read(&open(&self.stranger.vfs, &self.home, Mode::Read, oracle::tuning(24))?.version())
    }
}

/// Whether a segment has its end.
fn is_sealed(bytes: &[u8]) -> bool {
    bytes.ends_with(b"1HTILOTO")
}

/// The writer goes on whatever is moved; all of it is found where the directory is.
fn go_on(tuning: Tuning, by_link: bool, steps: &[Step]) -> World {
    let mut world = World::new(tuning, by_link);
    for step in steps {
        match step {
            Step::Move(what) => world.make(*what),
            Step::Call(call) => {
                world.call(call).unwrap_or_else(|error| panic!("{call:?} after moves: {error}"));
                assert_eq!(oracle::read(&world.writer.version()).unwrap(), *world.history.newest());
            }
        }
        world.check_others(step);
    }
    world
}

fn run_moves(tuning: Tuning, by_link: bool, steps: &[Step]) {
    let mut world = go_on(tuning, by_link, steps);
    world.call(&Call::Flush).unwrap();
    assert_eq!(oracle::read(&world.reader.refresh().unwrap()).unwrap(), *world.history.newest(), "a reader");
    assert_eq!(world.found().unwrap(), *world.history.newest());
    let World { stranger, writer, reader, history, home, others } = world;
    writer.close().unwrap();
    let again = open(&stranger.vfs, &home, Mode::Write { create: false }, tuning).unwrap();
    assert_eq!(oracle::read(&again.version()).unwrap(), *history.newest());
    others.iter().for_each(|(path, tree)| assert!(stranger.tree(path) == *tree, "closing wrote to {}", path.display()));
    drop(reader);
}

/// After a blow the writer may go on until it must make sure; from its first refusal on it refuses everything.
fn run_blow(tuning: Tuning, by_link: bool, steps: &[Step], blow: Blow, more: &[Call]) {
    let mut world = go_on(tuning, by_link, steps);
    // What was in files that are gone is in memory alone until something is written.
    if steps.iter().any(|step| matches!(step, Step::Move(Move::RemoveLog | Move::RemoveGrowing))) {
        world.call(&Call::Flush).unwrap();
    }
    let taken = world.suffer(blow);
    let home = world.stranger.lasting(&world.home);
    let mut stopped: Option<Error> = None;
    for call in more.iter().chain([&Call::Commit(upsert("c", &["last"], 1), Durability::Sync), &Call::Flush]) {
        match (world.call(call), &stopped) {
            (Ok(()), Some(error)) => assert!(matches!(call, Call::Derive), "{call:?} went on after {error}"),
            (Ok(()), None) => {}
            (Err(error), _) => {
                let told = matches!(error, Error::Poisoned { .. } | Error::OutcomeUnknown { .. });
                assert!(told, "{call:?} after {blow:?}: {error}");
                stopped.get_or_insert(error);
            }
        }
        world.check_others(&(blow, call));
        if taken {
            assert!(world.stranger.lasting(&world.home) == home, "{blow:?}, {call:?}: the restored files were touched");
        }
    }
    let Some(error) = stopped else {
        // A log that is only kept for a reader may be replaced by anybody.
        assert_eq!(blow, Blow::ReplaceLog, "not noticed");
        return assert_eq!(world.found().unwrap(), *world.history.newest());
    };
    assert!(error.to_string().contains("while it was open"), "{error}");
    // Refreshing does not fail in some way of its own.
    if let Err(error) = world.reader.refresh() {
        let told = matches!(error, Error::Unusable { .. } | Error::NotFound { .. } | Error::Corrupt { .. });
        assert!(told, "{blow:?}: {error}");
    }
    // Where nothing was lost but what makes sure, everything acknowledged is still there.
    if matches!(
        blow,
        Blow::RemoveLock | Blow::ReplaceLock | Blow::SignLock | Blow::ReplaceManifest | Blow::CopySegments
    ) {
        let found = world.found().unwrap();
        assert!(world.history.survivors().contains(&found), "{blow:?}: {found:?}");
    }
    let closed = world.writer.close();
    assert!(matches!(closed, Err(Error::Poisoned { .. })), "{blow:?}: {closed:?}");
    drop(world.reader);
    if taken {
        assert!(world.stranger.lasting(&world.home) == home, "{blow:?}: closing touched the restored files");
    }
    for (path, tree) in &world.others {
        assert!(world.stranger.tree(path) == *tree, "{blow:?}: closing wrote to {}", path.display());
    }
}

fn call() -> impl Strategy<Value = Call> {
    let ids = || prop::collection::vec((0..9_u8).prop_map(|id| id.to_string()), 1..3);
    let durability = || prop_oneof![2 => Just(Durability::Sync), 1 => Just(Durability::Buffered)];
    let refs = |ids: &[String]| ids.iter().map(String::clone).collect::<Vec<_>>();
    let change = prop_oneof![
        4 => (ids(), 0..50_usize).prop_map(move |(ids, version)| {
            upsert("c", &refs(&ids).iter().map(String::as_str).collect::<Vec<_>>(), version)
        }),
        1 => ids().prop_map(move |ids| delete("c", &refs(&ids).iter().map(String::as_str).collect::<Vec<_>>())),
    ];
    prop_oneof![
        8 => (change, durability()).prop_map(|(change, durability)| Call::Commit(change, durability)),
        1 => Just(Call::Sync),
        2 => Just(Call::Flush),
        1 => Just(Call::Compact),
        1 => Just(Call::Derive),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let moves = [
        Move::Away,
        Move::Swap,
        Move::Retarget,
        Move::RemoveDerived,
        Move::RemoveLog,
        Move::RemoveGrowing,
        Move::RemoveReserve,
    ];
    prop_oneof![
        3 => call().prop_map(Step::Call),
        1 => prop::sample::select(moves.to_vec()).prop_map(Step::Move),
    ]
}

fn tuning() -> impl Strategy<Value = Tuning> {
    let direct = prop_oneof![Just(24), Just(u64::MAX)];
    let log = prop_oneof![Just(600), Just(u64::MAX)];
    (direct, log).prop_map(|(direct, log_bytes)| Tuning { log_bytes, reserve_bytes: 256, ..oracle::tuning(direct) })
}

#[test]
fn whatever_is_moved_replaced_or_restored_each_commit_is_where_the_handle_was_opened_or_the_writer_stops() {
    let histories = crate::count(4_000, 40_000);
    let blows = AtomicUsize::new(0);
    let since = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = if crate::is_nightly() { since } else { 1 };
    println!("figure moves_seed = {seed} seed");
    (0..RUNNERS).into_par_iter().for_each(|number| {
        let mut bytes = [number as u8; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config =
            Config { cases: histories.div_ceil(RUNNERS) as u32, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let blow = prop::option::of((prop::sample::select(BLOWS.to_vec()), prop::collection::vec(call(), 0..4)));
        let history = (tuning(), any::<bool>(), prop::collection::vec(step(), 1..=LONGEST), blow);
        let ran = runner.run(&history, |(tuning, by_link, steps, blow)| {
            match blow {
                None => run_moves(tuning, by_link, &steps),
                Some((blow, more)) => {
                    blows.fetch_add(1, Ordering::Relaxed);
                    run_blow(tuning, by_link, &steps, blow, &more);
                }
            }
            Ok(())
        });
        ran.unwrap_or_else(|failed| panic!("seed {seed}, runner {number}: {failed}"));
    });
    println!("figure moves = {histories} histories");
    println!("figure moves_noticed = {} histories", blows.load(Ordering::Relaxed));
}
