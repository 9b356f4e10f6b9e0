//! Sizes and counts of a database.

use crate::error::Result;
use crate::store::files::{DERIVED, LOCK, SEG, VIEW, is_missing};
use crate::store::format::log;
use crate::store::format::manifest;
use crate::store::layout::{MAJOR, MINOR};
use crate::store::shared::Shared;
use crate::store::version::generations;

/// Sizes and counts of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stat {
    /// Version of the format, major and minor.
    pub format: (u16, u16),
    /// Number of the newest manifest.
    pub generation: u64,
    /// Older generations whose files are still there: the one before, and what somebody has pinned.
    pub older_generations: Vec<u64>,
    /// Segments of the current version.
    pub segments: u64,
    /// How many records are live.
    pub live_records: u64,
    /// How many rows the live records have together.
    pub live_rows: u64,
    /// Records that are deleted or replaced, but still take space.
    pub dead_records: u64,
    /// How many rows of deleted and replaced records are still in files.
    pub dead_rows: u64,
    /// Bytes of matrices, fields and ids of dead records; what a compaction can free.
    pub dead_bytes: u64,
    /// Bytes of manifests and the lock file.
    pub manifest_bytes: u64,
    /// Bytes of the write-ahead logs.
    pub log_bytes: u64,
    /// Bytes of segments, older generations' included.
    pub segment_bytes: u64,
    /// Bytes of the files that say which records are deleted.
    pub delete_bytes: u64,
    /// Bytes of the files that hold fitted views.
    pub view_bytes: u64,
    /// Bytes of derived files, which can be rebuilt.
    pub derived_bytes: u64,
    /// The last trouble beside the commits, such as an old file that could not be removed, or why nothing is written
    /// any more.
    pub trouble: Option<String>,
}

impl Stat {
    /// Returns the bytes on disk of everything, derived files included.
    pub fn bytes(&self) -> u64 {
        self.manifest_bytes
            + self.log_bytes
            + self.segment_bytes
            + self.delete_bytes
            + self.view_bytes
            + self.derived_bytes
    }
}

impl Stat {
    /// Returns sizes and counts as of this handle's version; bytes on disk are as of now. Reads one entry for each dead
    /// record.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub(crate) fn of(shared: &Shared) -> Result<Stat> {
        let version = shared.version();
        let mut stat = Stat { format: (MAJOR, MINOR), generation: version.generation, ..Stat::default() };
        stat.older_generations = generations(&shared.files)?;
        stat.older_generations.retain(|generation| *generation < version.generation);
        stat.live_records = version.collections.values().map(|collection| collection.records).sum();
        for part in version.segments() {
            let Some(entry) = part.segment.entry() else {
                stat.live_rows += part.live_memory().map(|record| record.rows as u64).sum::<u64>();
                continue;
            };
            stat.segments += 1;
            // Where the delete set cannot be read, the manifest still says how many there are.
            stat.dead_records += part.deleted.len().max(part.saved().map_or(0, |saved| saved.count));
            let (mut rows, mut bytes) = (0, 0);
            for number in part.deleted.iter() {
                // A record in a damaged block counts as a record and no more.
                if let Ok((more_rows, more_bytes)) = part.segment.size(number) {
                    rows += more_rows;
                    bytes += more_bytes;
                }
            }
            stat.dead_rows += rows;
            stat.dead_bytes += bytes;
            stat.live_rows += entry.rows.saturating_sub(rows);
        }
        for dir in ["", SEG, VIEW, DERIVED] {
            for name in shared.files.list_if_there(dir)? {
                let counter = match dir {
                    SEG if name.ends_with(".odel") => &mut stat.delete_bytes,
                    SEG => &mut stat.segment_bytes,
                    VIEW => &mut stat.view_bytes,
                    DERIVED => &mut stat.derived_bytes,
                    _ if manifest::generation_of(&name).is_some() || name == LOCK => &mut stat.manifest_bytes,
                    _ if log::number_of(&name).is_some() => &mut stat.log_bytes,
                    _ => continue,
                };
                let path = if dir.is_empty() { name } else { format!("{dir}/{name}") };
                match shared.files.bytes_of(&path) {
                    // Removed between the listing and now.
                    Err(error) if is_missing(&error) => {}
                    bytes => *counter += bytes?,
                }
            }
        }
        if let Ok(writer) = shared.unchecked_writer() {
            stat.trouble = writer.poisoned.clone().or_else(|| writer.trouble.clone());
        }
        Ok(stat)
    }
}
