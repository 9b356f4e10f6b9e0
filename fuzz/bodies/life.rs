//! The life of a database on a machine that fails, against a model of what was promised.

use otolith::View;
use otolith::pipeline::Step;
use otolith::testing::store::vfs::{Effort, Fault, FaultyVfs, MemoryVfs, PowerCut, Vfs};
use otolith::testing::store::{Access, Depth, Durability, Tuning};
use otolith::{Collection, Database, Error, Matrix, Metric, Record, Result, Schema, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const ROOT: &str = "/model";
/// Most rows of a record.
const ROWS: u8 = 8;

type Records = BTreeMap<String, Vec<f32>>;

/// What a database holds: records of one number a row, and whether it has the view.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    records: Records,
    view: bool,
}

struct Life {
    /// The files as the running machine sees them; every change is recorded.
    vfs: MemoryVfs,
    /// The files when the machine was started.
    disk: MemoryVfs,
    tuning: Tuning,
    access: Access,
    writer: Option<(Database, Collection)>,
    /// What the writer's file system does wrong.
    faults: Option<FaultyVfs>,
    /// Draws what a power cut leaves when the next operation fails; without it the process is started again.
    cut_next: Option<u16>,
    /// A reader of its own, as another process would be.
    reader: Option<Database>,
    snapshot: Option<(Snapshot, Records)>,
    /// From the last durable one to the one that is seen: a power cut leaves any of these.
    states: Vec<State>,
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    fn id(&mut self) -> String {
        format!("r{}", self.next() % 16)
    }

    fn values(&mut self) -> Vec<f32> {
        (0..self.next() % (ROWS + 1)).map(|_| f32::from(self.next() as i8)).collect()
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.next()) % of.len()]
    }
}

/// A life, an operation a byte, its arguments behind it. With the highest bit commits are only buffered.
pub fn operations(bytes: &[u8]) {
    let mut input = Input(&bytes[..bytes.len().min(400)]);
    let mut life = Life::begin(&mut input);
    while !input.0.is_empty() {
        let operation = input.next();
        let durability = if operation & 0x80 == 0 { Durability::Sync } else { Durability::Buffered };
        match operation & 0x7f {
            0 | 1 => {
                let (id, values) = (input.id(), input.values());
                life.commit(durability, vec![(id, Some(values))]);
            }
            2 => life.commit(durability, vec![(input.id(), None)]),
            3 => life.change_view(),
            4 => life.restart(None),
            5 => life.search(f32::from(input.next() as i8)),
            6 => life.promise_all(Database::sync),
            7 => life.promise_all(Database::flush),
            8 => {
                let steps = input.next();
                life.keep_all(|database| compact(database, steps));
            }
            9 => {
                let count = input.next() % 6;
                let records = (0..count).map(|_| (input.id(), input.values())).collect();
                life.load(records);
            }
            10 => life.look_back(),
            11 => life.kill(),
            12 => {
                let draw = u16::from_le_bytes([input.next(), input.next()]);
                life.cut_power(draw, None);
            }
            13 => {
                let (fault, at, more) = (input.pick(&Fault::ALL), input.next(), input.next());
                life.cut_next = (more & 2 != 0).then_some(u16::from(more) * 257);
                // What is interrupted for ever is tried for ever.
                let for_good = more & 1 != 0 && fault != Fault::Interrupted;
                life.restart(Some((fault, u64::from(at), for_good)));
            }
            14 => {
                let changes = (0..input.next() % 6).map(|_| {
                    let id = input.id();
                    (id, (input.next() & 3 != 0).then(|| input.values()))
                });
                let changes = changes.collect();
                life.commit(durability, changes);
            }
            _ => life.read_beside(),
        }
    }
    life.end();
}

/// Stops when it was asked so many times whether to go on.
fn compact(database: &Database, steps: u8) -> Result<()> {
    let asked = std::sync::atomic::AtomicU8::new(0);
    let go_on = || steps == 0 || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < steps;
    database.compact_while(&go_on).map(drop)
}

fn record((id, values): (&String, &Vec<f32>)) -> Record {
    Record::new(id, Matrix::from_rows(values.len(), 1, values.clone()).expect("a matrix"))
}

fn records(snapshot: &Snapshot) -> Result<Records> {
    let found = snapshot.iter().map(|entry| {
        let record = entry.to_record()?;
        Ok((record.id.unwrap_or_default(), record.matrix.values().to_vec()))
    });
    let found: Vec<(String, Vec<f32>)> = found.collect::<Result<_>>()?;
    let count = found.len();
    let found: Records = found.into_iter().collect();
    assert_eq!((found.len(), snapshot.len()), (count, count), "an id twice, or a wrong count");
    Ok(found)
}

fn state(collection: &Collection) -> Result<State> {
    let view = !collection.views()?.is_empty();
    Ok(State { records: records(&collection.snapshot()?)?, view })
}

impl Life {
    /// Sizes from the input, so that every way a record can take is taken often.
    fn begin(input: &mut Input<'_>) -> Life {
        let mut sizes = input.next();
        let mut size = |of: [u64; 2]| {
            sizes = sizes.rotate_right(1);
            of[usize::from(sizes >> 7)]
        };
        let tuning = Tuning {
            direct_bytes: size([16, 1 << 20]),
            log_bytes: size([1 << 20, 600]),
            segment_bytes: size([1 << 20, 100]),
            buffered_bytes: size([1 << 20, 300]),
            buffered_for: Duration::from_secs(3_600),
            reserve_bytes: size([0, 512]),
            background: false,
            ..Tuning::default()
        };
        let access = if size([0, 1]) == 0 { Access::Map } else { Access::Read };
        let vfs = MemoryVfs::default();
        let mut life = Life {
            disk: vfs.copy().expect("memory"),
            vfs,
            tuning,
            access,
            writer: None,
            faults: None,
            cut_next: None,
            reader: None,
            snapshot: None,
            states: vec![State::default()],
        };
        let database = life.opening(&life.vfs).open(ROOT).expect("opening");
        database.create_collection("c", Schema::new(1).metric(Metric::Dot)).expect("a collection");
        drop(database);
        life.start(life.vfs.clone());
        life.restart(None);
        life
    }

    fn opening(&self, vfs: &(impl Vfs + Clone + 'static)) -> otolith::DatabaseOptions {
        Database::options().vfs(Arc::new(vfs.clone())).tuning(self.tuning).access(self.access)
    }

    /// Starts a machine that has this disk.
    fn start(&mut self, disk: MemoryVfs) {
        self.disk = disk.copy().expect("memory");
        disk.record();
        self.vfs = disk;
    }

    fn seen(&self) -> State {
        self.states.last().cloned().unwrap_or_default()
    }

    fn writer(&self) -> &(Database, Collection) {
        self.writer.as_ref().expect("open between operations")
    }

    /// Closes the database, lets a fault come if one is wanted, and opens it again.
    fn restart(&mut self, fault: Option<(Fault, u64, bool)>) {
        self.writer = None;
        self.faults = None;
        let Some((fault, at, for_good)) = fault else { return self.recover(Vec::new()) };
        let faulty = FaultyVfs::new(self.vfs.clone(), at, fault, for_good);
        let opened = self.opening(&faulty).open(ROOT).and_then(|database| {
            let collection = database.collection("c")?;
            Ok((database, collection))
        });
        self.faults = Some(faulty);
        match opened {
            Ok(writer) => self.writer = Some(writer),
            Err(error) => self.failed(&error, None),
        }
    }

    /// Opens without faults. What is found was promised, or may have happened (`perhaps`); from now on it is durable.
    fn recover(&mut self, perhaps: Vec<State>) {
        let database = self.opening(&self.vfs).must_exist().open(ROOT).expect("opening");
        let collection = database.collection("c").expect("the collection");
        let found = state(&collection).expect("what is there");
        let allowed: Vec<State> = [self.seen()].into_iter().chain(perhaps).collect();
        assert!(allowed.contains(&found), "found {found:?}, not one of {allowed:#?}");
        self.states = vec![found];
        self.writer = Some((database, collection));
    }

    /// An operation failed that may have led to `next`.
    fn failed(&mut self, error: &Error, next: Option<State>) {
        let fired = self.faults.as_ref().and_then(FaultyVfs::fired);
        assert!(fired.is_some(), "nothing was wrong, but {error}");
        let next = next.filter(|_| matches!(error, Error::OutcomeUnknown { .. }));
        if let Some(draw) = self.cut_next {
            self.cut_power(draw, next);
        } else if self.writer.is_none() || !matches!(error, Error::DiskFull { .. }) {
            self.writer = None;
            self.faults = None;
            self.recover(next.into_iter().collect());
        }
    }

    /// Tries to go to another state.
    fn change(&mut self, next: State, durability: Durability, run: impl FnOnce(&Database, &Collection) -> Result<()>) {
        let (database, collection) = self.writer();
        match run(database, collection) {
            Ok(()) => {
                self.states.push(next);
                if durability == Durability::Sync {
                    self.promised();
                }
            }
            Err(error) => self.failed(&error, Some(next)),
        }
    }

    /// What is seen is durable.
    fn promised(&mut self) {
        self.states = vec![self.seen()];
    }

    /// Something that changes no contents.
    fn keep_all(&mut self, run: impl FnOnce(&Database) -> Result<()>) -> bool {
        let done = run(&self.writer().0);
        match &done {
            Ok(()) => {}
            Err(error) => self.failed(error, None),
        }
        done.is_ok()
    }

    fn promise_all(&mut self, run: impl FnOnce(&Database) -> Result<()>) {
        if self.keep_all(run) {
            self.promised();
        }
    }

    fn commit(&mut self, durability: Durability, changes: Vec<(String, Option<Vec<f32>>)>) {
        let mut next = self.seen();
        for (id, values) in &changes {
            match values {
                Some(values) => drop(next.records.insert(id.clone(), values.clone())),
                None => drop(next.records.remove(id)),
            }
        }
        self.change(next, durability, |database, _| {
            let mut transaction = database.transaction();
            for (id, values) in &changes {
                match values {
                    Some(values) => transaction.upsert("c", [record((id, values))]),
                    None => transaction.delete("c", [id]),
                };
            }
            transaction.commit_with(durability)
        });
    }

    fn change_view(&mut self) {
        let next = State { view: !self.seen().view, ..self.seen() };
        let view = next.view;
        self.change(next, Durability::Sync, |_, collection| match view {
            true => collection.create_view("v", &View::new([Step::Every { n: 2 }])),
            false => collection.drop_view("v"),
        });
    }

    fn load(&mut self, loaded: Vec<(String, Vec<f32>)>) {
        let mut next = self.seen();
        next.records.extend(loaded.iter().cloned());
        let durability = if loaded.is_empty() { Durability::Buffered } else { Durability::Sync };
        self.change(next, durability, |_, collection| {
            let mut load = collection.bulk_load()?;
            loaded.iter().try_for_each(|(id, values)| load.push(record((id, values))))?;
            load.finish().map(drop)
        });
    }

    /// A snapshot shows for ever what it showed first.
    fn look_back(&mut self) {
        if let Some((snapshot, before)) = self.snapshot.take() {
            let now = records(&snapshot).expect("what is pinned");
            assert_eq!(now, before, "a snapshot changed");
            return;
        }
        let taken = self.writer().1.snapshot().and_then(|snapshot| Ok((records(&snapshot)?, snapshot)));
        match taken {
            Ok((found, snapshot)) => {
                assert_eq!(found, self.seen().records, "a snapshot");
                // One that meets the fault later would prove nothing.
                self.snapshot = Some((snapshot, found)).filter(|_| self.faults.is_none());
            }
            Err(error) => self.failed(&error, None),
        }
    }

    fn read_beside(&mut self) {
        let reader = self.reader.take().map_or_else(|| self.opening(&self.vfs).read_only().open(ROOT), Ok);
        let reader = reader.expect("a reader");
        reader.refresh().expect("what is new");
        let found = reader.collection("c").and_then(|collection| state(&collection)).expect("what is there");
        assert_eq!(found, self.seen(), "a reader beside the writer");
        self.reader = Some(reader);
    }

    fn forget_handles(&mut self) {
        (self.writer, self.faults, self.cut_next, self.reader, self.snapshot) = (None, None, None, None, None);
    }

    /// The process dies; the machine goes on.
    fn kill(&mut self) {
        let next = self.vfs.kill();
        self.forget_handles();
        self.vfs = next;
        self.recover(Vec::new());
    }

    fn cut_power(&mut self, draw: u16, perhaps: Option<State>) {
        let mut cut = PowerCut::of(&self.disk);
        self.vfs.operations().iter().for_each(|operation| cut.apply(operation));
        let outcomes = cut.aftermaths(Effort::Usual, u64::from(draw));
        let outcome = &outcomes[usize::from(draw) % outcomes.len()];
        let image = cut.image(outcome);
        self.forget_handles();
        self.start(image);
        let perhaps = self.states.iter().cloned().chain(perhaps).collect();
        self.recover(perhaps);
    }

    /// One row under dot product: a record's score is its best product.
    fn search(&mut self, query: f32) {
        let seen = self.seen();
        let row = Matrix::from_vector(vec![query]).expect("a query");
        let asked = self.writer().1.query(&row).k(5);
        let hits = match if seen.view { asked.view("v") } else { asked }.run() {
            Ok(hits) => hits,
            Err(error) => return self.failed(&error, None),
        };
        let step = if seen.view { 2 } else { 1 };
        let best = |values: &Vec<f32>| values.iter().step_by(step).map(|x| f64::from(x * query)).reduce(f64::max);
        let scored = seen.records.iter().filter_map(|(id, values)| Some((best(values)? + 0.0, id.as_str())));
        let mut expected: Vec<(f64, &str)> = scored.collect();
        expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        expected.truncate(5);
        assert_eq!(hits.iter().map(|hit| (hit.score, hit.id.as_str())).collect::<Vec<_>>(), expected);
    }

    /// Nothing was damaged by all that but what can be made again, and nothing was lost.
    fn end(mut self) {
        self.restart(None);
        let report = self.writer().0.verify(Depth::Deep).expect("a report");
        assert!(report.is_clean(), "{report:?}");
        self.look_back();
        self.read_beside();
    }
}
