//! The bytes of `storage-format.md`: what each kind of file holds, written and read.
//!
//! `container` is the shape that segments, delete sets, view files and derived files share; logs and
//! manifests have shapes of their own. Nothing here knows what a record is for.

pub(crate) mod bits;
pub(crate) mod container;
pub(crate) mod damage;
pub(crate) mod deletes;
pub(crate) mod log;
pub(crate) mod manifest;
pub(crate) mod view_file;
