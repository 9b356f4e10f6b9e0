//! Finds a record by its id, even where damage is in the way.
//!
//! The table of ids is only an aid: when a block of it is damaged, a table of the same shape is made in memory from the
//! ids themselves. A record whose entry or id cannot be read is in neither, and then nobody can say that an id is *not*
//! there.

use super::sealed::Sealed;
use super::{Segment, SegmentKind};
use crate::error::Result;
use crate::store::format::damage::Damage;
use xxhash_rust::xxh3::xxh3_64;

/// What looking up an id found.
#[derive(Clone, Debug)]
pub(crate) enum Lookup<T> {
    /// The record with this id.
    At(T),
    /// There is no such record.
    Absent,
    /// It is not among what can be read, but may be in what cannot.
    Unknown(Damage),
}

/// A rebuilt table of ids, and the damage that may keep some ids out of it.
#[derive(Debug)]
pub(crate) struct Rebuilt {
    lines: Vec<(u64, u32)>,
    unreadable: Option<Damage>,
}

/// What searching one table found: the record, and damage in ids of the same hash.
type Looked = Result<(Option<u32>, Option<Damage>)>;

impl Segment {
    /// Looks for the record with this id, deleted or not.
    ///
    /// # Errors
    /// Only errors of the environment; damage is part of the result.
    pub(crate) fn lookup(&self, id: &str) -> Result<Lookup<u32>> {
        match &self.kind {
            SegmentKind::Sealed(_, Ok(sealed)) => sealed.lookup(id, self.records()),
            SegmentKind::Sealed(_, Err(damage)) => Ok(Lookup::Unknown(damage.clone())),
            SegmentKind::Memory(memory) => Ok(memory.find(id).map_or(Lookup::Absent, Lookup::At)),
        }
    }

    /// Returns the number of the record with this id, deleted or not.
    ///
    /// # Errors
    /// [`Error::Corrupt`](crate::Error::Corrupt) when it is not found, but damage may hide it.
    pub fn find(&self, id: &str) -> Result<Option<u32>> {
        match self.lookup(id)? {
            Lookup::At(record) => Ok(Some(record)),
            Lookup::Absent => Ok(None),
            Lookup::Unknown(damage) => Err(damage.error()),
        }
    }
}

/// Guesses from the hashes themselves before the range is simply halved.
const GUESSES: u32 = 12;
/// A range of at most this many lines is halved without guessing.
const CLOSE: u32 = 16;

/// Returns the first of `lines` lines, in ascending order of their hashes, whose hash is at least `hash`. Hashes are
/// spread evenly, so the place of one can be guessed: of a million lines about five are read instead of twenty, and
/// each is a miss of all caches.
fn first_line(hash: u64, lines: u32, line: impl Fn(u32) -> Result<u64>) -> Result<u32> {
    let (mut low, mut high) = (0, lines);
    let (mut least, mut most) = (0, u64::MAX);
    let mut guesses = 0;
    while low < high {
        let span = high - low;
        let middle = if span > CLOSE && guesses < GUESSES && least < most {
            guesses += 1;
            let part = u128::from(hash.saturating_sub(least)) * u128::from(span) / u128::from(most - least);
            low + (part as u32).min(span - 1)
        } else {
            low + span / 2
        };
        let found = line(middle)?;
        if found < hash { (low, least) = (middle + 1, found) } else { (high, most) = (middle, found) }
    }
    Ok(low)
}

impl Sealed {
    pub(crate) fn lookup(&self, id: &str, records: u32) -> Result<Lookup<u32>> {
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

    /// Looks an id up in a table of `lines` lines in order of their hashes. Also returns the damage in ids of the same
    /// hash. An error is damage of the table.
    fn search(&self, id: &str, lines: u32, line: impl Fn(u32) -> Result<(u64, u32)>) -> Looked {
        let hash = xxh3_64(id.as_bytes());
        let mut low = first_line(hash, lines, |n| Ok(line(n)?.0))?;
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

    /// Returns a table made of the ids that can be read; it is made only once.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn the_first_line_of_a_hash_is_found_in_few_looks_whatever_the_hashes() {
        let even: Vec<u64> = {
            let mut hashes: Vec<u64> = (0..100_000_u32).map(|n| xxh3_64(&n.to_le_bytes())).collect();
            hashes.sort_unstable();
            hashes
        };
        let skewed: Vec<u64> = (0..1_000).map(|n| n / 3).chain([u64::MAX - 1, u64::MAX, u64::MAX]).collect();
        for (hashes, most) in [(&even, 9.0), (&skewed, 30.0), (&Vec::new(), 0.0)] {
            let looks = Cell::new(0_u32);
            let line = |n: u32| {
                looks.set(looks.get() + 1);
                Ok(hashes[n as usize])
            };
            let asked = hashes.iter().flat_map(|hash| [hash.wrapping_sub(1), *hash, hash.wrapping_add(1)]);
            let mut count = 0;
            for hash in asked.chain([0, 1 << 63, u64::MAX]) {
                let found = first_line(hash, hashes.len() as u32, line).unwrap() as usize;
                assert_eq!(found, hashes.partition_point(|one| *one < hash), "{hash}");
                count += 1;
            }
            let mean = f64::from(looks.get()) / f64::from(count);
            assert!(mean <= most, "{mean} looks on average");
        }
    }
}
