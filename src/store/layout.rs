//! The offset and width of every field of every structure on disk. `storage-format.md` says what the fields mean;
//! `tests/format.rs` compares its tables with these constants, so neither can change alone.
//!
//! All numbers are little-endian. A field's offset counts from the start of its structure.

use crate::error::{Error, Result};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_128;

/// Major version of the format. Files of another major version are refused; newer minor versions are read.
pub const MAJOR: u16 = 1;
/// Minor version of the format, as it is written.
pub const MINOR: u16 = 2;
/// Flag of a manifest: there may be commits in a log, which a release that does not know logs would overlook.
pub const HAS_LOG: u64 = 1;
/// Flag of a manifest: the log may create and drop collections and views, and there may be any number of segments. A
/// release that does not know this would take both for damage.
pub const LOGS_NAMES: u64 = 2;
/// Incompat flags that this release knows. A file with any other must not be read at all.
pub const KNOWN_INCOMPAT: u64 = HAS_LOG | LOGS_NAMES;
/// Read-only-compat flags that this release knows: none yet. A database with any other must not be written.
pub const KNOWN_RO_COMPAT: u64 = 0;

/// First bytes of a manifest.
pub const MANIFEST_MAGIC: [u8; 8] = *b"OTOMANIF";
/// First bytes of a log.
pub const LOG_MAGIC: [u8; 8] = *b"OTOLOG_1";
/// First bytes of a frame in a log.
pub const FRAME_MAGIC: [u8; 4] = *b"OTOF";
/// First bytes of every other file: segments, delete sets, view files, derived files.
pub const CONTAINER_MAGIC: [u8; 8] = *b"OTOLITH1";
/// Last bytes of those files.
pub const FOOTER_MAGIC: [u8; 8] = *b"1HTILOTO";

/// Bytes covered by one CRC-32.
pub const BLOCK_BYTES: u64 = 65_536;
/// Length in bytes of the text in `LOCK`, which is padded with spaces.
pub const LOCK_BYTES: usize = 256;
/// Every matrix starts at a multiple of this many bytes.
pub const ALIGN: u64 = 64;
/// Matrices of [`LARGE_BYTES`] and more start at a multiple of this, so that advice to the kernel affects only them.
pub const LARGE_ALIGN: u64 = 4_096;
/// Matrices of this many bytes and more are aligned to pages.
pub const LARGE_BYTES: u64 = 256 << 10;

/// One field of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, in capitals.
    pub name: &'static str,
    /// Bytes from the start of the structure.
    pub offset: usize,
    /// Width in bytes.
    pub bytes: usize,
}

impl Field {
    /// Returns the bytes of this field in a whole structure.
    pub(crate) fn of<'a>(&self, structure: &'a [u8]) -> &'a [u8] {
        &structure[self.offset..][..self.bytes]
    }

    /// Returns the field as a number; for fields of at most 8 bytes.
    pub(crate) fn number(&self, structure: &[u8]) -> u64 {
        self.of(structure).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Returns the field as 16 bytes; for identities and roots.
    pub(crate) fn sixteen(&self, structure: &[u8]) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(self.of(structure));
        bytes
    }

    /// Writes a number into the field; it must fit the field's width.
    pub(crate) fn put_number(&self, structure: &mut [u8], number: u64) {
        debug_assert!(self.bytes == 8 || number >> (8 * self.bytes) == 0, "{} does not fit", self.name);
        self.put(structure, &number.to_le_bytes()[..self.bytes]);
    }

    /// Writes the bytes of the field.
    pub(crate) fn put(&self, structure: &mut [u8], bytes: &[u8]) {
        structure[self.offset..][..self.bytes].copy_from_slice(bytes);
    }
}

macro_rules! structure {
    ($(#[$doc:meta])* $module:ident $total:literal { $($field:ident $offset:literal $bytes:literal)* }) => {
        $(#[$doc])*
        #[allow(missing_docs, dead_code)] // defines every field, even those that only the tests read
        pub mod $module {
            use super::Field;
            pub const BYTES: usize = $total;
            $(pub const $field: Field = Field { name: stringify!($field), offset: $offset, bytes: $bytes };)*
            pub const FIELDS: &[Field] = &[$($field),*];
        }
    };
}

structure! {
    /// Start of a manifest; its JSON body follows.
    manifest_header 128 {
        MAGIC 0 8  MAJOR 8 2  MINOR 10 2  ZERO_1 12 4  INCOMPAT 16 8  RO_COMPAT 24 8  COMPAT 32 8
        DATABASE 40 16  GENERATION 56 8  BODY_BYTES 64 8  BODY_ROOT 72 16  ZERO_2 88 36  CRC 124 4
    }
}

structure! {
    /// Start of a segment, delete set, view or derived file.
    header 4096 {
        MAGIC 0 8  MAJOR 8 2  MINOR 10 2  KIND 12 4  INCOMPAT 16 8  RO_COMPAT 24 8  COMPAT 32 8
        DATABASE 40 16  FILE 56 16  BLOCK_BYTES 72 4  ALIGN 76 4  SEGMENT 80 16  SEGMENT_ROOT 96 16  VIEW_ROOT 112 16
        ZERO 128 3964  CRC 4092 4
    }
}

structure! {
    /// End of a segment, delete set, view or derived file.
    footer 256 {
        SUMS_OFFSET 0 8  SUMS_COUNT 8 8  DIRECTORY_OFFSET 16 8  DIRECTORY_COUNT 24 8  FILE_BYTES 32 8
        RECORDS 40 8  ROWS 48 8  DIM 56 8  ZERO_1 64 160  ROOT 224 16  CRC 240 4  ZERO_2 244 4  MAGIC 248 8
    }
}

structure! {
    /// Where one section of a file lies.
    directory_entry 32 {
        KIND 0 4  VERSION 4 4  OFFSET 8 8  LENGTH 16 8  ZERO 24 8
    }
}

structure! {
    /// Where one record of a segment lies.
    record_entry 64 {
        SEQ 0 8  ID_OFFSET 8 8  FIELDS_OFFSET 16 8  MATRIX_OFFSET 24 8  ROWS 32 8  ZERO_1 40 8
        ID_BYTES 48 4  FIELDS_BYTES 52 4  DIM 56 4  PRECISION 60 1  FLAGS 61 1  ZERO_2 62 2
    }
}

structure! {
    /// One line of the table that finds records by id.
    id_entry 16 {
        HASH 0 8  RECORD 8 4  ZERO 12 4
    }
}

structure! {
    /// Start of the section of one step in a view file.
    step_header 16 {
        SETTINGS_BYTES 0 8  ARRAY_COUNT 8 4  ZERO 12 4
    }
}

structure! {
    /// One array of a step.
    array_entry 16 {
        TYPE 0 4  ZERO 4 4  COUNT 8 8
    }
}

structure! {
    /// Header of one field in the names of a field index; the name follows.
    field_entry 32 {
        VALUES 0 8  TEXT_BYTES 8 8  RECORDS 16 8  NAME_BYTES 24 4  ZERO 28 4
    }
}

structure! {
    /// One value of a field in a field index.
    value_entry 16 {
        CONTENT 0 8  RECORDS_END 8 4  TYPE 12 1  ZERO 13 1  REST 14 2
    }
}

structure! {
    /// Start of a log.
    log_header 64 {
        MAGIC 0 8  MAJOR 8 2  MINOR 10 2  ZERO_1 12 4  DATABASE 16 16  NUMBER 32 8  CHAIN 40 8  ZERO_2 48 12  CRC 60 4
    }
}

structure! {
    /// Start of a frame; its payload follows.
    frame 48 {
        MAGIC 0 4  KIND 4 4  PAYLOAD_BYTES 8 8  SEQ 16 8  DURABLE 24 8  CHAIN 32 8  SUM 40 8
    }
}

structure! {
    /// Log operation: the operations after it belong to this collection.
    collection_operation 24 {
        KIND 0 4  ZERO 4 4  COLLECTION 8 8  NEXT_RECORD 16 8
    }
}

structure! {
    /// Log operation: deletes the record with this id. The id follows.
    delete_operation 8 {
        KIND 0 4  ID_BYTES 4 4
    }
}

structure! {
    /// The recall that an index measured of itself at one setting.
    curve_entry 56 {
        SOURCE 0 8  K 8 8  SETTING 16 8  MEAN 24 8  DEVIATION 32 8  QUERIES 40 8  COMPARED 48 8
    }
}

structure! {
    /// Log operation: adds a record or replaces the one with its id. Id and fields follow, then the matrix or a
    /// [`place`].
    upsert_operation 32 {
        KIND 0 4  ID_BYTES 4 4  FIELDS_BYTES 8 4  ZERO 12 4  ROWS 16 8  MATRIX_BYTES 24 8
    }
}

structure! {
    /// Where the matrix of an upsert lies in a segment file that was still open. The CRC-32 of each 64 KiB of it
    /// follows.
    place 24 {
        FILE_NUMBER 0 8  FILE_RANDOM 8 8  OFFSET 16 8
    }
}

structure! {
    /// Log operation: creates a collection. Name and schema follow.
    create_collection_operation 24 {
        KIND 0 4  NAME_BYTES 4 4  COLLECTION 8 8  SCHEMA_BYTES 16 8
    }
}

structure! {
    /// Log operation: drops a collection.
    drop_collection_operation 16 {
        KIND 0 4  ZERO 4 4  COLLECTION 8 8
    }
}

structure! {
    /// Log operation: creates a view. Its name follows, then its file.
    create_view_operation 32 {
        KIND 0 4  NAME_BYTES 4 4  FILE_NUMBER 8 8  FILE_RANDOM 16 8  FILE_BYTES 24 8
    }
}

structure! {
    /// Log operation: drops a view. Its name follows.
    drop_view_operation 8 {
        KIND 0 4  NAME_BYTES 4 4
    }
}

#[cfg(any(test, feature = "testing"))]
/// Every structure with its name in `storage-format.md`, its length and its fields.
pub const STRUCTURES: &[(&str, usize, &[Field])] = &[
    ("manifest header", manifest_header::BYTES, manifest_header::FIELDS),
    ("header", header::BYTES, header::FIELDS),
    ("footer", footer::BYTES, footer::FIELDS),
    ("directory entry", directory_entry::BYTES, directory_entry::FIELDS),
    ("record entry", record_entry::BYTES, record_entry::FIELDS),
    ("id entry", id_entry::BYTES, id_entry::FIELDS),
    ("step header", step_header::BYTES, step_header::FIELDS),
    ("array entry", array_entry::BYTES, array_entry::FIELDS),
    ("curve entry", curve_entry::BYTES, curve_entry::FIELDS),
    ("field entry", field_entry::BYTES, field_entry::FIELDS),
    ("value entry", value_entry::BYTES, value_entry::FIELDS),
    ("log header", log_header::BYTES, log_header::FIELDS),
    ("frame", frame::BYTES, frame::FIELDS),
    ("collection operation", collection_operation::BYTES, collection_operation::FIELDS),
    ("delete operation", delete_operation::BYTES, delete_operation::FIELDS),
    ("upsert operation", upsert_operation::BYTES, upsert_operation::FIELDS),
    ("place", place::BYTES, place::FIELDS),
    ("create collection operation", create_collection_operation::BYTES, create_collection_operation::FIELDS),
    ("drop collection operation", drop_collection_operation::BYTES, drop_collection_operation::FIELDS),
    ("create view operation", create_view_operation::BYTES, create_view_operation::FIELDS),
    ("drop view operation", drop_view_operation::BYTES, drop_view_operation::FIELDS),
];

/// What a file holds, as stated in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Kind {
    /// Records.
    Segment = 1,
    /// Numbers of deleted records of one segment.
    Deletes = 2,
    /// Fitted parameters of a view.
    View = 3,
    /// Rows of a view over one segment.
    Rows = 4,
    /// Rows of a view as compact codes (SQ8).
    Codes = 5,
    /// A graph of neighbours over codes.
    Graph = 6,
    /// Codes in lists, one list for each centroid.
    Lists = 7,
    /// Centroids that stand for the records of a segment.
    Centroids = 8,
    /// Fields of a segment's records, in columns.
    Fields = 9,
    /// Leading coordinates of the rows of matrices, in a byte each.
    Planes = 10,
}

impl Kind {
    /// The kinds of derived files, each with the word for it in file names.
    pub const DERIVED: [(Kind, &'static str); 7] = [
        (Kind::Rows, "rows"),
        (Kind::Codes, "codes"),
        (Kind::Graph, "graph"),
        (Kind::Lists, "lists"),
        (Kind::Centroids, "centroids"),
        (Kind::Fields, "fields"),
        (Kind::Planes, "planes"),
    ];
}

/// Kinds of frames in a log.
pub mod frame_kind {
    /// A commit: operations that take effect together.
    pub const COMMIT: u32 = 1;
    /// A mark: no operations, only the number of the last durable commit.
    pub const MARK: u32 = 2;
}

/// Kinds of operations in a frame.
pub mod operation {
    /// Names the collection of the operations after it.
    pub const COLLECTION: u32 = 1;
    /// Deletes a record.
    pub const DELETE: u32 = 2;
    /// Adds or replaces a record; its matrix is in the frame.
    pub const UPSERT: u32 = 3;
    /// Adds or replaces a record whose matrix lies in an open segment.
    pub const UPSERT_DIRECT: u32 = 4;
    /// Creates a collection.
    pub const CREATE_COLLECTION: u32 = 5;
    /// Drops a collection.
    pub const DROP_COLLECTION: u32 = 6;
    /// Creates a view.
    pub const CREATE_VIEW: u32 = 7;
    /// Drops a view.
    pub const DROP_VIEW: u32 = 8;
}

/// Kinds of sections. A view file holds one [`section::ABOUT`], then one section for each step, of the step's kind.
pub mod section {
    /// JSON that says what the file belongs to.
    pub const ABOUT: u32 = 0;
    /// Matrices of a segment, or the rows of a derived file.
    pub const MATRICES: u32 = 1;
    /// JSON texts of a segment's records.
    pub const FIELDS: u32 = 2;
    /// Ids of a segment's records.
    pub const IDS: u32 = 3;
    /// Record entries.
    pub const RECORDS: u32 = 4;
    /// Id entries.
    pub const ID_TABLE: u32 = 5;
    /// A Roaring bitmap in its portable format.
    pub const BITMAP: u32 = 6;
    /// First row of each record in a derived file, and the end of the last.
    pub const ROW_OFFSETS: u32 = 7;
    /// Codes of rows.
    pub const CODES: u32 = 8;
    /// The numbers that belong to each row's codes, such as its scale.
    pub const CODE_ENTRIES: u32 = 19;
    /// The record of each row of codes.
    pub const ORDER: u32 = 10;
    /// Neighbours in a graph.
    pub const NEIGHBOURS: u32 = 11;
    /// Levels of a graph.
    pub const LEVELS: u32 = 12;
    /// Measured recall, by effort.
    pub const CURVE: u32 = 20;
    /// Centroids: rows that stand for others.
    pub const CENTROIDS: u32 = 14;
    /// First member of each list, and the end of the last.
    pub const LIST_STARTS: u32 = 15;
    /// Names of fields.
    pub const FIELD_NAMES: u32 = 16;
    /// Values of fields.
    pub const FIELD_VALUES: u32 = 17;
    /// Records that have each value of a field.
    pub const FIELD_RECORDS: u32 = 18;
    /// The queries by which recall was measured.
    pub const QUESTIONS: u32 = 21;
    /// How far the vectors of [`BASIS`] are from orthonormal.
    pub const PLANES: u32 = 26;
    /// The vectors whose products with a row are its coordinates.
    pub const BASIS: u32 = 23;
    /// How large each coordinate usually is.
    pub const WEIGHTS: u32 = 24;
}

/// An XXH3-128 sum or an identity.
pub type Sixteen = [u8; 16];

/// Returns the XXH3-128 sum of `bytes` as it is written: in canonical (big-endian) order, as xxhsum prints it.
pub fn root_of(bytes: &[u8]) -> Sixteen {
    let number = xxh3_128(bytes);
    std::array::from_fn(|at| (number >> (8 * (15 - at))) as u8)
}

/// Formats 16 bytes as lowercase hexadecimal digits.
pub fn hex(bytes: &Sixteen) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hex`] wrote.
pub(crate) fn from_hex(text: &str) -> Option<Sixteen> {
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    u128::from_str_radix(text, 16).ok().map(|number| std::array::from_fn(|at| (number >> (8 * (15 - at))) as u8))
}

/// Refuses files of another major version or with flags that this release does not know. A newer minor version is
/// read: it only adds JSON keys, sections and bytes that were zero before.
pub(crate) fn check_version(path: &Path, major: u64, incompat: u64) -> Result<()> {
    let found = if major != u64::from(MAJOR) {
        format!("{major}")
    } else if incompat & !KNOWN_INCOMPAT != 0 {
        format!("{major} with the flags {incompat:#x}")
    } else {
        return Ok(());
    };
    Err(Error::Version { path: path.to_path_buf(), found, supported: format!("{MAJOR}, flags {KNOWN_INCOMPAT:#x}") })
}

/// Rounds `offset` up to a multiple of `align`, a power of two; `None` past the end of 64 bits.
pub(crate) fn aligned(offset: u64, align: u64) -> Option<u64> {
    offset.checked_next_multiple_of(align)
}

/// Array type: single precision.
pub const F32: u64 = 1;
/// Array type: double precision.
pub const F64: u64 = 2;
