//! Every maximum of the library, with its reason. No dimension and no number of rows that occurs in practice is too
//! large.

/// Longest record id in bytes: longer than any path that a file system allows in practice, and many fit on one page.
pub const ID_BYTES: usize = 1_024;

/// Longest name of a collection, view or field in bytes. Names are repeated in every manifest.
pub const NAME_BYTES: usize = 255;

/// Largest dimension of a row: below 2^31, so that it survives every 32-bit reader of the format.
pub const DIM: usize = (1 << 31) - 1;

/// Largest matrix of one record in bytes: 1 TiB, so that every product of sizes fits 64 bits with room to spare.
pub const MATRIX_BYTES: u64 = 1 << 40;

/// Largest JSON text of one record's fields in bytes. Fields are for filtering and showing, not for documents.
pub const FIELDS_BYTES: usize = 16 << 20;

/// Most records in one segment: their numbers have 32 bits, in segments and in delete sets.
pub const SEGMENT_RECORDS: usize = u32::MAX as usize;

/// Largest body of a manifest in bytes. It is all that limits the number of collections, views and segments: there is
/// room for some 300,000 collections of one segment each. A commit after which the next manifest could be larger is
/// refused, so that what was acknowledged can always be written out.
pub const MANIFEST_BYTES: u64 = 256 << 20;

/// Largest payload of a frame in the log in bytes. Larger commits are written as segments, so anything longer is
/// damage.
pub const FRAME_BYTES: u64 = 1 << 30;

/// Most sections in a file, so that its directory stays small. Files have a handful, those of views one for every
/// step.
pub const SECTIONS: u64 = 4_096;

/// Largest counter in a file. Counting never gets there; beyond it an addition could wrap around to 0.
pub const COUNTER: u64 = 1 << 62;

/// How close to [`COUNTER`] a counter may come before commits are refused, so that those acknowledged before can still
/// be written out.
pub const LAST_COUNTS: u64 = 1 << 40;

/// Records without an id are named by a count. An id of 20 digits below this number moves the count past it; a larger
/// one does not, so that one huge number does not use up the numbers that are left.
pub const NUMBERED: u64 = 1 << 61;

/// Deepest nesting of a filter expression: it is read by recursion, and this keeps it far from the end of the stack.
pub const FILTER_DEPTH: usize = 64;

/// Longest filter expression in bytes.
pub const FILTER_BYTES: usize = 1 << 20;

/// Largest eigenproblem that fitting a view solves: columns or training rows, whichever are fewer. At this side the
/// matrix and its eigenvectors take 4 GiB and hours.
pub const EIGEN_SIDE: usize = 16_384;
