//! Writing: commits into the log, from time to time everything into files, and segments staged beside the commits.
//!
//! `commit` decides when, `writer` does it, `publish` makes files and the manifest that names them, `gc` removes what
//! no manifest needs. `staged_segments` are written while commits go on, by `bulk` loads and by compactions, and take
//! their places in one publish.

pub(crate) mod bulk;
mod commit;
pub(crate) mod gc;
pub(crate) mod publish;
pub(crate) mod staged_segments;
pub(crate) mod writer;
