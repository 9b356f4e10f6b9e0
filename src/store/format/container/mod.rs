//! The layout that segments, delete sets, view files and derived files share.
//!
//! ```text
//! header 4,096 B | sections, gaps of zeros | CRC-32 of each 64 KiB before here | directory | footer 256 B
//! ```
//!
//! The *root*, an XXH3-128 sum over header, block sums, directory and footer, is in the footer and in whatever names
//! the file. It is checked when the file is opened, which costs 4 bytes read per 64 KiB of file. The blocks are checked
//! when they are first read. So every byte of a file is covered by a sum.

mod pool;
mod reader;
mod writer;

pub(crate) use reader::{Container, Expected};
pub(crate) use writer::{Finished, Writer};

use crate::store::layout::{self, Kind, Sixteen, header};

/// Which file this is and what it belongs to: the variable part of its header. What does not apply is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub database: Sixteen,
    pub file: Sixteen,
    /// Identity of the segment that a delete set or derived file belongs to.
    pub segment: Sixteen,
    pub segment_root: Sixteen,
    pub view_root: Sixteen,
}

impl Identity {
    fn header(&self, kind: Kind) -> Vec<u8> {
        let mut bytes = vec![0; header::BYTES];
        header::MAGIC.put(&mut bytes, &layout::CONTAINER_MAGIC);
        header::MAJOR.put_number(&mut bytes, u64::from(layout::MAJOR));
        header::MINOR.put_number(&mut bytes, u64::from(layout::MINOR));
        header::KIND.put_number(&mut bytes, u64::from(kind as u32));
        header::DATABASE.put(&mut bytes, &self.database);
        header::FILE.put(&mut bytes, &self.file);
        header::BLOCK_BYTES.put_number(&mut bytes, layout::BLOCK_BYTES);
        header::ALIGN.put_number(&mut bytes, layout::ALIGN);
        header::SEGMENT.put(&mut bytes, &self.segment);
        header::SEGMENT_ROOT.put(&mut bytes, &self.segment_root);
        header::VIEW_ROOT.put(&mut bytes, &self.view_root);
        let crc = crc32fast::hash(&bytes[..header::CRC.offset]);
        header::CRC.put_number(&mut bytes, u64::from(crc));
        bytes
    }

    fn from_header(bytes: &[u8]) -> Identity {
        Identity {
            database: header::DATABASE.sixteen(bytes),
            file: header::FILE.sixteen(bytes),
            segment: header::SEGMENT.sixteen(bytes),
            segment_root: header::SEGMENT_ROOT.sixteen(bytes),
            view_root: header::VIEW_ROOT.sixteen(bytes),
        }
    }
}

/// One section: its kind and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SectionEntry {
    pub kind: u32,
    pub version: u32,
    pub offset: u64,
    pub length: u64,
}

/// Counts in the footer; what they mean depends on the kind of file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub records: u64,
    pub rows: u64,
    pub dim: u64,
}
