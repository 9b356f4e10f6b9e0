//! What a database should hold, kept in maps; and what it does hold, read back.

use otolith::pipeline::{Array, Section};
use otolith::testing::store::vfs::Vfs;
use otolith::testing::store::{Access, Change, CollectionVersion, Mode, Options, Store, Tuning, Version};
use otolith::{Error, Matrix, Record, Result, Schema};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The directory of the database in every test.
pub(crate) const DB: &str = "db";

/// A whole database.
pub(crate) type State = BTreeMap<String, Collection>;

/// A collection.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Collection {
    pub(crate) dim: usize,
    pub(crate) records: BTreeMap<String, Content>,
    pub(crate) views: BTreeMap<String, (Value, Vec<Section>)>,
}

/// Fields and values of a record.
pub(crate) type Content = (String, usize, Vec<u32>);

fn content(fields: &Value, matrix: &Matrix) -> Content {
    (fields.to_string(), matrix.rows(), matrix.values().iter().map(|value| value.to_bits()).collect())
}

/// Applies one change; false (and nothing) when it must be refused.
pub(crate) fn apply(state: &mut State, change: &Change) -> bool {
    match change {
        Change::CreateCollection { name, schema } if !state.contains_key(name) => {
            state.insert(name.clone(), Collection { dim: schema.dim, ..Collection::default() });
            true
        }
        Change::DropCollection { name } => state.remove(name).is_some(),
        Change::Upsert { collection, records } => state.get_mut(collection).is_some_and(|collection| {
            for record in records {
                let fields = Value::Object((*record.fields).clone());
                let id = record.id.clone().expect("tests name their records");
                collection.records.insert(id, content(&fields, &record.matrix));
            }
            true
        }),
        Change::Delete { collection, ids } => state.get_mut(collection).is_some_and(|collection| {
            collection.records.retain(|id, _| !ids.contains(id));
            true
        }),
        Change::CreateView { collection, name, settings, sections } => {
            state.get_mut(collection).is_some_and(|collection| {
                let free = !collection.views.contains_key(name);
                if free {
                    collection.views.insert(name.clone(), (settings.clone(), sections.clone()));
                }
                free
            })
        }
        Change::DropView { collection, name } => {
            state.get_mut(collection).is_some_and(|collection| collection.views.remove(name).is_some())
        }
        Change::CreateCollection { .. } => false,
    }
}

/// Applies a batch as one.
pub(crate) fn apply_all(state: &State, changes: &[Change]) -> Option<State> {
    let mut next = state.clone();
    changes.iter().all(|change| apply(&mut next, change)).then_some(next)
}

/// What a database held after each commit, and what of that must survive.
#[derive(Clone, Debug)]
pub(crate) struct History {
    states: Vec<State>,
    /// The oldest state that a power cut may leave.
    durable: usize,
}

impl History {
    /// A database that holds `state`, durably.
    pub(crate) fn new(state: State) -> History {
        History { states: vec![state], durable: 0 }
    }

    /// What the database holds.
    pub(crate) fn newest(&self) -> &State {
        self.states.last().unwrap()
    }

    /// A commit made it hold `state`.
    pub(crate) fn commit(&mut self, state: State) {
        self.states.push(state);
    }

    /// All of it survives from now on.
    pub(crate) fn sync(&mut self) {
        self.durable = self.states.len() - 1;
    }

    /// What a power cut may leave.
    pub(crate) fn survivors(&self) -> &[State] {
        &self.states[self.durable..]
    }

    /// Where the survivors begin and end.
    pub(crate) fn range(&self) -> (usize, usize) {
        (self.durable, self.states.len())
    }

    /// The states of a range.
    pub(crate) fn states(&self, from: usize, to: usize) -> &[State] {
        &self.states[from..to]
    }
}

/// Sizes at which nothing happens by itself, and matrices of `direct_bytes` bypass the log.
pub(crate) fn tuning(direct_bytes: u64) -> Tuning {
    Tuning {
        direct_bytes,
        buffered_bytes: u64::MAX,
        buffered_for: Duration::from_secs(3_600),
        reserve_bytes: 0,
        background: false,
        ..Tuning::default()
    }
}

/// How a database on a file system is opened.
pub(crate) fn options(vfs: &(impl Vfs + Clone + 'static), access: Access, tuning: Tuning) -> Options {
    Options { vfs: Arc::new(vfs.clone()), access, tuning, ..Options::default() }
}

/// Opens the database for reading.
pub(crate) fn reader(vfs: &(impl Vfs + Clone + 'static), access: Access) -> Result<Store> {
    Store::open(Path::new(DB), Mode::Read, options(vfs, access, tuning(0)))
}

/// Opens or makes the database for writing.
pub(crate) fn writer(vfs: &(impl Vfs + Clone + 'static), tuning: Tuning) -> Result<Store> {
    Store::open(Path::new(DB), Mode::Write { create: true }, options(vfs, Access::Map, tuning))
}

/// Every live record with what reading it gave.
pub(crate) fn records(collection: &CollectionVersion) -> Vec<(Result<String>, Result<Content>)> {
    let mut all = Vec::new();
    for part in &collection.segments {
        let segment = &part.segment;
        let one = |n| {
            let read = || Ok(content(&Value::Object((*segment.fields(n)?).clone()), &segment.matrix(n)?.into_matrix()));
            (segment.id(n).map(str::to_owned), read())
        };
        match part.numbers() {
            Ok(numbers) => all.extend(numbers.map(one)),
            // One entry stands for all records of a file that cannot be used.
            Err(damage) => {
                let again = Error::corrupt(segment.path(), None, damage.to_string());
                all.push((Err(damage), Err(again)));
            }
        }
    }
    all
}

/// Reads a version in full.
pub(crate) fn read(version: &Version) -> Result<State> {
    let mut state = State::new();
    for (name, collection) in &version.collections {
        let mut read = Collection { dim: collection.schema.dim, ..Collection::default() };
        for (id, content) in records(collection) {
            assert!(read.records.insert(id?, content?).is_none(), "an id is live twice");
        }
        for view in collection.view_names() {
            let view = collection.view(view)?;
            read.views.insert(view.name.clone(), (view.settings.clone(), view.sections.clone()));
        }
        assert_eq!(read.records.len() as u64, collection.records);
        state.insert(name.clone(), read);
    }
    Ok(state)
}

/// Derives rows of every view over every segment, which writes files that need not survive.
pub(crate) fn derive(store: &Store) -> Result<()> {
    for collection in store.version().collections.values() {
        for (part, view) in
            collection.segments.iter().flat_map(|part| collection.views.values().map(move |v| (part, v)))
        {
            let segment = &part.segment;
            let rows = store.rows(segment, view, &|n| Ok(segment.matrix(n)?.into_matrix()))?;
            for n in 0..segment.records() {
                assert_eq!(rows.matrix(n)?.values(), segment.matrix(n)?.view().values());
            }
        }
    }
    Ok(())
}

pub(crate) fn create(name: &str) -> Change {
    Change::CreateCollection { name: name.into(), schema: Schema::new(3) }
}

/// Writes records whose content is made of their id and `version`.
pub(crate) fn upsert(collection: &str, ids: &[&str], version: usize) -> Change {
    let record = |(at, id): (usize, &&str)| {
        let rows = (version + at) % 4;
        let values = (0..rows * 3).map(|value| (version * 100 + at * 20 + value) as f32).collect();
        Record::new(*id, Matrix::from_rows(rows, 3, values).unwrap()).field("version", version).field("class", "dog")
    };
    Change::Upsert { collection: collection.into(), records: ids.iter().enumerate().map(record).collect() }
}

pub(crate) fn delete(collection: &str, ids: &[&str]) -> Change {
    Change::Delete { collection: collection.into(), ids: ids.iter().map(|id| (*id).to_owned()).collect() }
}

pub(crate) fn create_view(collection: &str, name: &str, version: usize) -> Change {
    let arrays = vec![Array::F32(vec![version as f32; 5]), Array::F64(vec![0.25; version % 3])];
    let sections = vec![Section { kind: 4, version: 1, settings: json!({"version": version}), arrays }];
    Change::CreateView { collection: collection.into(), name: name.into(), settings: json!({"metric": "l2"}), sections }
}

pub(crate) fn drop_view(collection: &str, name: &str) -> Change {
    Change::DropView { collection: collection.into(), name: name.into() }
}

pub(crate) fn drop_collection(name: &str) -> Change {
    Change::DropCollection { name: name.into() }
}
