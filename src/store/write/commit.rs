//! Commits, and waits for them to be durable.
//!
//! A commit is written while the writer's mutex is held, and waited for while it is not: the first thread that waits
//! syncs for all that have written by then (*group commit*). So there are two newest versions: the writer's, with
//! everything written, and the one that readers get, with everything that was acknowledged.

use super::publish::{Attempt, Stop};
use super::writer::{Writer, is_large, largest_frame};
use crate::error::{Error, Result};
use crate::store::options::Durability;
use crate::store::segment::Values;
use crate::store::shared::Shared;
use crate::store::version::Version;
use crate::store::version::change::{Change, Committed};
use crate::store::version::draft::Draft;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

impl Shared {
    /// Locks the writer, and checks that it may write.
    pub(crate) fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        let writer = self.unchecked_writer()?;
        writer.check()?;
        Ok(writer)
    }

    /// Locks the writer without that check, to end what was begun.
    pub(crate) fn unchecked_writer(&self) -> Result<MutexGuard<'_, Writer>> {
        match &self.writer {
            Some(writer) => Ok(writer.lock().unwrap_or_else(PoisonError::into_inner)),
            None => Err(Error::ReadOnly { path: self.files.root().to_path_buf() }),
        }
    }

    /// Turns a stop that happened outside of the mutex into the caller's error. A stop that poisons must be noted even
    /// if something else is wrong as well.
    pub(crate) fn stopped(&self, stop: Stop) -> Error {
        match self.unchecked_writer() {
            Ok(mut writer) => writer.stopped(stop),
            Err(error) => error,
        }
    }

    pub(crate) fn commit(&self, changes: Vec<Change>, durability: Durability) -> Result<Committed> {
        let mut writer = self.writer()?;
        if writer.is_full(2) {
            // Writing out has failed before; the log must not grow without end.
            self.write_out(&mut writer)?;
        }
        let newest = writer.newest.clone();
        let mut draft = Draft::new(&newest, writer.next_no);
        draft.seq += 1;
        draft.apply(changes, &writer.reserved)?;
        let (ids, deleted) = (std::mem::take(&mut draft.ids), std::mem::take(&mut draft.deleted));
        if draft.changed {
            draft.check_room(self.tuning.manifest_bytes, writer.left())?;
            writer.next_no = draft.next_no;
            let inline = draft.new_records().map(|(_, record)| &record.values);
            let inline: u64 =
                inline.filter(|values| !is_large(values, self.tuning.direct_bytes)).map(Values::length).sum();
            if newest.manifest.can_log(draft.structural) && inline <= largest_frame(&self.tuning) {
                let published = writer.append(draft).map_err(|stop| writer.stopped(stop))?;
                if let Some(version) = published {
                    self.acknowledge(version);
                }
            } else {
                self.publish(&mut writer, draft)?;
            }
        }
        let version = writer.newest.clone();
        match durability {
            Durability::Sync => writer = self.make_durable(writer, version.seq)?,
            Durability::Buffered => {
                self.replace(version.clone());
                let (since, bytes) = writer.waiting.unwrap_or((Instant::now(), 0));
                if bytes >= self.tuning.buffered_bytes || since.elapsed() >= self.tuning.buffered_for {
                    writer = self.make_durable(writer, version.seq)?;
                }
            }
        }
        if writer.is_full(1)
            && let Err(error) = self.write_out(&mut writer)
        {
            // The commit succeeded. The next flush tries again, and reports if it fails too.
            writer.trouble = Some(error.to_string());
        }
        Ok(Committed { version, ids, deleted })
    }

    /// Publishes everything that is in the log.
    fn write_out(&self, writer: &mut Writer) -> Result<()> {
        if !writer.has_log() {
            return Ok(());
        }
        let draft = Draft::new(&writer.newest, writer.next_no);
        self.publish(writer, draft)
    }

    /// Publishes everything, with the changes of the draft, and shows it to readers.
    pub(crate) fn publish(&self, writer: &mut Writer, draft: Draft) -> Result<()> {
        self.try_publish(writer, draft).map_err(|stop| writer.stopped(stop))
    }

    /// Does the same, for callers that must know why it stopped.
    pub(crate) fn try_publish(&self, writer: &mut Writer, draft: Draft) -> Attempt<()> {
        writer.publish(draft).map(|version| self.acknowledge(version))
    }

    /// Gives readers a version that is durable, and wakes the threads that wait for that.
    fn acknowledge(&self, version: Arc<Version>) {
        self.replace(version);
        self.synced.notify_all();
    }

    pub(crate) fn flush(&self) -> Result<()> {
        self.write_out(&mut *self.writer()?)
    }

    pub(crate) fn sync(&self) -> Result<()> {
        let writer = self.writer()?;
        let seq = writer.newest.seq;
        self.make_durable(writer, seq).map(drop)
    }

    /// Syncs commits that were only buffered and have waited long enough.
    pub(crate) fn sync_if_due(&self) -> Result<()> {
        let writer = self.writer()?;
        let due = writer.waiting.is_some_and(|(since, _)| since.elapsed() >= self.tuning.buffered_for);
        let seq = writer.newest.seq;
        if due { self.make_durable(writer, seq).map(drop) } else { Ok(()) }
    }

    /// Waits until commit `seq` is durable; if no other thread is syncing, syncs for all that have been written.
    fn make_durable<'a>(&'a self, mut writer: MutexGuard<'a, Writer>, seq: u64) -> Result<MutexGuard<'a, Writer>> {
        loop {
            if writer.durable >= seq {
                return Ok(writer);
            }
            if let Some(cause) = writer.poisoned.clone() {
                return Err(Error::OutcomeUnknown { path: self.files.root().to_path_buf(), cause });
            }
            let Some(mutex) = &self.writer else { return Ok(writer) };
            if writer.syncing {
                writer = self.synced.wait(writer).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            writer.syncing = true;
            let unsynced = writer.take_unsynced();
            drop(writer);
            let done = unsynced.sync(&self.files).and_then(|()| unsynced.is_named(&self.files));
            writer = mutex.lock().unwrap_or_else(PoisonError::into_inner);
            writer.syncing = false;
            self.synced.notify_all();
            match done {
                Ok(true) => {
                    writer.durable = writer.durable.max(unsynced.version.seq);
                    self.replace(unsynced.version);
                    writer.mark();
                }
                // A publish was faster, and the commits are in its files.
                Ok(false) if writer.durable >= unsynced.version.seq => {}
                // Somebody removed a file that holds the commits; they are written anew from memory.
                Ok(false) => {
                    let rescued = self.write_out(&mut writer);
                    rescued.map_err(|error| writer.stopped(Stop::Unknown(error)))?;
                    writer.trouble =
                        Some("a file of commits was removed by somebody: they were written anew".to_owned());
                }
                Err(error) => {
                    let error = writer.stopped(Stop::Unknown(error));
                    if writer.durable < seq {
                        return Err(error);
                    }
                }
            }
        }
    }
}
