//! Decides what the store does on which file system.
//!
//! On network file systems, and on those served by a program or unknown, locks and syncs may be worth nothing, and
//! mapped pages that cannot be fetched kill the process. So files there are read, not mapped, and a database is written
//! there only when the caller allows it.

use crate::error::{Error, Result};
use crate::store::Access;
use crate::store::Mode;
use crate::store::Options;
use crate::store::vfs::FileSystem;
use std::path::Path;

/// Returns the options adapted to the file system of `path`.
///
/// # Errors
/// [`Error::Unusable`] for a writer that did not allow such a file system.
pub(crate) fn admit(path: &Path, mode: Mode, options: Options) -> Result<Options> {
    let what = match options.vfs.file_system(path) {
        FileSystem::Local => return Ok(options),
        FileSystem::Network(name) => format!("a network, shared or FUSE file system ({name})"),
        FileSystem::Unknown(what) => what,
    };
    match mode {
        Mode::Write { .. } if !options.allow_network => Err(Error::unusable(
            path,
            format!(
                "lies on {what}, where commits may not survive and locks may not hold: write to a local disk, or say \
                 `DatabaseOptions::allow_network_fs(true)` (`--allow-network-fs`)"
            ),
        )),
        _ => Ok(Options { access: Access::Read, ..options }),
    }
}
