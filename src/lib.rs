//! otolith is an embedded vector database for records that are whole matrices: a record has an id, one row or many
//! rows of one dimension, and fields to filter by. It runs inside your program on a directory, searches exactly by
//! MaxSim, says which rows matched, and uses an index where you allow an approximate answer.
//!
//! Words used throughout: the *dimension* is the count of numbers in a row; a *record* of one row is a plain vector;
//! a *query* is a matrix of the same dimension; *MaxSim* is the sum, over the query's rows, of the best similarity to
//! any row of the record; a *hit* is a record in the answer. A larger score is always better.
//!
//! # Store and search
//!
//! ```
//! use otolith::{Database, Matrix, Record, Schema};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("sounds.otolith");
//! let db = Database::open(&path)?; // a directory, created when it is missing
//! let clips = db.create_collection("clips", Schema::new(3))?; // rows of three numbers
//!
//! clips.upsert([
//!     Record::new("dog-1", Matrix::from_rows(2, 3, vec![0.9, 0.1, 0.0, 0.8, 0.2, 0.1])?).field("class", "dog"),
//!     Record::new("rain-1", Matrix::from_vector(vec![0.0, 0.1, 0.9])?).field("class", "rain"),
//! ])?; // one commit, on disk when the call returns
//!
//! let query = Matrix::from_vector(vec![1.0, 0.0, 0.0])?;
//! let hits = clips.query(&query).k(5).filter("class != 'rain'").explain().run()?;
//! for hit in &hits {
//!     println!("{} {:.3} {}", hit.id, hit.score, hit.fields["class"]);
//! }
//! assert_eq!(hits[0].id, "dog-1");
//! assert!(hits.certificate.is_exact()); // the same answer as comparing every record in `f64`
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Search through a view
//!
//! The rows are stored as they were given. A [`View`] derives other rows from them, by a chain of [`Step`]s that is
//! fitted once; queries pass through the same chain. A record can be searched by several views, and a view can be
//! dropped and fitted again without the source of the rows.
//!
//! ```
//! use otolith::pipeline::Statistic;
//! use otolith::{Step, View};
//! # use otolith::{Database, Matrix, Record, Schema};
//! # let folder = tempfile::tempdir()?;
//! # let db = Database::open(folder.path().join("sounds.otolith"))?;
//! # let clips = db.create_collection("clips", Schema::new(2))?;
//! # for n in 0..8 {
//! #     let rows = (0..10).map(|row| ((n * row) as f32).sin() + n as f32).collect();
//! #     clips.upsert([Record::new(format!("clip-{n}"), Matrix::from_rows(5, 2, rows)?)])?;
//! # }
//! # let query = Matrix::from_rows(3, 2, vec![6.9, 7.1, 7.0, 7.2, 7.1, 6.8])?;
//!
//! // One row for each record: the mean and the deviation of its columns, each brought to the same size.
//! let pooled = View::new([Step::Pool(vec![Statistic::Mean, Statistic::Std]), Step::Standardise]);
//! clips.create_view("pooled", &pooled)?;
//! let hits = clips.query(&query).view("pooled").k(3).run()?;
//! println!("{} scores {:.3}", hits[0].id, hits[0].score);
//! # assert_eq!(hits.len(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Use an index and ask for a recall
//!
//! Without an index every answer is exact. An index measures, while it is built, which share of the exact answer (the
//! *recall*) each of its settings finds. A query names the recall it needs, and the cheapest setting that reaches it
//! is used; where none does, or where that would take longer, the exact scan answers.
//!
//! ```
//! use otolith::IndexKind;
//! # use otolith::{Database, Matrix, Record, Schema};
//! # let folder = tempfile::tempdir()?;
//! # let db = Database::open(folder.path().join("vectors.otolith"))?;
//! # let vectors = db.create_collection("vectors", Schema::new(4))?;
//! # let row = |n: usize| (1..5).map(|d| ((n * d) as f32 * 0.7).sin()).collect();
//! # let mut load = vectors.bulk_load()?;
//! # for n in 0..1_500 {
//! #     load.push(Record::new(format!("{n}"), Matrix::from_vector(row(n))?))?;
//! # }
//! # load.finish()?;
//! # let query = Matrix::from_vector(row(7))?;
//!
//! vectors.build_index("raw", IndexKind::Ivf)?; // "raw" names the rows as they were stored
//! let hits = vectors.query(&query).k(10).recall(0.9).run()?;
//! println!("{}: {}", hits.certificate.standing(), hits.plan); // how much was found, and how
//! # assert_eq!(hits.len(), 10);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Read while another process writes
//!
//! One process writes a database at a time; any number of others read it, without waiting. A reading handle keeps the
//! version that it opened until it is told to look for a newer one.
//!
//! ```
//! # use otolith::{Database, Matrix, Record, Schema};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("sounds.otolith");
//! let writer = Database::open(&path)?;
//! let clips = writer.create_collection("clips", Schema::new(2))?;
//!
//! let reader = Database::open_read_only(&path)?; // usually in another process
//! clips.upsert([Record::new("dog-1", Matrix::from_vector(vec![0.6, 0.8])?)])?;
//! assert_eq!(reader.collection("clips")?.len()?, 0);
//! reader.refresh()?;
//! assert_eq!(reader.collection("clips")?.len()?, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to go next
//!
//! | to | see |
//! |---|---|
//! | open, back up, check, repair a database | [`Database`], [`DatabaseOptions`] |
//! | write records, one batch or millions | [`Collection::upsert`], [`Transaction`], [`BulkLoad`] |
//! | ask questions, and trust the answers | [`Query`], [`Hits`], [`Certificate`], the module [`query`] |
//! | restrict a search by fields | the module [`filter`] |
//! | derive rows: whiten, pool, normalise, learn from labels | [`View`], [`Step`], the module [`pipeline`] |
//! | search faster for less than everything | [`Collection::build_index`], [`IndexKind`], [`Query::recall`] |
//! | read one version while others write | [`Snapshot`] |
//! | combine several answers, ask many at once | [`fuse`], [`run_all`] |
//! | know every maximum | the module [`limits`] |
//! | handle failures | [`Error`], [`ErrorKind`] |
//!
//! The folder `examples/` of the repository holds programs that show one thing each.
//!
//! # Features
//!
//! No feature is on by default; everything above works without any.
//!
//! | feature | brings |
//! |---|---|
//! | `fit` | fitting of PCA and LDA steps, and the linear probe of the module `classify` |
//! | `audio` | modules `audio` (WAV, AIFF, AU, CAF), `embed` (log-mel frames), `ingest` (folders of sounds) |
//! | `formats` | FLAC, Ogg, Opus, MP3, AAC, ALAC and others for `audio` |
//! | `models` | wav2vec2 and HuBERT checkpoints for `embed`, fine-tuning in `classify` |
//! | `whisper` | Whisper's encoder for `embed` |
//! | `hub` | module `download`: checkpoints by their name on the Hugging Face hub; the only use of the network |

// Items of private rooms are `pub` for `testing`, which exports them.
#![cfg_attr(not(feature = "testing"), allow(unreachable_pub))]

// engine
mod collection;
mod database;
mod error;
pub mod filter;
mod index;
mod kernel;
pub mod limits;
mod matrix;
pub mod pipeline;
pub mod query;
#[doc(hidden)] // for the command line
pub mod random;
mod record;
mod score;
mod store;
mod threads;
// sound
#[cfg(feature = "audio")]
pub mod audio;
#[cfg(any(feature = "fit", feature = "models"))]
pub mod classify;
#[cfg(any(feature = "audio", feature = "hub"))]
pub mod download;
#[cfg(feature = "audio")]
pub mod embed;
#[cfg(feature = "audio")]
pub mod ingest;
#[cfg(any(feature = "audio", feature = "hub"))]
#[doc(hidden)] // for the command line
pub mod outside;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod testing;

pub use collection::{Collection, IndexInfo, IndexKind, View, ViewInfo};
pub use database::{Database, DatabaseOptions, Transaction};
pub use error::{Error, ErrorKind, Result};
pub use index::{Curve, CurveEntry, CurveSource};
pub use matrix::{Matrix, MatrixView, Precision, StoredMatrix};
pub use pipeline::Step;
pub use query::{Certificate, Explanation, Hit, Hits, Query, fuse, run_all};
pub use record::{Fields, Record, Schema};
pub use score::Metric;
pub use store::{
    Access, BackedUp, BulkLoad, Compacted, Depth, Durability, Entry, Finding, RAW, Snapshot, Stat, Verification,
};
pub use store::{LostRecord, LostSegment, LostView, RepairReport, Revived, SavedCollection};
pub use threads::use_threads;

#[cfg(target_endian = "big")]
compile_error!("otolith maps little-endian files and is not built for big-endian machines");

// Compiles and runs the Rust examples of README and docs/ together with those of this page.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/command-line.md")]
    struct CommandLine;
    #[doc = include_str!("../docs/durability.md")]
    struct Durability;
    #[doc = include_str!("../docs/experiment.md")]
    struct Experiment;
    #[doc = include_str!("../docs/figures.md")]
    struct Figures;
    #[doc = include_str!("../docs/formats.md")]
    struct Formats;
    #[doc = include_str!("../docs/search.md")]
    struct Search;
}
