//! Delete sets: which records of a segment are deleted. Each file holds one Roaring bitmap and is written anew for each
//! change.

use super::container::{Container, Counts, Expected, Finished, Identity, Writer};
use super::manifest::{DeletesEntry, SegmentEntry};
use crate::error::{Error, Result};
use crate::store::Access;
use crate::store::files::{File, Files, SEG};
use crate::store::layout::{Kind, Sixteen, section};
use roaring::RoaringBitmap;

/// Writes a delete set. Nothing is synced.
pub(crate) fn write(file: File, identity: &Identity, deleted: &RoaringBitmap) -> Result<Finished> {
    let mut bitmap = Vec::with_capacity(deleted.serialized_size());
    let path = file.path().to_path_buf();
    deleted.serialize_into(&mut bitmap).map_err(|error| Error::io(path, "write", error))?;
    let mut out = Writer::new(file, Kind::Deletes, identity)?;
    out.section(section::BITMAP, &bitmap)?;
    out.finish(Counts { records: deleted.len(), ..Counts::default() })
}

/// Opens a delete set and checks every byte of it: first the sums, because only then the bitmap's own reader can be
/// trusted with the content.
pub(crate) fn read(
    files: &Files,
    database: Sixteen,
    segment: &SegmentEntry,
    entry: &DeletesEntry,
) -> Result<RoaringBitmap> {
    let expected = Expected { kind: Kind::Deletes, database, sealed: Some((entry.file.bytes, entry.file.root)) };
    let file = Container::open(files, &format!("{SEG}/{}", entry.file.name), Access::Read, &expected, None)?;
    file.check_all()?;
    let identity = file.identity();
    if identity.segment != segment.uuid || identity.segment_root != segment.file.root {
        return Err(file.corrupt(0, format!("not a delete set of {}", segment.file.name)));
    }
    let place = file.section(section::BITMAP)?;
    let bytes = file.read_section(place)?;
    let mut rest = &bytes[..];
    let deleted = RoaringBitmap::deserialize_from(&mut rest)
        .map_err(|error| file.corrupt(place.offset, format!("no bitmap: {error}")))?;
    let beyond = deleted.max().is_some_and(|record| record >= segment.records);
    if beyond || !rest.is_empty() || deleted.len() != entry.count {
        let what = format!("not the {} of {} records that the manifest names", entry.count, segment.records);
        return Err(file.corrupt(place.offset, what));
    }
    Ok(deleted)
}
