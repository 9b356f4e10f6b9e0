//! The engine against a naive model: random sequences of upsert, delete, views, search and reopening.
#![allow(clippy::unwrap_used)]

use otolith::View;
use otolith::pipeline::{Statistic, Step};
use otolith::testing::store::vfs::MemoryVfs;
use otolith::{Collection, Database, Matrix, Metric, Precision, Record, Schema};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const DIM: usize = 3;

#[derive(Clone, Debug)]
enum Operation {
    Upsert(Vec<(u8, Vec<i8>, Option<i8>)>),
    Delete(Vec<u8>),
    Search { rows: Vec<i8>, k: usize, least: Option<i8>, filter: Option<i8>, view: bool },
    MakeView,
    DropView,
    Reopen,
}

fn rows() -> impl Strategy<Value = Vec<i8>> {
    (0..5usize).prop_flat_map(|rows| prop::collection::vec(-2..=2i8, rows * DIM))
}

fn operation() -> impl Strategy<Value = Operation> {
    let record = (0..NAMED + 3, rows(), prop::option::of(-1..3i8));
    prop_oneof![
        4 => prop::collection::vec(record, 0..6).prop_map(Operation::Upsert),
        2 => prop::collection::vec(0..NAMED, 0..4).prop_map(Operation::Delete),
        5 => (rows(), 0..14usize, prop::option::of(-4..4i8), prop::option::of(-1..3i8), any::<bool>())
            .prop_map(|(rows, k, least, filter, view)| Operation::Search { rows, k, least, filter, view }),
        1 => Just(Operation::MakeView),
        1 => Just(Operation::DropView),
        1 => Just(Operation::Reopen),
    ]
}

/// Records below this number have names; the others get a number from the store.
const NAMED: u8 = 18;

/// Some names are numbers, as the store gives them.
fn name(id: u8) -> Option<String> {
    match id {
        0..12 => Some(format!("r{id:02}")),
        12..NAMED => Some(format!("{:020}", u64::from(id - 11) * 3)),
        _ => None,
    }
}

fn matrix(values: &[i8]) -> Matrix {
    Matrix::from_rows(values.len() / DIM, DIM, values.iter().map(|&x| f32::from(x)).collect()).unwrap()
}

type Model = BTreeMap<String, (Matrix, Option<i8>)>;

/// What a view of `every:2` and mean pooling makes of rows, by hand.
fn pooled(matrix: &Matrix) -> Option<Matrix> {
    let kept: Vec<&[f32]> = matrix.view().iter().step_by(2).collect();
    let mean = |c: usize| (kept.iter().map(|row| f64::from(row[c])).sum::<f64>() / kept.len() as f64) as f32;
    (!kept.is_empty()).then(|| Matrix::from_rows(1, DIM, (0..DIM).map(mean).collect()).unwrap())
}

fn score(metric: Metric, query: &Matrix, record: &Matrix) -> Option<f64> {
    let similarity = |a: &[f32], b: &[f32]| -> f64 {
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        match metric {
            Metric::Dot => dot(a, b),
            Metric::Cosine => {
                let norms = dot(a, a).sqrt() * dot(b, b).sqrt();
                if norms == 0.0 { 0.0 } else { dot(a, b) / norms }
            }
            Metric::L2 => -a.iter().zip(b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>(),
            other => unreachable!("{other}"),
        }
    };
    let best = |row: &[f32]| record.view().iter().map(|other| similarity(row, other)).reduce(f64::max);
    query.view().iter().map(best).sum::<Option<f64>>()
}

struct World {
    vfs: Arc<MemoryVfs>,
    db: Option<Database>,
    model: Model,
    metric: Metric,
    has_view: bool,
    /// The greatest number that was given or named so far.
    greatest: u64,
}

impl World {
    fn open(&mut self) {
        self.db = None; // releases the lock
        self.db = Some(Database::options().vfs(self.vfs.clone()).open("/model.otolith").unwrap());
    }

    fn collection(&self) -> Collection {
        self.db.as_ref().unwrap().collection("c").unwrap()
    }

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Upsert(records) => {
                let record = |(id, values, field): &(u8, Vec<i8>, Option<i8>)| {
                    let mut record = Record::auto(matrix(values));
                    record.id = name(*id);
                    match field {
                        Some(value) => record.field("f", *value),
                        None => record,
                    }
                };
                let ids = self.collection().upsert(records.iter().map(record)).unwrap();
                let number = |id: &String| id.parse::<u64>().ok();
                let named = records.iter().filter_map(|record| number(&name(record.0)?)).max();
                self.greatest = self.greatest.max(named.unwrap_or(0));
                for (id, (given, values, field)) in ids.into_iter().zip(records) {
                    match name(given) {
                        Some(name) => assert_eq!(id, name),
                        None => {
                            let number = number(&id).unwrap();
                            assert!(number > self.greatest, "{number} was given or named before");
                            self.greatest = number;
                        }
                    }
                    self.model.insert(id, (matrix(&values), field));
                }
            }
            Operation::Delete(ids) => {
                let ids: Vec<String> = ids.into_iter().filter_map(name).collect();
                let deleted = self.collection().delete(ids.clone()).unwrap();
                let before = self.model.len();
                ids.iter().for_each(|id| drop(self.model.remove(id)));
                assert_eq!(deleted as usize, before - self.model.len());
            }
            Operation::MakeView if !self.has_view => {
                let view = View::new([Step::Every { n: 2 }, Step::Pool(vec![Statistic::Mean])]);
                self.collection().create_view("v", &view).unwrap();
                self.has_view = true;
            }
            Operation::MakeView => assert!(self.collection().create_view("v", &View::new([Step::Normalise])).is_err()),
            Operation::DropView => {
                assert_eq!(self.collection().drop_view("v").is_ok(), self.has_view);
                self.has_view = false;
            }
            Operation::Reopen => self.open(),
            Operation::Search { rows, k, least, filter, view } => {
                self.search(&matrix(&rows), k, least, filter, view && self.has_view);
            }
        }
        self.check();
    }

    fn search(&self, query: &Matrix, k: usize, least: Option<i8>, filter: Option<i8>, view: bool) {
        let collection = self.collection();
        let mut asked = collection.query(query).k(k);
        if let Some(least) = least {
            asked = asked.min_score(f64::from(least));
        }
        if let Some(value) = filter {
            asked = asked.filter(format!("f = {value}"));
        }
        if view {
            asked = asked.view("v");
        }
        let answer = asked.run();
        if query.rows() == 0 {
            return assert!(answer.is_err());
        }
        let derived = |matrix: &Matrix| if view { pooled(matrix) } else { Some(matrix.clone()) };
        let query = derived(query).unwrap();
        let mut expected: Vec<(f64, &str)> = self
            .model
            .iter()
            .filter(|(_, (_, field))| filter.is_none() || *field == filter)
            .filter_map(|(id, (matrix, _))| {
                let matrix = derived(matrix).filter(|matrix| matrix.rows() > 0)?;
                Some((score(self.metric, &query, &matrix)? + 0.0, id.as_str())) // -0 is 0
            })
            .filter(|(score, _)| least.is_none_or(|least| *score >= f64::from(least)))
            .collect();
        expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
        expected.truncate(k);
        let hits = answer.unwrap();
        assert!(hits.certificate.is_exact());
        let got: Vec<(f64, &str)> = hits.iter().map(|hit| (hit.score, hit.id.as_str())).collect();
        assert_eq!(
            got.iter().map(|hit| hit.1).collect::<Vec<_>>(),
            expected.iter().map(|hit| hit.1).collect::<Vec<_>>()
        );
        for (got, expected) in got.iter().zip(&expected) {
            assert!((got.0 - expected.0).abs() <= 1e-12 * (1.0 + expected.0.abs()), "{got:?} {expected:?}");
        }
    }

    fn check(&self) {
        let snapshot = self.collection().snapshot().unwrap();
        assert_eq!(snapshot.len(), self.model.len());
        let mut seen = BTreeMap::new();
        for entry in snapshot.iter() {
            let record = entry.to_record().unwrap();
            let field = record.fields.get("f").map(|value| value.as_i64().unwrap() as i8);
            assert!(seen.insert(record.id.unwrap(), (record.matrix, field)).is_none(), "an id twice");
        }
        assert_eq!(seen, self.model);
        for id in ["r00", "r05", "r11", "00000000000000000009", "absent"] {
            let found = snapshot.get(id).unwrap().map(|record| record.matrix);
            assert_eq!(found, self.model.get(id).map(|(matrix, _)| matrix.clone()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_engine_answers_as_the_naive_model_does(
        metric in prop_oneof![Just(Metric::Dot), Just(Metric::Cosine), Just(Metric::L2)],
        precision in prop_oneof![Just(Precision::F32), Just(Precision::F16), Just(Precision::BF16)],
        operations in prop::collection::vec(operation(), 1..40),
    ) {
        let vfs = Arc::new(MemoryVfs::default());
        let mut world = World { vfs, db: None, model: Model::new(), metric, has_view: false, greatest: 0 };
        world.open();
        let schema = Schema::new(DIM).metric(metric).precision(precision);
        world.db.as_ref().unwrap().create_collection("c", schema).unwrap();
        for operation in operations {
            world.run(operation);
        }
    }
}

#[test]
fn handles_are_cheap_to_clone_and_go_to_any_thread() {
    fn handle<T: Clone + Send + Sync + 'static>() {}
    fn sent<T: Send + Sync + 'static>() {}
    handle::<Database>();
    handle::<Collection>();
    handle::<otolith::testing::store::Snapshot>();
    sent::<otolith::Transaction>();
}
