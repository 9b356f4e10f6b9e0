//! Follows a log from a manifest on, through all of its files, even while another process appends to it.

use super::frames::{Frames, Head};
use super::operation::{self, Operation};
use super::{START, name_of, number_of, salt};
use crate::error::{Error, Result};
use crate::store::files::{File, Files};
use crate::store::format::damage::Damage;
use crate::store::layout::{self, Sixteen, frame_kind, log_header};
use std::path::PathBuf;

/// The position of a reader in a log.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    database: Sixteen,
    /// Number of the first log of the generation; there may be none of that number.
    first: u64,
    /// Number of the current file and offset in it; none before the first was seen.
    place: Option<(u64, u64)>,
    /// Numbers of the files before that one, and where each ends.
    before: Vec<(u64, u64)>,
    chain: u64,
    /// The last commit that was read.
    seq: u64,
    /// The last commit that a frame said was durable.
    pub(crate) durable: u64,
}

/// A commit as a log holds it.
#[derive(Debug)]
pub(crate) struct Commit {
    pub seq: u64,
    pub path: PathBuf,
    /// Where its frame begins.
    pub offset: u64,
    payload: Vec<u8>,
}

impl Commit {
    /// Returns its operations.
    pub(crate) fn operations(&self) -> Result<Vec<Operation<'_>>> {
        operation::read(&self.payload).map_err(|what| self.corrupt(what))
    }

    pub(crate) fn corrupt(&self, what: &str) -> Error {
        Error::corrupt(&self.path, self.offset, format!("commit {}: {what}", self.seq))
    }
}

impl Cursor {
    /// Starts before the first commit after a manifest whose last commit is `last_seq` and whose first log would be
    /// `first`.
    pub(crate) fn new(database: Sixteen, first: u64, last_seq: u64) -> Cursor {
        Cursor { database, first, place: None, before: Vec::new(), chain: START, seq: last_seq, durable: last_seq }
    }

    /// Returns the numbers of the logs that belong to a generation beginning with `first`, ascending.
    pub(crate) fn logs(files: &Files, first: u64) -> Result<Vec<u64>> {
        let numbers = files.list("")?;
        Ok(numbers.iter().filter_map(|name| number_of(name)).filter(|number| *number >= first).collect())
    }

    /// Returns the numbers of the logs that were read, and how many bytes of each hold commits.
    pub(crate) fn extent(&self) -> impl Iterator<Item = (u64, u64)> {
        self.before.iter().copied().chain(self.place)
    }

    /// Reads the commits that were added since, in order. A frame at the end that a crash tore is no commit; a frame
    /// that was durable once and is no longer whole is damage.
    pub(crate) fn read(&mut self, files: &Files) -> Result<Vec<Commit>> {
        let mut commits = Vec::new();
        loop {
            // Listed before the frames are read: a log that exists by then begins where this one ended.
            let logs = Cursor::logs(files, self.first)?;
            let next: Vec<u64> =
                logs.into_iter().filter(|number| self.place.is_none_or(|(at, _)| *number > at)).collect();
            if let Some((number, _)) = self.place {
                self.read_file(files, number, &mut commits)?;
            }
            let mut entered = false;
            for number in next {
                // The making of a log may have failed, so that it was given up for the next one.
                entered = self.enter(files, number)?;
                if entered {
                    break;
                }
            }
            if !entered {
                return Ok(commits);
            }
        }
    }

    /// Goes on to another log; returns false if the making of that one failed.
    fn enter(&mut self, files: &Files, number: u64) -> Result<bool> {
        let file = files.open(&name_of(number))?;
        let length = file.bytes()?;
        let mut head = [0; log_header::BYTES];
        if length >= head.len() as u64 {
            file.read_exact_at(&mut head, 0)?;
        }
        let sums = log_header::CRC.number(&head) == u64::from(crc32fast::hash(&head[..log_header::CRC.offset]));
        if !sums || log_header::MAGIC.of(&head) != layout::LOG_MAGIC {
            // Only later frames say that commits were durable, so without any the log was never used.
            return match self.vouched(&file, number, head.len() as u64)? {
                true => Err(Error::corrupt(file.path(), 0, "the header of this log is damaged")),
                false => Ok(false),
            };
        }
        layout::check_version(file.path(), log_header::MAJOR.number(&head), 0)?;
        let wrong = |field: layout::Field, what: &str| Err(Error::corrupt(file.path(), field.offset as u64, what));
        if log_header::DATABASE.of(&head) != self.database || log_header::NUMBER.number(&head) != number {
            return wrong(log_header::DATABASE, "a log of another database or another number");
        }
        if log_header::CHAIN.number(&head) != self.chain {
            return wrong(log_header::CHAIN, "this log does not go on where the one before ends: commits are missing");
        }
        self.before.extend(self.place.replace((number, log_header::BYTES as u64)));
        Ok(true)
    }

    fn read_file(&mut self, files: &Files, number: u64, commits: &mut Vec<Commit>) -> Result<()> {
        let file = files.open(&name_of(number))?;
        let salt = salt(&self.database, number);
        let Some((_, mut at)) = self.place else { return Ok(()) };
        let mut frames = Frames::new(&file, salt)?;
        loop {
            let (head, payload) = match self.follow(&mut frames, at)? {
                Some(frame) => frame,
                // Beside a writer the frame may have been half written when it was read and whole a moment later, so a
                // frame that a later one says was durable is read once more.
                None if self.vouched(&file, number, at)? => {
                    frames = Frames::new(&file, salt)?;
                    match self.follow(&mut frames, at)? {
                        Some(frame) => frame,
                        None => {
                            let what = format!("commit {} was durable and is damaged", self.seq + 1);
                            return Err(Error::corrupt(file.path(), at, what));
                        }
                    }
                }
                None => return Ok(()),
            };
            self.chain = head.sum;
            self.seq = head.seq;
            self.durable = self.durable.max(head.durable);
            if head.kind == frame_kind::COMMIT {
                commits.push(Commit { seq: head.seq, path: file.path().to_path_buf(), offset: at, payload });
            }
            at += head.bytes();
            self.place = Some((number, at));
        }
    }

    /// Returns the frame at `at` and its payload, if it is whole and follows the last one.
    fn follow(&self, frames: &mut Frames<'_>, at: u64) -> Result<Option<(Head, Vec<u8>)>> {
        let fits = |head: &Head| {
            let next = match head.kind {
                frame_kind::COMMIT => head.seq == self.seq + 1,
                frame_kind::MARK => head.seq == self.seq,
                _ => false,
            };
            next && head.chain == self.chain && head.durable <= head.seq
        };
        Ok(frames.at(at)?.filter(|(head, _)| fits(head)))
    }

    /// Returns whether a whole frame from `at` on says that the commit after the last one read was durable.
    fn vouched(&self, file: &File, number: u64, at: u64) -> Result<bool> {
        let mut frames = Frames::new(file, salt(&self.database, number))?;
        Ok(frames.find(at, |head| head.durable > self.seq)?.is_some())
    }
}

/// Reads what can be saved of a log after commit `seq`, for repair: its whole frames, whatever lies between them. If
/// frames are missing that a later one says were durable, that is damage, and the later ones count; otherwise the log
/// ends there.
pub(crate) fn salvage(
    files: &Files,
    database: &Sixteen,
    number: u64,
    seq: &mut u64,
) -> Result<(Vec<Commit>, Option<Error>)> {
    let file = files.open(&name_of(number))?;
    let mut frames = Frames::new(&file, salt(database, number))?;
    let (mut at, mut found, mut damage) = (log_header::BYTES as u64, Vec::new(), None);
    loop {
        let frame = match frames.find(at, |_| true) {
            Ok(Some((start, _))) => frames.at(start)?.map(|(head, payload)| (start, head, payload)),
            Ok(None) => None,
            // What was found before the error counts.
            Err(error) => {
                damage = Some(Damage::try_from(error)?.error());
                None
            }
        };
        let Some(frame) = frame else { break };
        at = frame.0 + frame.1.bytes();
        found.push(frame);
    }
    let durable = found.iter().map(|(_, frame, _)| frame.durable).max().unwrap_or(0);
    let mut commits = Vec::new();
    for (offset, frame, payload) in found {
        if frame.kind != frame_kind::COMMIT || frame.seq <= *seq {
            continue;
        }
        if frame.seq != *seq + 1 {
            if durable <= *seq {
                break;
            }
            let what = format!("commits {} to {} are damaged", *seq + 1, frame.seq - 1);
            damage = damage.or(Some(Error::corrupt(file.path(), offset, what)));
        }
        *seq = frame.seq;
        commits.push(Commit { seq: frame.seq, path: file.path().to_path_buf(), offset, payload });
    }
    if damage.is_none() && durable > *seq {
        damage = Some(Error::corrupt(file.path(), None, format!("commits {} to {durable} are damaged", *seq + 1)));
    }
    Ok((commits, damage))
}
