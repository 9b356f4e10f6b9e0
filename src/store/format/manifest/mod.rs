//! The manifest: which files make up the database, and what they are to each other.
//!
//! There is one file for each publish, named by its generation and never changed: a binary header with sums, then JSON,
//! so that old code can read additions and people can look inside. It holds only names, numbers and settings: no fitted
//! number, no row.

mod json;

use crate::error::{Error, Result};
use crate::limits;
use crate::record::Schema;
use crate::store::files::{File, Files, SEG, TEMPORARY, VIEW};
use crate::store::layout::{self, Sixteen, manifest_header as head, root_of};
use serde::{Deserialize, Serialize};

/// Most bytes that a segment, a view and a collection take in a manifest, beside names and settings.
pub(crate) const SEGMENT_ROOM: u64 = 640;
const VIEW_ROOM: u64 = 256;
const COLLECTION_ROOM: u64 = 384;
/// Most bytes that the name of a left-over file takes in a manifest.
pub(crate) const LEFT_ROOM: u64 = 48;

/// The state of a database as one publish left it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    #[serde(skip)]
    pub database: Sixteen,
    #[serde(skip)]
    pub generation: u64,
    /// Whether collections and views may be created and dropped in the log; false where an earlier release wrote the
    /// manifest.
    #[serde(skip)]
    pub logs_names: bool,
    /// The number from which on logs belong to this generation; none where an earlier release, without logs, wrote it.
    #[serde(deserialize_with = "json::required")]
    pub wal_first: Option<u64>,
    /// The next number for a file or a collection; none is ever used twice.
    pub next_no: u64,
    /// Number of the last commit.
    pub last_seq: u64,
    pub collections: Vec<CollectionEntry>,
    /// Oldest records first, within each collection.
    pub segments: Vec<SegmentEntry>,
    /// Names of segment files that were never sealed and are kept because the log of the generation before names them.
    /// Databases from before there was a log have no such key.
    #[serde(default)]
    pub left: Vec<String>,
}

/// A collection in a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CollectionEntry {
    pub id: u64,
    pub name: String,
    #[serde(with = "json::schema")]
    pub schema: Schema,
    /// The next number for a record without an id.
    pub next_record: u64,
    pub views: Vec<ViewEntry>,
}

/// A view in a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ViewEntry {
    pub name: String,
    pub file: FileEntry,
}

/// A file as a manifest names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileEntry {
    /// Its name in its directory.
    pub name: String,
    pub bytes: u64,
    #[serde(with = "json::sixteen")]
    pub root: Sixteen,
}

/// A segment in a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SegmentEntry {
    pub collection: u64,
    pub kind: Packed,
    pub file: FileEntry,
    #[serde(with = "json::sixteen")]
    pub uuid: Sixteen,
    /// Dimension, taken from the collection.
    #[serde(skip)]
    pub dim: u64,
    /// Bytes of ids, fields and matrices: what moving the segment would copy.
    pub data_bytes: u64,
    pub records: u32,
    pub rows: u64,
    pub min_seq: u64,
    pub max_seq: u64,
    pub deletes: Option<DeletesEntry>,
}

/// How a segment holds its records; there is only one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Packed {
    #[default]
    Packed,
}

/// A delete set in a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeletesEntry {
    pub file: FileEntry,
    pub count: u64,
}

/// Returns the most bytes that a view of this name takes. JSON escapes some characters, which then take two bytes.
pub(crate) fn view_room(name: &str) -> u64 {
    VIEW_ROOM + 2 * name.len() as u64
}

/// Returns the most bytes that a collection takes, without segments and views. An embedder's name may hold any
/// character, and JSON escapes some with six bytes.
pub(crate) fn collection_room(name: &str, schema: &Schema) -> u64 {
    COLLECTION_ROOM + 2 * name.len() as u64 + 6 * schema.embedder.as_ref().map_or(0, String::len) as u64
}

/// Returns the name of a manifest.
pub(crate) fn name_of(generation: u64) -> String {
    format!("manifest-{generation:016x}")
}

/// Returns the generation in a name, if it is a manifest's.
pub(crate) fn generation_of(name: &str) -> Option<u64> {
    name.strip_prefix("manifest-").and_then(sixteen_digits)
}

/// Reads 16 lowercase hexadecimal digits and nothing else.
pub(crate) fn sixteen_digits(text: &str) -> Option<u64> {
    let fits = text.len() == 16 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if fits { u64::from_str_radix(text, 16).ok() } else { None }
}

/// Returns the two numbers in a name of the form `<number>-<number><ending>`.
pub(crate) fn numbers_of(name: &str, ending: &str) -> Option<(u64, u64)> {
    let (first, second) = name.strip_suffix(ending)?.split_once('-')?;
    Some((sixteen_digits(first)?, sixteen_digits(second)?))
}

/// Returns the number with which the name of a file in a directory begins.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    name.get(..16).and_then(sixteen_digits)
}

impl SegmentEntry {
    /// Returns how many records are not deleted.
    pub(crate) fn live(&self) -> u64 {
        u64::from(self.records).saturating_sub(self.deletes.as_ref().map_or(0, |deletes| deletes.count))
    }
}

impl FileEntry {
    /// Returns the number that begins its name.
    pub(crate) fn no(&self) -> u64 {
        number_of(&self.name).unwrap_or(0)
    }
}

impl Manifest {
    /// Returns the manifest of a database without collections.
    pub(crate) fn empty(database: Sixteen) -> Manifest {
        Manifest {
            database,
            generation: 1,
            logs_names: true,
            wal_first: Some(1),
            next_no: 1,
            last_seq: 0,
            collections: Vec::new(),
            segments: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Returns every file that this manifest needs, by its path inside the database. Files in no kept manifest's list
    /// are garbage; garbage collection, backup and verification all go by this one list.
    pub(crate) fn files(&self) -> impl Iterator<Item = (String, &FileEntry)> {
        let segments = self.segments.iter().flat_map(|segment| {
            let deletes = segment.deletes.iter().map(|deletes| &deletes.file);
            std::iter::once(&segment.file).chain(deletes).map(|file| (format!("{SEG}/{}", file.name), file))
        });
        let views = self.collections.iter().flat_map(|collection| &collection.views);
        segments.chain(views.map(|view| (format!("{VIEW}/{}", view.file.name), &view.file)))
    }

    /// Returns the paths of [`Manifest::files`] and of the left-over files.
    pub(crate) fn kept(&self) -> impl Iterator<Item = String> {
        let left = self.left.iter().map(|name| format!("{SEG}/{name}"));
        self.files().map(|(name, _)| name).chain(left)
    }

    /// Returns the number from which on logs belong to this generation.
    pub(crate) fn first_log(&self) -> u64 {
        self.wal_first.unwrap_or(self.next_no)
    }

    /// Returns whether a commit may go into the log of this generation; `names` says that it creates or drops
    /// collections or views. A release that does not know such logs must not overlook them, so first a manifest has to
    /// say that there may be one.
    pub(crate) fn can_log(&self, names: bool) -> bool {
        self.wal_first.is_some() && (self.logs_names || !names)
    }

    fn flags(&self) -> u64 {
        let log = if self.wal_first.is_some() { layout::HAS_LOG } else { 0 };
        let names = if self.logs_names { layout::LOGS_NAMES } else { 0 };
        log | names
    }

    /// Returns the bytes of the file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Numbers, texts and lists of them can always be written as JSON.
        let body = serde_json::to_vec(self).unwrap_or_default();
        let mut bytes = vec![0; head::BYTES];
        head::MAGIC.put(&mut bytes, &layout::MANIFEST_MAGIC);
        head::MAJOR.put_number(&mut bytes, u64::from(layout::MAJOR));
        head::MINOR.put_number(&mut bytes, u64::from(layout::MINOR));
        head::INCOMPAT.put_number(&mut bytes, self.flags());
        head::DATABASE.put(&mut bytes, &self.database);
        head::GENERATION.put_number(&mut bytes, self.generation);
        head::BODY_BYTES.put_number(&mut bytes, body.len() as u64);
        head::BODY_ROOT.put(&mut bytes, &root_of(&body));
        let crc = crc32fast::hash(&bytes[..head::CRC.offset]);
        head::CRC.put_number(&mut bytes, u64::from(crc));
        bytes.extend_from_slice(&body);
        bytes
    }

    /// Writes a manifest into a directory that has none yet: under a temporary name first, then renamed, each step
    /// durable before the next.
    pub(crate) fn place(files: &Files, generation: u64, bytes: &[u8]) -> Result<()> {
        let name = name_of(generation);
        let temporary = format!("{name}{TEMPORARY}");
        let file = files.create(&temporary)?;
        file.write_all_at(bytes, 0)?;
        file.sync()?;
        file.protect();
        files.rename(&temporary, &name)?;
        files.sync_dir("")
    }

    /// Reads and checks a manifest; also returns whether flags forbid writing to the database.
    pub(crate) fn read(file: &File, generation: u64) -> Result<(Manifest, bool)> {
        let path = file.path();
        let wrong = |field: layout::Field, what: &str| Err(Error::corrupt(path, field.offset as u64, what));
        let bytes = file.bytes()?;
        if bytes < head::BYTES as u64 {
            return Err(Error::corrupt(path, bytes, format!("{bytes} bytes are too few for a manifest")));
        }
        let start = file.read(0, head::BYTES as u64)?;
        let start = start.as_bytes();
        if head::MAGIC.of(start) != layout::MANIFEST_MAGIC {
            return wrong(head::MAGIC, "this is no manifest");
        }
        if head::CRC.number(start) != u64::from(crc32fast::hash(&start[..head::CRC.offset])) {
            return wrong(head::CRC, "the CRC-32 of the header does not fit");
        }
        layout::check_version(path, head::MAJOR.number(start), head::INCOMPAT.number(start))?;
        if head::GENERATION.number(start) != generation {
            return wrong(head::GENERATION, "the generation is not the one in the name");
        }
        let body_bytes = head::BODY_BYTES.number(start);
        if body_bytes > limits::MANIFEST_BYTES || body_bytes + head::BYTES as u64 != bytes {
            return wrong(head::BODY_BYTES, "the length is not the file's");
        }
        let body = file.read(head::BYTES as u64, body_bytes)?;
        if root_of(body.as_bytes()) != head::BODY_ROOT.sixteen(start) {
            return Err(Error::corrupt(path, head::BYTES as u64, "the sum of the body does not fit"));
        }
        let mut manifest = json::read(body.as_bytes(), head::DATABASE.sixteen(start), generation)
            .map_err(|what| Error::corrupt(path, head::BYTES as u64, what))?;
        manifest.logs_names = head::INCOMPAT.number(start) & layout::LOGS_NAMES != 0;
        Ok((manifest, head::RO_COMPAT.number(start) & !layout::KNOWN_RO_COMPAT != 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the largest possible entry of a collection with a view, and of a segment.
    fn largest() -> (CollectionEntry, SegmentEntry) {
        let (name, number) = ("\\".repeat(limits::NAME_BYTES), u64::MAX);
        let file = FileEntry { name: format!("{number:016x}-{number:016x}.oview"), bytes: number, root: [0xff; 16] };
        let view = ViewEntry { name: name.clone(), file: file.clone() };
        let schema = Schema::new(limits::DIM).rows_per_second(f64::MIN_POSITIVE).embedder("\u{1}".repeat(1_000));
        let collection = CollectionEntry { id: number, name, schema, next_record: number, views: vec![view] };
        let segment = SegmentEntry {
            collection: number,
            kind: Packed::Packed,
            file: file.clone(),
            uuid: [0xff; 16],
            dim: 0,
            data_bytes: number,
            records: u32::MAX,
            rows: number,
            min_seq: number,
            max_seq: number,
            deletes: Some(DeletesEntry { file, count: number }),
        };
        (collection, segment)
    }

    #[test]
    fn nothing_takes_more_room_than_is_kept_for_it() {
        let (collection, segment) = largest();
        let room = collection_room(&collection.name, &collection.schema) + view_room(&collection.name);
        assert!((serde_json::to_vec(&collection).unwrap().len() as u64) < room);
        assert!((serde_json::to_vec(&segment).unwrap().len() as u64) < SEGMENT_ROOM);
        assert!((serde_json::to_vec(&segment.file.name).unwrap().len() as u64) < LEFT_ROOM);
    }
}
