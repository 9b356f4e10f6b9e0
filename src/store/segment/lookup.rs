//! Finding a record by its id, also where damage is in the way.
//!
//! The table of ids is an aid: when a block of it is damaged, a table of the same shape is made in memory of the ids
//! themselves. A record whose entry or id cannot be read is in neither, and then nobody can say that an id is *not* there.

use super::sealed::Sealed;
use super::{Segment, SegmentKind};
use crate::error::Result;
use crate::store::damage::Damage;
use xxhash_rust::xxh3::xxh3_64;

/// Where an id is.
#[derive(Clone, Debug)]
pub(crate) enum Lookup<T> {
    /// There.
    At(T),
    /// It is not there.
    Absent,
    /// Not among what can be read; it may have been in what cannot.
    Unknown(Damage),
}

/// Lines of a table of ids made anew, and why some ids may be missing from it.
#[derive(Debug)]
pub(super) struct Rebuilt {
    lines: Vec<(u64, u32)>,
    unreadable: Option<Damage>,
}

/// What looking through one table gave.
type Looked = Result<(Option<u32>, Option<Damage>)>;

impl Segment {
    /// Looks for the record with this id, deleted or not.
    ///
    /// # Errors
    /// Only trouble of the surroundings; damage is part of the answer.
    pub(crate) fn lookup(&self, id: &str) -> Result<Lookup<u32>> {
        match &self.kind {
            SegmentKind::Sealed(_, Ok(sealed)) => sealed.lookup(id, self.records()),
            SegmentKind::Sealed(_, Err(damage)) => Ok(Lookup::Unknown(damage.clone())),
            SegmentKind::Memory(memory) => Ok(memory.find(id).map_or(Lookup::Absent, Lookup::At)),
        }
    }

    /// The number of the record with this id, deleted or not.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when it is not found and damage keeps anyone from saying that it is not
    /// there.
    pub fn find(&self, id: &str) -> Result<Option<u32>> {
        match self.lookup(id)? {
            Lookup::At(record) => Ok(Some(record)),
            Lookup::Absent => Ok(None),
            Lookup::Unknown(damage) => Err(damage.error()),
        }
    }
}

impl Sealed {
    pub(super) fn lookup(&self, id: &str, records: u32) -> Result<Lookup<u32>> {
        let (found, unreadable) = match self.search(id, records, |n| self.id_line(n)) {
            Ok(looked) => looked,
            Err(error) => {
                Damage::try_from(error)?;
                let rebuilt = self.rebuilt(records)?;
                let (found, unreadable) =
                    self.search(id, rebuilt.lines.len() as u32, |n| Ok(rebuilt.lines[n as usize]))?;
                (found, unreadable.or_else(|| rebuilt.unreadable.clone()))
            }
        };
        Ok(match (found, unreadable) {
            (Some(record), _) => Lookup::At(record),
            (None, Some(damage)) => Lookup::Unknown(damage),
            (None, None) => Lookup::Absent,
        })
    }

    /// Looks an id up in a table of `lines` lines in order of their hashes. Besides what it found it gives the damage in
    /// ids of the same hash. An error is damage of the table.
    fn search(&self, id: &str, lines: u32, line: impl Fn(u32) -> Result<(u64, u32)>) -> Looked {
        let hash = xxh3_64(id.as_bytes());
        let (mut low, mut high) = (0, lines);
        while low < high {
            let middle = low + (high - low) / 2;
            if line(middle)?.0 < hash { low = middle + 1 } else { high = middle }
        }
        let mut unreadable = None;
        while low < lines {
            let (found, record) = line(low)?;
            if found != hash {
                break;
            }
            match self.id_of(record) {
                Ok(other) if other == id => return Ok((Some(record), None)),
                Ok(_) => {}
                Err(error) => unreadable = Some(Damage::try_from(error)?),
            }
            low += 1;
        }
        Ok((None, unreadable))
    }

    /// A table made of the ids that can be read, once.
    fn rebuilt(&self, records: u32) -> Result<&Rebuilt> {
        if let Some(rebuilt) = self.rebuilt.get() {
            return Ok(rebuilt);
        }
        let mut rebuilt = Rebuilt { lines: Vec::new(), unreadable: None };
        for record in 0..records {
            match self.id_of(record) {
                Ok(id) => rebuilt.lines.push((xxh3_64(id.as_bytes()), record)),
                Err(error) => rebuilt.unreadable = Some(Damage::try_from(error)?),
            }
        }
        rebuilt.lines.sort_unstable();
        Ok(self.rebuilt.get_or_init(|| rebuilt))
    }
}
