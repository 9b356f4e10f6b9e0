//! Compaction: live records of segments that hold much that is deleted, or are small, move into new segments.
//!
//! The new segments are written from a pinned version while commits go on; only at the end, when one publish puts them in the
//! place of the old ones, the writer is held up. What was deleted meanwhile is deleted in the new segments too. A crash
//! leaves either the old ones, and files that nothing names, or the new ones.

use super::aside::{Aside, LARGEST};
use super::draft::Draft;
use super::fold;
use super::publish::{Step, Stop};
use super::segment::Segment;
use super::version::{CollectionVersion, SegmentRef, Version};
use super::{Compacted, Shared};
use crate::error::{Error, Result};
use roaring::RoaringBitmap;
use std::collections::HashSet;
use std::sync::Arc;

/// A segment is rewritten when more than this part of its bytes is of deleted records.
const DEAD_PART: f64 = 0.3;
/// Segments below this are joined.
const SMALL: u64 = 64 << 20;
/// Records copied between two questions whether to go on.
const PATIENCE: u32 = 16;
/// Bytes of deleted records in a segment, and small segments, that make it worth while unasked.
const MUCH: u64 = 1 << 20;
const MANY: usize = 8;

/// Who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Somebody said so: whatever can be gained is.
    Asked,
    /// There is enough to gain.
    Due,
}

/// Segments of one collection that become others.
#[derive(Debug)]
struct Job {
    collection: Arc<CollectionVersion>,
    parts: Vec<SegmentRef>,
}

/// How a job ended.
enum Rewritten {
    Whole,
    /// Early, because nobody wanted to go on.
    Stopped,
    /// The segments are no longer there.
    Overtaken,
    /// At a record that cannot be read, in this segment.
    Damaged([u8; 16]),
}

/// Whether so much is dead or small that it should be compacted unasked.
pub(super) fn is_due(version: &Version) -> bool {
    choose(version, &HashSet::new(), Reason::Due).is_some()
}

/// The next segments to rewrite: those with much dead, and small ones if there are several.
fn choose(version: &Version, left: &HashSet<[u8; 16]>, reason: Reason) -> Option<Job> {
    for collection in version.collections.values() {
        let usable = |part: &&SegmentRef| {
            part.segment.entry().is_some_and(|entry| !left.contains(&entry.uuid)) && !part.segment.is_suspect()
        };
        let usable: Vec<&SegmentRef> = collection.segments.iter().filter(usable).collect();
        let many = if reason == Reason::Due { MANY } else { 2 };
        let small = usable.iter().filter(|part| is_small(part)).count() >= many;
        let is_wasteful = |part: &SegmentRef| is_wasteful(part, reason);
        let (mut parts, mut bytes) = (Vec::new(), 0);
        for part in usable.into_iter().filter(|part| is_wasteful(part) || small && is_small(part)) {
            let weight = fold::weight(part).unwrap_or(0);
            if !parts.is_empty() && bytes + weight > LARGEST {
                break;
            }
            bytes += weight;
            parts.push(part.clone());
        }
        if parts.len() > 1 || parts.iter().any(is_wasteful) {
            return Some(Job { collection: collection.clone(), parts });
        }
    }
    None
}

fn is_small(part: &SegmentRef) -> bool {
    part.segment.entry().is_some_and(|entry| entry.file.bytes < SMALL)
}

fn is_wasteful(part: &SegmentRef, reason: Reason) -> bool {
    let Some(entry) = part.segment.entry() else { return false };
    let records = f64::from(entry.records);
    let dead = (records - part.live() as f64) / records;
    dead > DEAD_PART && (reason == Reason::Asked || entry.data_bytes as f64 * dead >= MUCH as f64)
}

impl Shared {
    /// Rewrites what is worth it until nothing is, or nobody wants to go on.
    pub(super) fn compact(
        self: &Arc<Shared>,
        keep_going: &(dyn Fn() -> bool + Sync),
        reason: Reason,
    ) -> Result<Compacted> {
        let mut done = Compacted::default();
        let mut left = HashSet::new();
        loop {
            drop(self.writer()?);
            if !keep_going() {
                return Ok(done);
            }
            let Some(job) = choose(&self.version(), &left, reason) else {
                return Ok(Compacted { finished: true, ..done });
            };
            let mut aside = Aside::new(self, &job.collection);
            match self.rewrite(&job, keep_going, &mut aside).map_err(|stop| self.settled(stop))? {
                Rewritten::Whole => {
                    let old = job.parts.iter().filter_map(|part| Some((part.segment.entry()?, part.saved())));
                    let freed = old.map(|(entry, set)| entry.file.bytes + set.map_or(0, |set| set.file.bytes));
                    done.segments += job.parts.len() as u64;
                    done.freed_bytes += freed.sum::<u64>();
                    done.written_bytes += aside.bytes();
                }
                // Another compaction was faster.
                Rewritten::Overtaken => {}
                Rewritten::Stopped => return Ok(done),
                Rewritten::Damaged(uuid) => drop(left.insert(uuid)),
            }
        }
    }

    /// Writes the live records of a job into new segments and puts these in the place of the old ones.
    fn rewrite(&self, job: &Job, keep_going: &(dyn Fn() -> bool + Sync), aside: &mut Aside) -> Step<Rewritten> {
        for part in &job.parts {
            for n in part.numbers()? {
                if n.is_multiple_of(PATIENCE) && !keep_going() {
                    return Ok(Rewritten::Stopped);
                }
                match part.segment.with_stored(n, |record| Ok(aside.push(record))) {
                    Ok(pushed) => pushed?,
                    Err(Error::Corrupt { .. } | Error::Io { operation: "read", .. }) => {
                        part.segment.mark_suspect();
                        return Ok(Rewritten::Damaged(part.segment.entry().map_or([0; 16], |entry| entry.uuid)));
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        let new = aside.finish()?;
        let done = self.exchange(job, new);
        aside.keep_unless(matches!(done, Ok(false) | Err(Stop::Refused(_))));
        Ok(if done? { Rewritten::Whole } else { Rewritten::Overtaken })
    }

    /// False when the old segments are no longer there.
    fn exchange(&self, job: &Job, new: Vec<Arc<Segment>>) -> Step<bool> {
        let mut writer = self.writer()?;
        let newest = writer.newest.clone();
        let Some(now) = newest.collections.of_number(job.collection.id) else {
            return Ok(false);
        };
        // Records that were deleted since: the k-th that was copied is the k-th of the new ones.
        let mut gone = vec![RoaringBitmap::new(); new.len()];
        let (mut copied, mut replaced) = (0, HashSet::new());
        for part in &job.parts {
            let Some(entry) = part.segment.entry() else { continue };
            let same = |other: &&SegmentRef| other.segment.entry().is_some_and(|other| other.uuid == entry.uuid);
            let Some(other) = now.segments.iter().find(same) else { return Ok(false) };
            replaced.insert(entry.uuid);
            for n in (&*other.deleted - &*part.deleted).iter() {
                let mut at = copied + u64::from(n) - part.deleted.rank(n);
                for (segment, gone) in new.iter().zip(&mut gone) {
                    if at < u64::from(segment.records()) {
                        gone.insert(at as u32);
                        break;
                    }
                    at -= u64::from(segment.records());
                }
            }
            copied += part.live();
        }
        let new = new.into_iter().zip(gone).map(|(segment, gone)| SegmentRef::new(segment, None, Arc::new(gone)));
        let mut draft = Draft::new(&newest, writer.next_no);
        draft.replace_segments(&now.name, &replaced, new.collect());
        writer.publish(self, draft)?;
        Ok(true)
    }
}
