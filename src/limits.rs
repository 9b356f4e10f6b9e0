//! Every maximum of the engine, with its reason. There is no cap on dimension or rows that a user would meet.

/// Longest record id in bytes: fits one page of ids many times over and any path a file system allows in practice.
pub const ID_BYTES: usize = 1_024;

/// Longest name of a collection, view or field in bytes: they are repeated in every manifest.
pub const NAME_BYTES: usize = 255;

/// Largest dimension of a row: kept below 2^31 so that it survives every 32-bit reader of the format.
pub const DIM: usize = (1 << 31) - 1;

/// Largest matrix of one record in bytes: 1 TiB, so that every product of sizes fits 64 bits with room to spare.
pub const MATRIX_BYTES: u64 = 1 << 40;

/// Largest JSON text of one record's fields in bytes: fields are for filtering and display, not for documents.
pub const FIELDS_BYTES: usize = 16 << 20;

/// Most records in one segment: record numbers are 32-bit, as the delete sets' are.
pub const SEGMENT_RECORDS: usize = u32::MAX as usize;

/// Largest body of a manifest in bytes, which is all that limits collections, views and segments: some 300,000 collections of
/// one segment each. A commit after which the next manifest could be larger is refused, so that what was acknowledged can
/// always be written out.
pub const MANIFEST_BYTES: u64 = 256 << 20;

/// Largest payload of a frame in the log: larger commits are written as segments, so anything longer is damage.
pub const FRAME_BYTES: u64 = 1 << 30;

/// Most sections of a file: a handful each, and in a view's one for every step, so that a directory is never large.
pub const SECTIONS: u64 = 4_096;

/// Largest counter in a file: none gets here by counting, and beyond it adding to one could begin again at 0.
pub const COUNTER: u64 = 1 << 62;

/// Counts left before [`COUNTER`] at which nothing more is acknowledged, so that what was can still be written out.
pub const LAST_COUNTS: u64 = 1 << 40;

/// Records without an id get numbers above that of every record whose name is a number below this. Naming one by a larger
/// number does not use up all that are left.
pub const NUMBERED: u64 = 1 << 61;

/// Deepest nesting of a filter expression: keeps the recursive reader far from the end of its stack.
pub const FILTER_DEPTH: usize = 64;

/// Longest filter expression in bytes.
pub const FILTER_BYTES: usize = 1 << 20;

/// Largest eigenproblem that fitting a view solves: columns or training rows, whichever are fewer. At this side the matrix
/// and its eigenvectors take 4 GiB and hours.
pub const EIGEN_SIDE: usize = 16_384;
