//! The writer: puts commits into the log and into memory, and from time to time into files. `commit` decides when.

use super::gc;
use super::publish::{Attempt, Publisher, Stop, segment_about};
use crate::error::{Error, Result};
use crate::limits;
use crate::random::{unique, unique_bytes};
use crate::store::files::hold::Holding;
use crate::store::files::{File, Files, RESERVE, SEG};
use crate::store::format::container::Identity;
use crate::store::format::log::Log;
use crate::store::format::manifest::number_of;
use crate::store::options::{Access, Tuning};
use crate::store::segment::{Growing, OpenSegment, Values};
use crate::store::version::Version;
use crate::store::version::draft::Draft;
use crate::store::version::merge_policy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Bytes that a record in memory takes beside its id, fields and values, about: bounds the heap where these are tiny.
const RECORD_BYTES: u64 = 128;
/// Fewest bytes that a commit counts towards those at which the log is written out, so that whoever opens the database
/// has no more than 65,536 commits to follow.
const COMMIT_BYTES: u64 = 1 << 10;
/// A frame takes at most one of this many parts of a log.
const LARGE_PART: u64 = 8;
/// Most segments that are open at a time: each takes two descriptors, of which a process often has 1,024. Large
/// matrices of further collections go into the log.
const OPEN_SEGMENTS: usize = 64;

/// What a writer works with.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) files: Files,
    pub(crate) access: Access,
    pub(crate) tuning: Tuning,
}

/// State that only a writer has.
#[derive(Debug)]
pub(crate) struct Writer {
    environment: Environment,
    /// Held for as long as the store is open.
    _lock: File,
    /// A child after fork shares locks and files, but must not write.
    process: u32,
    /// The failure after which nothing more is written.
    pub(crate) poisoned: Option<String>,
    /// What went wrong beside the commits, which succeeded.
    pub(crate) trouble: Option<String>,
    /// An error that a background thread met; the next flush returns it.
    pub(crate) untold: Option<Error>,
    /// Everything written, acknowledged or not.
    pub(crate) newest: Arc<Version>,
    pub(crate) next_no: u64,
    log: Option<Log>,
    /// Bytes of all logs of this generation, and of what their records need in memory beside them.
    log_bytes: u64,
    /// Open segments, to which matrices are appended, by collection.
    open: BTreeMap<u64, OpenSegment>,
    /// Segments to which nothing more is appended, but in which commits that are not durable yet have matrices.
    closed: Vec<Arc<Growing>>,
    /// Names of segment files that the log of this generation names.
    direct: BTreeSet<String>,
    /// Numbers of files that are being written for a later publish.
    pub(crate) making: BTreeSet<u64>,
    /// By collection, a number above those that bulk loads have named: records numbered meanwhile must not get the
    /// same.
    pub(crate) reserved: BTreeMap<u64, u64>,
    /// The last commit that is durable.
    pub(crate) durable: u64,
    /// Since when commits wait for a sync, and how many bytes.
    pub(crate) waiting: Option<(Instant, u64)>,
    /// Whether new names wait for a sync too: in the database's directory, in that of the segments.
    new_names: (bool, bool),
    pub(crate) syncing: bool,
    has_reserve: bool,
}

impl Writer {
    pub(crate) fn new(
        environment: Environment,
        lock: File,
        newest: Arc<Version>,
        next_no: u64,
        direct: BTreeSet<String>,
    ) -> Writer {
        Writer {
            environment,
            _lock: lock,
            process: std::process::id(),
            poisoned: None,
            trouble: None,
            untold: None,
            durable: newest.seq,
            newest,
            next_no,
            log: None,
            log_bytes: 0,
            open: BTreeMap::new(),
            closed: Vec::new(),
            direct,
            making: BTreeSet::new(),
            reserved: BTreeMap::new(),
            waiting: None,
            new_names: (false, false),
            syncing: false,
            has_reserve: false,
        }
    }

    /// Fails when writing could do harm.
    pub(crate) fn check(&self) -> Result<()> {
        let files = &self.environment.files;
        let cause = match &self.poisoned {
            Some(cause) => cause.clone(),
            None if self.process != std::process::id() => "fork: this is a child of the process that opened it".into(),
            // Somebody else may hold a lock of that name by now, and two writers would undo each other's commits.
            None => return files.check_lock(),
        };
        Err(Error::Poisoned { path: files.root().to_path_buf(), cause })
    }

    /// Turns a stop into the caller's error, and remembers what follows from it.
    pub(crate) fn stopped(&mut self, stop: Stop) -> Error {
        match stop {
            Stop::Refused(error) => {
                if matches!(error, Error::DiskFull { .. }) {
                    self.release_reserve();
                }
                error
            }
            Stop::Poison(error) => {
                self.poisoned = Some(cause_of(&error));
                error
            }
            Stop::Unknown(error) => {
                let cause = cause_of(&error);
                self.poisoned = Some(cause.clone());
                Error::OutcomeUnknown { path: self.environment.files.root().to_path_buf(), cause }
            }
        }
    }

    /// Returns the next number for a file.
    pub(crate) fn number(&mut self) -> u64 {
        self.next_no += 1;
        self.next_no - 1
    }

    /// Returns whether there are commits that are in no sealed segment.
    pub(crate) fn has_log(&self) -> bool {
        self.log.is_some() || self.newest.segments().any(|part| part.segment.memory().is_some())
    }

    /// Returns the numbers of files that no manifest names and that are needed all the same.
    pub(crate) fn unnamed(&self) -> BTreeSet<u64> {
        let direct = self.direct.iter().filter_map(|name| number_of(name));
        self.making.iter().copied().chain(direct).collect()
    }

    /// Returns how many file names the next manifest keeps because the log of this generation names them.
    pub(crate) fn left(&self) -> usize {
        self.direct.len()
    }

    /// Returns whether the log or an open segment has `times` the size at which it is written out.
    pub(crate) fn is_full(&self, times: u64) -> bool {
        let tuning = &self.environment.tuning;
        let segments = |id: &u64| self.newest.collections.of_number(*id).map_or(0, |of| of.segments.len());
        let largest = |id| merge_policy::crowded(tuning.segment_bytes.saturating_mul(times), segments(id));
        self.log_bytes >= tuning.log_bytes.saturating_mul(times)
            || self.open.iter().any(|(id, open)| open.bytes() >= largest(id))
    }

    /// Appends a commit to the log, and its large matrices to open segments. Nothing is synced. A commit that turns out
    /// too large for the log is published instead; then its version is returned.
    pub(crate) fn append(&mut self, mut draft: Draft) -> Attempt<Option<Arc<Version>>> {
        self.append_matrices(&mut draft)?;
        let payload = draft.payload()?;
        if payload.len() as u64 > largest_frame(&self.environment.tuning) {
            return self.publish(draft).map(Some);
        }
        if self.log.as_ref().is_none_or(Log::is_broken) {
            self.begin_log()?;
        }
        let Some(log) = &mut self.log else { return Ok(None) };
        let before = log.bytes();
        match log.commit(draft.seq, self.durable, &payload) {
            Ok(()) => {}
            // Part of the frame may be there, but nothing will ever follow it in this file.
            Err(error @ Error::DiskFull { .. }) => return Err(Stop::Refused(error)),
            Err(error) => return Err(Stop::Unknown(error)),
        }
        let bytes = log.bytes() - before;
        // Dropped collections take their space until the log is written out.
        let counted = bytes + draft.new_records().count() as u64 * RECORD_BYTES + draft.dropped_bytes;
        self.log_bytes += counted.max(COMMIT_BYTES);
        self.wait_for_sync(bytes);
        draft.dropped.iter().for_each(|id| self.close_segment(*id));
        let root = self.environment.files.root();
        self.newest = Arc::new(self.newest.with(draft.seq, draft.finish(root)));
        Ok(None)
    }

    /// Writes large matrices of a draft to the open segments of their collections, and their places into the draft.
    /// After an error nothing more goes into that file, because its end is unknown; what it holds stays there.
    fn append_matrices(&mut self, draft: &mut Draft) -> Attempt<()> {
        let least = self.environment.tuning.direct_bytes;
        let large = draft.new_records().filter(|(_, record)| is_large(&record.values, least));
        let large: BTreeSet<u64> = large.map(|(id, _)| id).collect();
        for id in &large {
            if self.open.len() < OPEN_SEGMENTS {
                self.open_segment(draft, *id)?;
            }
        }
        let mut written = 0;
        for (id, record) in draft.new_records().filter(|(_, record)| is_large(&record.values, least)) {
            let Some(open) = self.open.get_mut(&id) else { continue };
            let body = record.values.bytes().and_then(|bytes| open.append(&bytes));
            let body = body.inspect_err(|_| self.close_segment(id))?;
            written += body.bytes();
            record.values = Values::Direct(Box::new(body));
        }
        for id in &large {
            let Some(open) = self.open.get_mut(id) else { continue };
            open.flush().inspect_err(|_| self.close_segment(*id))?;
        }
        if written > 0 {
            self.wait_for_sync(written);
        }
        Ok(())
    }

    /// Makes sure that a collection has an open segment, to which matrices can be appended.
    fn open_segment(&mut self, draft: &Draft, id: u64) -> Attempt<()> {
        let Some(collection) = draft.collection_of(id).filter(|_| !self.open.contains_key(&id)) else { return Ok(()) };
        self.newest.check_place(&self.environment.files)?;
        let name = (self.number(), unique());
        let database = self.newest.manifest.database;
        let identity = Identity { database, file: unique_bytes(), ..Identity::default() };
        let open = OpenSegment::create(
            &self.environment.files,
            self.environment.access,
            name,
            identity,
            &segment_about(collection),
        )?;
        self.direct.insert(open.growing().name());
        self.new_names.1 = true;
        self.open.insert(id, open);
        Ok(())
    }

    /// Closes the open segment of a collection: nothing more is appended to it. What it holds is still synced with the
    /// next commit: a commit whose matrices are lost would take all later ones with it.
    fn close_segment(&mut self, id: u64) {
        self.closed.extend(self.open.remove(&id).and_then(|mut open| open.take_dirty()));
    }

    /// Notes that so many more bytes wait for a sync.
    fn wait_for_sync(&mut self, bytes: u64) {
        let (since, waiting) = self.waiting.unwrap_or_else(|| (Instant::now(), 0));
        self.waiting = Some((since, waiting + bytes));
    }

    /// Begins a log; if there is one in which a write failed, the new one continues it.
    fn begin_log(&mut self) -> Attempt<()> {
        let files = self.environment.files.clone();
        if let Some(broken) = &self.log {
            // The new log may become durable at once, so nothing before it may be missing.
            broken.file().sync().map_err(Stop::Poison)?;
            files.sync_dir("").map_err(Stop::Poison)?;
        }
        self.newest.check_place(&files)?;
        let number = self.number();
        let log = Log::create(&files, &self.newest.manifest.database, number, self.log.as_ref())?;
        self.log = Some(log);
        self.new_names.0 = true;
        Ok(())
    }

    /// Publishes everything in the log and in the draft. Returns the version that this makes.
    pub(crate) fn publish(&mut self, mut draft: Draft) -> Attempt<Arc<Version>> {
        let files = self.environment.files.clone();
        // Segments that were opened since the draft was begun have taken numbers too.
        draft.next_no = draft.next_no.max(self.next_no);
        let newest = self.newest.clone();
        newest.check_place(&files)?;
        // If the log's file was removed, nothing is lost, because memory has what it held; if it was replaced, the new
        // one is another's.
        if let Some(file) = self.log.as_ref().map(Log::file)
            && files.holding(file.name(), file)? == Holding::Other
        {
            return Err(Stop::Poison(files.lost(file.name(), true)));
        }
        // Whether or not the publish succeeds, nothing more is appended to these files. Until it has succeeded the log
        // counts, and a sync must reach the matrices it names in them. What is in a file that lost its name is written
        // anew.
        let mut open = std::mem::take(&mut self.open);
        self.closed.extend(open.values_mut().filter_map(OpenSegment::take_dirty));
        open.retain(|_, open| {
            let file = open.growing().file();
            matches!(files.holding(file.name(), file), Ok(Holding::Same))
        });
        let done = Publisher::new(&files, self.environment.access, &newest, open, &self.direct).run(draft)?;
        let before = newest.manifest.clone();
        self.newest = Arc::new(done.version);
        self.next_no = done.next_no;
        self.durable = self.newest.seq;
        (self.log, self.log_bytes, self.waiting, self.new_names) = (None, 0, None, (false, false));
        self.direct.clear();
        self.closed.clear();
        let manifest = &self.newest.manifest;
        let swept = gc::sweep(&files, manifest, &[&before], gc::Round::Publish, &self.making);
        self.trouble = done.retired.and(swept).err().map(|error| error.to_string());
        self.make_reserve();
        Ok(self.newest.clone())
    }

    /// Appends a mark, by which the log says that its last frame is durable, so that rot in it can be told from a tear.
    /// Nothing else needs it, so a failure costs a new log and no more.
    pub(crate) fn mark(&mut self) {
        if self.durable == self.newest.seq
            && let Some(log) = self.log.as_mut().filter(|log| !log.is_broken())
        {
            let _ = log.mark(self.newest.seq);
        }
    }

    /// Returns the files and directories that wait for a sync, and the version that is durable after it.
    pub(crate) fn take_unsynced(&mut self) -> Unsynced {
        self.waiting = None;
        let grown = self.open.values_mut().filter_map(OpenSegment::take_dirty);
        Unsynced {
            log: self.log.as_ref().map(|log| log.file().clone()),
            segments: std::mem::take(&mut self.closed).into_iter().chain(grown).collect(),
            new_names: std::mem::take(&mut self.new_names),
            version: self.newest.clone(),
        }
    }

    fn release_reserve(&mut self) {
        if std::mem::take(&mut self.has_reserve) {
            let _ = self.environment.files.remove(RESERVE);
        }
    }

    /// Makes the file that is removed when the disk is full. If there is no room for it, there is none.
    pub(crate) fn make_reserve(&mut self) {
        let Environment { files, tuning, .. } = &self.environment;
        if self.has_reserve || tuning.reserve_bytes == 0 {
            return;
        }
        self.has_reserve = match files.reserve(tuning.reserve_bytes) {
            Ok(()) => true,
            Err(_) => {
                let _ = files.remove(RESERVE);
                false
            }
        };
    }
}

fn cause_of(error: &Error) -> String {
    match error {
        Error::Poisoned { cause, .. } => cause.clone(),
        other => other.to_string(),
    }
}

/// What a sync must make durable.
pub(crate) struct Unsynced {
    log: Option<Arc<File>>,
    segments: Vec<Arc<Growing>>,
    new_names: (bool, bool),
    pub(crate) version: Arc<Version>,
}

impl Unsynced {
    pub(crate) fn sync(&self, files: &Files) -> Result<()> {
        let log = self.log.iter().map(|log| &**log);
        let all: Vec<&File> = self.segments.iter().map(|growing| growing.file()).chain(log).collect();
        files.sync_files(&all)?;
        if self.new_names.1 {
            files.sync_dir(SEG)?;
        }
        if self.new_names.0 {
            files.sync_dir("")?;
        }
        Ok(())
    }

    /// Returns whether the synced files still have their names, so that they will be found again.
    pub(crate) fn is_named(&self, files: &Files) -> Result<bool> {
        if !self.segments.is_empty() {
            files.check_dirs()?;
        }
        let all = self.segments.iter().map(|growing| growing.file()).chain(self.log.iter().map(|log| &**log));
        for file in all {
            if files.holding(file.name(), file)? != Holding::Same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns the longest frame in bytes; commits that would need longer ones are written as segments at once.
pub(crate) fn largest_frame(tuning: &Tuning) -> u64 {
    (tuning.log_bytes / LARGE_PART).min(limits::FRAME_BYTES)
}

/// Returns whether a matrix is so large that it bypasses the log.
pub(crate) fn is_large(values: &Values, direct_bytes: u64) -> bool {
    values.length() >= direct_bytes.max(1)
}
