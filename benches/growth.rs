//! What costs more than its input grows: `cargo bench -p otolith --bench growth`.
//!
//! Everything that a user makes many of is done for four sizes, each two to ten times the last. A row tells the seconds
//! of each size (the median of three runs where one takes less than a second) and the *slope* between the last two: the
//! exponent e in `seconds ~ size^e`. 1 is linear, 0 is free, 2 is the square, and what lies well above 1 is a fault.
//! Some minutes in all; `OTOLITH_BENCH_SCALE=0.1` makes all sizes a tenth, and a word on the command line picks the
//! rows whose names have it.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // a bench tells its figures

use otolith::IndexKind;
use otolith::testing::store::Durability;
use otolith::{Collection, Database, Matrix, Record, Schema};
use std::path::Path;
use std::time::Instant;

const DIM: usize = 32;

/// Numbers without end, the same every time.
struct Noise(u64);

impl Noise {
    fn vector(&mut self) -> Matrix {
        let values = (0..DIM).map(|_| {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
        });
        Matrix::from_vector(values.collect()).unwrap()
    }
}

fn id(n: usize) -> String {
    format!("{n:08}")
}

fn open(path: &Path) -> Database {
    Database::open(path).unwrap()
}

fn collection(db: &Database) -> Collection {
    db.create_collection("records", Schema::new(DIM)).unwrap()
}

fn load(to: &Collection, count: usize, mut vector: impl FnMut() -> Matrix) {
    let mut load = to.bulk_load().unwrap();
    for n in 0..count {
        load.push(Record::new(id(n), vector()).field("n", n as i64).field("class", ["dog", "rain"][n % 2])).unwrap();
    }
    load.finish().unwrap();
}

/// Seconds of what is done with what was made ready, once, or in the middle of three times where that is quick.
fn timed<T>(mut ready: impl FnMut() -> T, mut what: impl FnMut(&mut T)) -> f64 {
    let mut seconds = Vec::new();
    while seconds.len() < 3 && seconds.iter().sum::<f64>() < 1.0 {
        let mut it = ready();
        let begin = Instant::now();
        what(&mut it);
        seconds.push(begin.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// One cost: how it is named, the sizes, and the seconds for a size in an empty folder.
type Cost = (&'static str, [usize; 4], fn(&Path, usize) -> f64);

const COSTS: &[Cost] = &[
    ("bulk load of so many records", [1_000, 10_000, 100_000, 1_000_000], |folder, count| {
        timed(
            || fresh(folder),
            |db| {
                load(&collection(db), count, {
                    let mut noise = Noise(1);
                    move || noise.vector()
                })
            },
        )
    }),
    ("so many single buffered commits, flushed", [1_000, 5_000, 20_000, 80_000], |folder, count| {
        timed(
            || fresh(folder),
            |db| {
                commits(&collection(db), db, count);
                db.flush().unwrap();
            },
        )
    }),
    ("deleting every second of so many, compacted", [1_000, 10_000, 100_000, 400_000], |folder, count| {
        let ready = || {
            let db = fresh(folder);
            load(&collection(&db), count, {
                let mut noise = Noise(1);
                move || noise.vector()
            });
            db
        };
        timed(ready, |db| {
            db.collection("records").unwrap().delete((0..count).step_by(2).map(id)).unwrap();
            db.compact().unwrap();
        })
    }),
    ("opening read-only beside a log of so many commits", [1_000, 5_000, 20_000, 80_000], |folder, count| {
        let db = fresh(folder);
        commits(&collection(&db), &db, count);
        db.sync().unwrap();
        let path = db.path().to_owned();
        timed(
            || (),
            |()| {
                assert_eq!(
                    Database::open_read_only(&path).unwrap().collection("records").unwrap().len().unwrap(),
                    count
                )
            },
        )
    }),
    ("so many collections made, a record in each, flushed", [250, 1_000, 4_000, 16_000], |folder, count| {
        timed(
            || fresh(folder),
            |db| {
                tenants(db, count);
                db.flush().unwrap();
            },
        )
    }),
    ("opening so many collections of a record each", [250, 1_000, 4_000, 16_000], |folder, count| {
        let db = fresh(folder);
        tenants(&db, count);
        let path = db.path().to_owned();
        db.close().unwrap();
        timed(|| (), |()| assert_eq!(open(&path).collections().len(), count))
    }),
    ("one more collection beside so many", [250, 1_000, 4_000, 16_000], |folder, count| {
        let db = fresh(folder);
        tenants(&db, count);
        db.flush().unwrap();
        let mut more = 0;
        timed(
            || (),
            |()| {
                (0..20)
                    .for_each(|n| drop(db.create_collection(&format!("more {more} {n}"), Schema::new(DIM)).unwrap()));
                more += 1;
            },
        )
    }),
    ("exact search of so many records", [1_000, 10_000, 100_000, 400_000], |folder, count| {
        let db = fresh(folder);
        load(&collection(&db), count, {
            let mut noise = Noise(1);
            move || noise.vector()
        });
        searches(&db)
    }),
    ("exact search of so many records in the log", [1_000, 5_000, 20_000, 80_000], |folder, count| {
        let db = fresh(folder);
        commits(&collection(&db), &db, count);
        searches(&db)
    }),
    ("exact search of so many identical records", [1_000, 10_000, 100_000, 400_000], |folder, count| {
        let db = fresh(folder);
        load(&collection(&db), count, || Noise(1).vector());
        searches(&db)
    }),
    ("a graph of so many records", [2_000, 4_000, 8_000, 32_000], |folder, count| {
        graph(folder, count, {
            let mut noise = Noise(1);
            move || noise.vector()
        })
    }),
    ("a graph of so many identical records", [2_000, 4_000, 8_000, 32_000], |folder, count| {
        graph(folder, count, || Noise(1).vector())
    }),
    ("a graph of so many records of a hundred kinds", [2_000, 4_000, 8_000, 32_000], |folder, count| {
        graph(folder, count, {
            let mut n = 0;
            move || {
                n += 1;
                Noise(n % 100).vector()
            }
        })
    }),
    ("a filter `in` with so many values, of 10,000 records", [100, 1_000, 10_000, 100_000], |folder, count| {
        let db = fresh(folder);
        load(&collection(&db), 10_000, {
            let mut noise = Noise(1);
            move || noise.vector()
        });
        let collection = db.collection("records").unwrap();
        let mut beyond = 10_000;
        timed(
            || (),
            |()| {
                // Other values each time: an answer is remembered.
                let values: Vec<String> = (beyond..beyond + count).map(|n| n.to_string()).collect();
                beyond += count;
                let filter = format!("n in ({})", values.join(", "));
                assert!(collection.query(&Noise(5).vector()).filter(filter).run().unwrap().is_empty());
            },
        )
    }),
    ("a filter first asked of so many records", [1_000, 10_000, 100_000, 400_000], |folder, count| {
        let db = fresh(folder);
        load(&collection(&db), count, {
            let mut noise = Noise(1);
            move || noise.vector()
        });
        let collection = db.collection("records").unwrap();
        timed(|| (), |()| drop(collection.query(&Noise(5).vector()).filter("class = 'dog' and n > 17").run().unwrap()))
    }),
];

fn fresh(folder: &Path) -> Database {
    let _ = std::fs::remove_dir_all(folder.join("db"));
    open(&folder.join("db"))
}

fn commits(to: &Collection, db: &Database, count: usize) {
    let mut noise = Noise(1);
    for n in 0..count {
        let mut transaction = db.transaction();
        transaction.upsert(to.name(), [Record::new(id(n), noise.vector())]);
        transaction.commit_with(Durability::Buffered).unwrap();
    }
}

fn tenants(db: &Database, count: usize) {
    let mut noise = Noise(1);
    for n in 0..count {
        let name = format!("tenant {n:06}");
        db.create_collection(&name, Schema::new(DIM)).unwrap().upsert([Record::new("only", noise.vector())]).unwrap();
    }
}

/// Ten queries, after three that make what searching makes once.
fn searches(db: &Database) -> f64 {
    let collection = db.collection("records").unwrap();
    let queries: Vec<Matrix> = (0..13).map(|n| Noise(1_000 + n).vector()).collect();
    let ask = |query: &Matrix| drop(collection.query(query).run().unwrap());
    queries[..3].iter().for_each(ask);
    timed(|| (), |()| queries[3..].iter().for_each(ask))
}

fn graph(folder: &Path, count: usize, vector: impl FnMut() -> Matrix) -> f64 {
    let db = fresh(folder);
    load(&collection(&db), count, vector);
    let collection = db.collection("records").unwrap();
    timed(|| (), |()| drop(collection.build_index("raw", IndexKind::Hnsw).unwrap()))
}

fn main() {
    let scale: f64 = std::env::var("OTOLITH_BENCH_SCALE").map_or(1.0, |scale| scale.parse().unwrap());
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for (name, sizes, seconds) in COSTS {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let mut last: Option<(usize, f64)> = None;
        let (mut told, mut slope) = (Vec::new(), 0.0);
        for size in sizes.map(|size| ((size as f64 * scale) as usize).max(10)) {
            let folder = tempfile::Builder::new().prefix("otolith-bench-").tempdir().unwrap();
            let now = seconds(folder.path(), size);
            if let Some((before, then)) = last {
                slope = (now / then).ln() / (size as f64 / before as f64).ln();
            }
            told.push(format!("{size}: {:.2} ms", now * 1e3));
            last = Some((size, now));
        }
        println!("figure slope {slope:5.2}  {name}: {}", told.join(", "));
    }
}
