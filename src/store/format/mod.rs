//! Writes and reads each kind of file, byte by byte as `storage-format.md` says.
//!
//! `container` is the layout that segments, delete sets, view files and derived files share; logs and manifests have
//! layouts of their own. Nothing here knows what a record is for.

pub(crate) mod bits;
pub(crate) mod container;
pub(crate) mod damage;
pub(crate) mod deletes;
pub(crate) mod log;
pub(crate) mod manifest;
pub(crate) mod view_file;
