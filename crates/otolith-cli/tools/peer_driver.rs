//! otolith as one engine among others: answers the requests by which a comparison of engines drives each of them.
//!
//! Requests come on stdin, a JSON object a line; each answer is a JSON object on a line of stdout, and behind it as
//! many raw bytes as its `bytes` says. `build` puts an array (`.npy`: n x d vectors, or n x rows x d matrices, `f32` or
//! `f16`) into a new database, `open` opens what is there, `params` lists search settings from the fastest to the most
//! accurate, `run` searches one query after another on one thread and times nothing but [`otolith::Query::run`]. The
//! argument says by which way is searched: `hnsw` (the default), `ivf`, or `exact`.
//!
//! ```text
//! cargo build --release --example peer_driver
//! echo '{"op":"hello"}' | target/release/examples/peer_driver exact
//! ```

use npyz::{DType, NpyFile, NpyHeader, Order, half::f16};
use otolith::IndexKind;
use otolith::{Collection, Database, Matrix, Metric, Record, Schema};
use rayon::ThreadPoolBuilder;
use serde_json::{Value, json};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

/// Whatever goes wrong is told to whoever asked, in words.
type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const COLLECTION: &str = "records";

/// What is searched, and the queries asked last.
struct Driver {
    /// None is the exact scan.
    index: Option<IndexKind>,
    name: &'static str,
    collection: Option<Collection>,
    queries: Option<Queries>,
}

fn main() -> Result<()> {
    let mut driver = Driver::new(std::env::args().nth(1).as_deref().unwrap_or("hnsw"))?;
    // All searching happens on the one thread of this pool.
    ThreadPoolBuilder::new().num_threads(1).build()?.install(|| driver.serve())
}

impl Driver {
    fn new(way: &str) -> Result<Driver> {
        let (index, name) = match way {
            "hnsw" => (Some(IndexKind::Hnsw), "otolith"),
            "ivf" => (Some(IndexKind::Ivf), "otolith-ivf"),
            "candidates" => (Some(IndexKind::Candidates), "otolith-candidates"),
            "exact" => (None, "otolith-exact"),
            _ => return Err(format!("{way}: neither hnsw, ivf nor exact").into()),
        };
        Ok(Driver { index, name, collection: None, queries: None })
    }

    fn serve(&mut self) -> Result<()> {
        let mut out = io::stdout().lock();
        for line in io::stdin().lock().lines() {
            let request: Value = serde_json::from_str(&line?).unwrap_or_default();
            let answer = self.answer(&request);
            let (mut head, bytes) =
                answer.unwrap_or_else(|error| (json!({ "ok": false, "error": error.to_string() }), Vec::new()));
            head["bytes"] = bytes.len().into();
            writeln!(out, "{head}")?;
            out.write_all(&bytes)?;
            out.flush()?;
            if request["op"] == "quit" {
                break;
            }
        }
        Ok(())
    }

    fn answer(&mut self, request: &Value) -> Result<(Value, Vec<u8>)> {
        let text = |name: &str| request[name].as_str().ok_or_else(|| format!("`{name}` is missing"));
        let head = match text("op")? {
            "hello" => self.hello(),
            "build" => self.build(request, Path::new(text("base")?), Path::new(text("dir")?))?,
            "open" => self.open(Path::new(text("dir")?))?,
            "params" => json!({ "ok": true, "params": self.settings() }),
            "run" => return self.run(request, Path::new(text("queries")?)),
            "quit" => json!({ "ok": true }),
            other => return Err(format!("{other}: unknown").into()),
        };
        Ok((head, Vec::new()))
    }

    fn hello(&self) -> Value {
        let does: &[&str] = match self.index {
            None => &["vectors", "filter", "multi"],
            Some(IndexKind::Hnsw | IndexKind::Ivf) => &["vectors", "filter"],
            Some(_) => &["filter", "multi"],
        };
        let version = env!("CARGO_PKG_VERSION");
        json!({ "ok": true, "name": self.name, "version": version, "does": does, "exact": self.index.is_none() })
    }

    /// Widths of search or numbers of lists, each about 1.4 times the one before.
    fn settings(&self) -> Vec<u32> {
        let (first, last) = match self.index {
            None => (0, 0),
            Some(IndexKind::Hnsw) => (10, 640),
            Some(IndexKind::Ivf) => (1, 512),
            Some(_) => (10, 4096),
        };
        let ladder = (0..).map(|step| (f64::from(first) * 2f64.powf(f64::from(step) / 2.0)).round() as u32);
        let mut settings: Vec<u32> = ladder.take(32).take_while(|setting| *setting <= last).collect();
        settings.dedup();
        settings
    }

    fn build(&mut self, request: &Value, base: &Path, folder: &Path) -> Result<Value> {
        let begin = Instant::now();
        let mut array = Array::open(base)?;
        let tags = match request["tags"].as_str() {
            Some(path) => Some(NpyFile::new(BufReader::new(File::open(path)?))?.into_vec::<i32>()?),
            None => None,
        };
        let metric = match request["metric"].as_str() {
            None | Some("ip") => Metric::Dot,
            Some(name) => name.parse::<Metric>()?,
        };
        let database = Database::open(folder)?;
        let collection = database.create_collection(COLLECTION, Schema::new(array.dim).metric(metric))?;
        let threads = request["threads"].as_u64().unwrap_or(1).try_into()?;
        ThreadPoolBuilder::new().num_threads(threads).build()?.install(|| -> Result<()> {
            let mut load = collection.bulk_load()?;
            for number in 0..array.count {
                let record = Record::new(format!("{number:010}"), array.next()?);
                load.push(match &tags {
                    Some(tags) => record.field("tag", *tags.get(number).ok_or("fewer tags than records")?),
                    None => record,
                })?;
            }
            load.finish()?;
            database.flush()?;
            if let Some(kind) = self.index {
                collection.build_index("raw", kind)?;
            }
            Ok(())
        })?;
        self.opened(begin, collection, folder)
    }

    fn open(&mut self, folder: &Path) -> Result<Value> {
        let begin = Instant::now();
        let collection = Database::open_read_only(folder)?.collection(COLLECTION)?;
        self.opened(begin, collection, folder)
    }

    fn opened(&mut self, begin: Instant, collection: Collection, folder: &Path) -> Result<Value> {
        self.collection = Some(collection);
        Ok(json!({ "ok": true, "seconds": begin.elapsed().as_secs_f64(), "size": bytes_below(folder)? }))
    }

    fn run(&mut self, request: &Value, path: &Path) -> Result<(Value, Vec<u8>)> {
        let number = |name: &str| request[name].as_u64().map(usize::try_from).transpose();
        let (from, k) = (number("from")?.unwrap_or(0), number("k")?.unwrap_or(10));
        let budget = if self.index.is_some() { number("param")? } else { None };
        let filter = request["tag_below"].as_i64().map(|below| format!("tag < {below}"));
        let collection = self.collection.as_ref().ok_or("nothing is open")?;
        let queries = match self.queries.take() {
            Some(queries) if queries.are_of(path)? => queries,
            _ => Queries::read(path)?,
        };
        let (mut times, mut ids, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for matrix in queries.matrices.iter().skip(from).take(number("count")?.unwrap_or(usize::MAX)) {
            let mut query = collection.query(matrix).k(k);
            if let Some(budget) = budget {
                query = query.ef(budget).nprobe(budget).candidates(budget);
            }
            if let Some(filter) = &filter {
                query = query.filter(filter);
            }
            let begin = Instant::now();
            let hits = query.run();
            times.push(u64::try_from(begin.elapsed().as_nanos())?);
            let hits = hits?;
            for rank in 0..k {
                ids.push(hits.get(rank).map_or(Ok(-1), |hit| hit.id.parse::<i32>())?);
                scores.push(hits.get(rank).map_or(f32::NAN, |hit| hit.score as f32));
            }
        }
        let with_scores = queries.matrices.iter().any(|query| query.rows() > 1);
        self.queries = Some(queries);
        let total: u64 = times.iter().sum();
        times.sort_unstable();
        let quantile = |share: f64| times.get((times.len().saturating_sub(1) as f64 * share).round() as usize);
        let head = json!({
            "ok": true, "ns": total, "p50_ns": quantile(0.5), "p99_ns": quantile(0.99), "rows": times.len(), "cols": k,
            "scores": with_scores,
        });
        let mut bytes: Vec<u8> = ids.into_iter().flat_map(i32::to_le_bytes).collect();
        if with_scores {
            bytes.extend(scores.into_iter().flat_map(f32::to_le_bytes));
        }
        Ok((head, bytes))
    }
}

/// Queries read once and asked many times, so that reading them is no part of what a run costs.
struct Queries {
    path: PathBuf,
    modified: SystemTime,
    matrices: Vec<Matrix>,
}

impl Queries {
    fn read(path: &Path) -> Result<Queries> {
        let modified = fs::metadata(path)?.modified()?;
        let mut array = Array::open(path)?;
        let matrices = (0..array.count).map(|_| array.next()).collect::<Result<_>>()?;
        Ok(Queries { path: path.to_owned(), modified, matrices })
    }

    fn are_of(&self, path: &Path) -> Result<bool> {
        Ok(self.path == path && self.modified == fs::metadata(path)?.modified()?)
    }
}

/// Values as they are in a file, as values to search.
type Decode = fn(&[u8]) -> Vec<f32>;

/// An array of records, read one by one from its file.
struct Array {
    file: BufReader<File>,
    count: usize,
    rows: usize,
    dim: usize,
    decode: Decode,
    /// The bytes of one record.
    record: Vec<u8>,
}

impl Array {
    fn open(path: &Path) -> Result<Array> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
        let header = NpyHeader::from_reader(&mut file)?;
        let refuse = |why: &str| format!("{}: {why}", path.display());
        let shape: Vec<usize> =
            header.shape().iter().map(|&length| usize::try_from(length)).collect::<Result<_, _>>()?;
        let (count, rows, dim) = match *shape {
            [count, dim] => (count, 1, dim),
            [count, rows, dim] => (count, rows, dim),
            _ => return Err(refuse("neither vectors (two axes) nor matrices (three)").into()),
        };
        if header.order() != Order::C {
            return Err(refuse("Fortran order").into());
        }
        let (width, decode): (usize, Decode) = match header.dtype() {
            DType::Plain(plain) if plain.to_string() == "<f4" => (4, |bytes| {
                let (values, _) = bytes.as_chunks::<4>();
                values.iter().map(|value| f32::from_le_bytes(*value)).collect()
            }),
            DType::Plain(plain) if plain.to_string() == "<f2" => (2, |bytes| {
                let (values, _) = bytes.as_chunks::<2>();
                values.iter().map(|value| f16::from_le_bytes(*value).to_f32()).collect()
            }),
            _ => return Err(refuse("neither f32 nor f16").into()),
        };
        let bytes = rows.checked_mul(dim).and_then(|values| values.checked_mul(width));
        let bytes = bytes.filter(|bytes| bytes.checked_mul(count).is_some());
        let bytes = bytes.ok_or_else(|| refuse("larger than this machine's memory"))?;
        let left = file.get_ref().metadata()?.len() - file.stream_position()?;
        if left != (bytes * count) as u64 {
            return Err(refuse("not as long as its shape says").into());
        }
        Ok(Array { file, count, rows, dim, decode, record: vec![0; bytes] })
    }

    fn next(&mut self) -> Result<Matrix> {
        self.file.read_exact(&mut self.record)?;
        Ok(Matrix::from_rows(self.rows, self.dim, (self.decode)(&self.record))?)
    }
}

/// Bytes of all files in a folder and the folders in it.
fn bytes_below(folder: &Path) -> Result<u64> {
    let entries = fs::read_dir(folder)?.map(|entry| {
        let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        if metadata.is_dir() { bytes_below(&path) } else { Ok(metadata.len()) }
    });
    entries.sum()
}
