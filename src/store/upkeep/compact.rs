//! Compaction: moves the live records of segments that hold many deleted ones, or are small, into new segments.
//!
//! The new segments are written from a pinned version while commits go on; the writer is held up only at the end, when
//! one publish puts them in the place of the old ones. What was deleted meanwhile is deleted in the new segments too. A
//! crash leaves either the old ones, and files that nothing names, or the new ones. Segments of many collections go
//! with one publish. In the end a compaction that was asked for removes the manifests before the newest, so that the
//! space is free at once.
//!
//! It always ends: joining makes fewer segments, rewriting leaves dead records behind, and what is committed after it
//! began is left to the next compaction.

use crate::error::{Error, Result};
use crate::store::files::SEG;
use crate::store::format::manifest::SegmentEntry;
use crate::store::options::Tuning;
use crate::store::segment::Segment;
use crate::store::shared::Shared;
use crate::store::version::draft::Draft;
use crate::store::version::merge_policy;
use crate::store::version::{self, CollectionVersion, SegmentRef, Version};
use crate::store::write::gc;
use crate::store::write::publish::{Attempt, Stop};
use crate::store::write::staged_segments::{LARGEST, StagedSegments};
use roaring::RoaringBitmap;
use std::collections::HashSet;
use std::sync::Arc;

/// What a compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// Segments that were rewritten.
    pub segments: u64,
    /// Segments that were removed without being rewritten: nothing in them was live any more.
    pub removed: u64,
    /// Bytes of the segments that were written.
    pub written_bytes: u64,
    /// Bytes of segments and delete sets that are no longer needed, once nobody has them pinned.
    pub freed_bytes: u64,
    /// Whether it ran to its end and was not stopped before.
    pub finished: bool,
    /// Segments with deleted records that were left as they are, because a record in them cannot be read.
    pub damaged: u64,
    /// Older generations that readers have pinned: their files are removed when they are released and something is
    /// written next.
    pub pinned: u64,
}

/// A segment is rewritten when more than this share of its records is deleted.
const DEAD_PART: f64 = 0.3;
/// Segments whose files have fewer bytes are joined, if their tables are small too.
const SMALL: u64 = LARGEST / 16;
/// Tables are small if this many such ones do not yet end a segment, so that any two or more segments become fewer. A
/// segment that is full of tables is as large as one gets, however small its file is.
const SMALL_TABLES: u64 = 2;
/// Records copied between two calls of `keep_going`.
const PATIENCE: u32 = 16;
/// Bytes of deleted records in a segment, and number of small segments, from which on a compaction runs unasked.
const MUCH: u64 = 1 << 20;
const MANY: usize = 8;
/// Most collections whose segments are replaced in one publish: each has some bytes in memory until then.
const JOBS: usize = 1_024;

/// Why a compaction runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Somebody demands that nothing deleted or replaced is left.
    Forced,
    /// Somebody asked for it, so it runs even if there is little to gain.
    Asked,
    /// There is enough to gain, though nobody asked.
    Due,
}

/// Segments of one collection that are rewritten together.
#[derive(Debug)]
struct Job {
    collection: Arc<CollectionVersion>,
    parts: Vec<SegmentRef>,
}

/// What is known of segments, by their identities.
#[derive(Debug)]
struct Known {
    /// The last commit that counts. Segments with later ones are left to the next compaction: otherwise this one would
    /// not end while somebody commits.
    until: u64,
    /// Segments in which a record cannot be read, so they stay as they are.
    damaged: HashSet<[u8; 16]>,
    /// Segments with matrices that no record names.
    strays: HashSet<[u8; 16]>,
    /// Names of the files that were rewritten.
    rewritten: HashSet<String>,
}

impl Known {
    fn new(until: u64) -> Known {
        Known { until, damaged: HashSet::new(), strays: HashSet::new(), rewritten: HashSet::new() }
    }
}

/// The result of a round.
struct Round {
    /// Whether all jobs were written, without being stopped.
    whole: bool,
    /// Whether there are fewer segments or fewer dead records, or somebody else has changed the segments.
    gained: bool,
}

/// How the writing of a job ended.
enum Rewritten {
    Whole,
    /// Early, because `keep_going` returned false.
    Stopped,
    /// At a record that cannot be read, in this segment.
    Damaged([u8; 16]),
}

/// Returns whether so much is dead or small that it should be compacted unasked.
pub(crate) fn is_due(version: &Version, tuning: &Tuning) -> bool {
    !choose(version, tuning, &Known::new(u64::MAX), Reason::Due, 1).is_empty()
}

/// Chooses the next segments to rewrite, of at most `most` collections: those with much dead, and small ones if there
/// are several.
fn choose(version: &Version, tuning: &Tuning, known: &Known, reason: Reason, most: usize) -> Vec<Job> {
    let (mut jobs, mut total) = (Vec::new(), 0);
    for collection in version.collections.values() {
        if jobs.len() >= most || total >= LARGEST {
            break;
        }
        let usable = |part: &&SegmentRef| {
            let known = |entry: &SegmentEntry| entry.max_seq <= known.until && !known.damaged.contains(&entry.uuid);
            part.segment.entry().is_some_and(known) && !part.segment.is_suspect()
        };
        let usable: Vec<&SegmentRef> = collection.segments.iter().filter(usable).collect();
        let many = if reason == Reason::Due { MANY } else { 2 };
        let is_small = |part: &SegmentRef| is_small(part, tuning);
        let small = usable.iter().filter(|part| is_small(part)).count() >= many;
        let is_wasteful = |part: &SegmentRef| is_wasteful(part, known, reason);
        let (mut parts, mut bytes) = (Vec::new(), 0);
        for part in usable.into_iter().filter(|part| is_wasteful(part) || small && is_small(part)) {
            let weight = merge_policy::weight(part).unwrap_or(0);
            if !parts.is_empty() && bytes + weight > LARGEST {
                break;
            }
            bytes += weight;
            parts.push(part.clone());
        }
        if parts.len() > 1 || parts.iter().any(is_wasteful) {
            total += bytes;
            jobs.push(Job { collection: collection.clone(), parts });
        }
    }
    jobs
}

fn is_small(part: &SegmentRef, tuning: &Tuning) -> bool {
    let tables = part.segment.table_bytes();
    tables < tuning.table_bytes / SMALL_TABLES && part.segment.entry().is_some_and(|entry| entry.file.bytes < SMALL)
}

fn is_wasteful(part: &SegmentRef, known: &Known, reason: Reason) -> bool {
    let Some(entry) = part.segment.entry() else { return false };
    if reason == Reason::Forced && (!part.deleted.is_empty() || known.strays.contains(&entry.uuid)) {
        return true;
    }
    let records = f64::from(entry.records);
    let dead = (records - part.live() as f64) / records;
    dead > DEAD_PART && (reason != Reason::Due || entry.data_bytes as f64 * dead >= MUCH as f64)
}

impl Shared {
    /// Rewrites segments until nothing is worth it any more, or `keep_going` returns false.
    pub(crate) fn compact(
        self: &Arc<Shared>,
        keep_going: &(dyn Fn() -> bool + Sync),
        reason: Reason,
    ) -> Result<Compacted> {
        if reason == Reason::Forced {
            // Matrices that a log names are in open segments, which are sealed by this.
            self.flush()?;
        }
        let (mut done, mut known) = (Compacted::default(), Known::new(self.version().seq));
        if reason == Reason::Forced {
            self.look_for_strays(&mut known)?;
        }
        done.finished = loop {
            drop(self.writer()?);
            if !keep_going() {
                break false;
            }
            let jobs = choose(&self.version(), &self.tuning, &known, reason, JOBS);
            if jobs.is_empty() {
                break true;
            }
            let round = self.rewrite_all(jobs, keep_going, &mut known, &mut done)?;
            if !round.whole || !round.gained {
                break round.whole;
            }
        };
        if reason != Reason::Due {
            done.pinned = self.reclaim(reason, &known, &mut done)?;
            let version = self.version();
            let kept = |part: &&SegmentRef| !part.deleted.is_empty() && part.segment.is_suspect();
            done.damaged = version.segments().filter(kept).count() as u64;
        }
        Ok(done)
    }

    /// Writes new segments for all jobs and exchanges them in one publish.
    fn rewrite_all(
        self: &Arc<Shared>,
        jobs: Vec<Job>,
        keep_going: &(dyn Fn() -> bool + Sync),
        known: &mut Known,
        done: &mut Compacted,
    ) -> Result<Round> {
        let (mut written, mut round) = (Vec::new(), Round { whole: true, gained: false });
        for job in jobs {
            let mut staged = StagedSegments::new(self, &job.collection);
            match rewrite(&job, keep_going, &mut staged).map_err(|stop| self.stopped(stop))? {
                Rewritten::Whole => written.push((job, staged)),
                Rewritten::Damaged(uuid) => round.gained |= known.damaged.insert(uuid),
                Rewritten::Stopped => {
                    round.whole = false;
                    break;
                }
            }
        }
        let exchanged = self.exchange(&mut written).map_err(|stop| self.stopped(stop))?;
        for ((job, staged), exchanged) in written.iter().zip(exchanged) {
            if !exchanged {
                // A publish or another compaction has changed the old segments first.
                round.gained = true;
                continue;
            }
            for part in &job.parts {
                let Some(entry) = part.segment.entry() else { continue };
                round.gained |= !part.deleted.is_empty() || known.strays.contains(&entry.uuid);
                done.freed_bytes += entry.file.bytes + part.saved().map_or(0, |set| set.file.bytes);
                known.rewritten.insert(entry.file.name.clone());
            }
            round.gained |= staged.segments() < job.parts.len();
            done.segments += job.parts.len() as u64;
            done.written_bytes += staged.bytes();
        }
        Ok(round)
    }

    /// Puts new segments in the place of the old ones, and returns for which jobs that was done: not where the old ones
    /// no longer exist.
    fn exchange(&self, written: &mut [(Job, StagedSegments)]) -> Attempt<Vec<bool>> {
        if written.is_empty() {
            return Ok(Vec::new());
        }
        self.files.sync_dir(SEG).map_err(Stop::Poison)?;
        let mut new = Vec::new();
        for (_, staged) in written.iter() {
            new.push(staged.read_back()?);
        }
        let mut writer = self.writer()?;
        let newest = writer.newest.clone();
        let mut draft = Draft::new(&newest, writer.next_no);
        let mut exchanged = Vec::new();
        for ((job, _), new) in written.iter().zip(new) {
            let now = newest.collections.of_number(job.collection.id);
            let replaced = now.and_then(|now| Some((now, replacement(job, now, new)?)));
            exchanged.push(replaced.is_some());
            if let Some((now, (old, new))) = replaced {
                draft.replace_segments(&now.name, &old, new);
            }
        }
        if !exchanged.contains(&true) {
            return Ok(exchanged);
        }
        let done = self.try_publish(&mut writer, draft);
        let refused = matches!(done, Err(Stop::Refused(_)));
        for ((_, staged), exchanged) in written.iter_mut().zip(&exchanged) {
            staged.keep_unless(refused || !exchanged);
        }
        done.map(|()| exchanged)
    }

    /// Notes which segments hold matrices that no record names: those of failed commits, and of records that were
    /// replaced before their segment was sealed.
    fn look_for_strays(&self, known: &mut Known) -> Result<()> {
        for part in self.version().segments() {
            let Some(entry) = part.segment.entry() else { continue };
            match part.segment.has_strays() {
                Ok(true) => drop(known.strays.insert(entry.uuid)),
                Ok(false) => {}
                Err(Error::Corrupt { .. } | Error::Version { .. } | Error::Io { operation: "read", .. }) => {
                    part.segment.mark_suspect();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes every manifest that nobody has pinned, except the newest, and the files that only they need. Returns how
    /// many are pinned.
    fn reclaim(&self, reason: Reason, known: &Known, done: &mut Compacted) -> Result<u64> {
        let mut writer = self.writer()?;
        let files = &self.files;
        // The files to be removed must be this writer's own.
        let newest = writer.newest.clone();
        newest.check_place(files).map_err(|error| writer.stopped(Stop::from(error)))?;
        let before = files.list_if_there(SEG);
        let retired = gc::retire(files, 1);
        files.sync_dir("").map_err(|error| writer.stopped(Stop::Poison(error)))?;
        let swept = gc::sweep(files, &writer.newest.manifest, &[], gc::Round::Publish, &writer.unnamed());
        if let (Ok(before), Ok(after)) = (before, files.list_if_there(SEG)) {
            let went = |name: &&String| after.binary_search(name).is_err() && !known.rewritten.contains(*name);
            done.removed += before.iter().filter(|name| name.ends_with(".oseg")).filter(went).count() as u64;
        }
        match retired.and(swept) {
            Err(error) if reason == Reason::Forced => return Err(error),
            removed => writer.trouble = removed.err().map(|error| error.to_string()),
        }
        Ok(version::generations(files)?.len() as u64 - 1)
    }
}

/// Writes the live records of a job into new segments.
fn rewrite(job: &Job, keep_going: &(dyn Fn() -> bool + Sync), staged: &mut StagedSegments) -> Attempt<Rewritten> {
    for part in &job.parts {
        let damaged = || Rewritten::Damaged(part.segment.entry().map_or([0; 16], |entry| entry.uuid));
        let Ok(numbers) = part.numbers() else { return Ok(damaged()) };
        for n in numbers {
            if n.is_multiple_of(PATIENCE) && !keep_going() {
                return Ok(Rewritten::Stopped);
            }
            match part.segment.with_stored(n, |record| Ok(staged.push(record))) {
                Ok(pushed) => pushed?,
                Err(Error::Corrupt { .. } | Error::Io { operation: "read", .. }) => {
                    part.segment.mark_suspect();
                    return Ok(damaged());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    staged.seal()?;
    Ok(Rewritten::Whole)
}

/// Returns the identities of the old segments and their replacements; none when not all of the old ones still exist.
fn replacement(
    job: &Job,
    now: &CollectionVersion,
    new: Vec<Arc<Segment>>,
) -> Option<(HashSet<[u8; 16]>, Vec<SegmentRef>)> {
    // Finds records that were deleted since: the k-th that was copied is the k-th of the new ones.
    let mut gone = vec![RoaringBitmap::new(); new.len()];
    let (mut copied, mut replaced) = (0, HashSet::new());
    for part in &job.parts {
        let Some(entry) = part.segment.entry() else { continue };
        let same = |other: &&SegmentRef| other.segment.entry().is_some_and(|other| other.uuid == entry.uuid);
        let other = now.segments.iter().find(same)?;
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
    Some((replaced, new.collect()))
}
