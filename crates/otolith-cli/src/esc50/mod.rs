//! The experiment: how well do the ways of searching sounds do, on clips whose classes are known?
//!
//! Words: a *clip* is a sound file of a known class; the *source* of a clip is the recording it was cut from; a
//! *protocol* turns a data set into *rounds*, each a list of queries and a list of records that they are searched in;
//! an *arm* is one way of answering (a view searched, or a classifier); an *outcome* is what one arm answered to one
//! query.
//!
//! ```text
//! folder or seed -> DataSet -> Protocol -> Rounds -> (an arm) -> Outcomes -> Evaluation -> Comparison -> table, JSON, HTML
//! ```
//!
//! Clips, queries and records are numbers into [`DataSet::clips`], classes are numbers into [`DataSet::classes`]. No
//! query is among its records, and whatever an arm fits sees [`Round::fit`] only. Everything but the timings is a
//! function of the files, the protocol and the seed. Loading a data set looks at names and the table, never into the
//! sounds; the procedural set is the one thing here that costs seconds.

pub mod arms;
mod combine;
pub mod compare;
pub mod data_set;
pub mod fetch;
pub mod fine_tuned;
pub mod frames;
pub mod measure;
pub mod prepare;
pub mod procedural;
mod progress;
pub mod protocol;
pub mod report;
pub mod table;

pub use arms::Arm;
pub use data_set::{ClipFile, DataSet, Split};
pub use measure::{Confusion, Evaluation, Measures, Outcome};
pub use progress::Progress;
pub use protocol::{Protocol, Round};
pub use table::{ArmKind, ArmResult, Comparison, Example, ExampleHit, ModelInfo, Moment, Skipped, Training};
