//! One address to one file, across interruptions.

use super::client::{Client, Fault, Reply, Retries, number, text};
use super::{Checksum, Progress};
use crate::error::{Error, Result};
use crate::outside;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use ureq::http::Method;

/// When a download gets this many bytes further, the failures counted so far are forgotten.
const STEP: u64 = 1 << 20;

/// Longest ETag that is kept.
const TAG_BYTES: u64 = 1_024;

/// The slowest that a download may be; one that is slower counts as dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Fewest bytes that must come in each stretch of time.
    pub bytes: u64,
    /// Length of the stretch.
    pub within: Duration,
}

impl Default for Pace {
    /// 1 KiB a second, measured over a minute.
    fn default() -> Pace {
        Pace { bytes: 60 << 10, within: Duration::from_secs(60) }
    }
}

/// Describes a file to be fetched; [`Download::run`] fetches it. An older file of its name is replaced once the new
/// one is whole.
#[derive(Clone, Debug)]
pub struct Download<'a> {
    /// The address, `http` or `https`.
    pub url: &'a str,
    /// The file to be made; its folder must exist. Only one process may fetch it at a time: callers lock.
    pub to: &'a Path,
    /// What to call the file in [`Progress`].
    pub what: &'a str,
    /// A token for the host of the address. It is sent to no other.
    pub token: Option<&'a str>,
    /// Its length in bytes, where known beforehand; another length is an error.
    pub length: Option<u64>,
    /// The most bytes that are taken, whatever the server says.
    pub limit: u64,
    /// Its checksum, where known beforehand; another one is an error.
    pub checksum: Option<Checksum>,
    /// How often a failed connection is tried again.
    pub retries: Retries,
    /// How slow it may be.
    pub pace: Pace,
}

impl Download<'_> {
    /// Fetches the file. It goes on where an earlier try ended, if the server allows that and still has the same
    /// file. `on_progress` is called for each piece that comes.
    ///
    /// # Errors
    /// [`Error::Download`] for what the server or the network did, a wrong length or checksum included; [`Error::Io`]
    /// and [`Error::DiskFull`] for what the disk did. What has arrived is kept as `FILE.incomplete`, unless its
    /// checksum is wrong.
    pub fn run(&self, on_progress: &dyn Fn(Progress<'_>)) -> Result<()> {
        self.run_with(&Client::new(), on_progress).map_err(|fault| fault.into_error(self.url))
    }

    pub(super) fn run_with(&self, client: &Client, on_progress: &dyn Fn(Progress<'_>)) -> Result<(), Fault> {
        let part = Part::beside(self.to);
        let (mut furthest, mut failures) = (0, 0);
        while let Err(fault) = self.attempt(client, &part, on_progress) {
            let Fault::Passing(why) = fault else { return Err(fault) };
            let here = part.length();
            if here >= furthest + STEP {
                (furthest, failures) = (here, 0);
            }
            if failures == self.retries.times {
                let kept =
                    if here > 0 { format!(" ({here} bytes are kept; the next try goes on)") } else { String::new() };
                return Err(Fault::Passing(format!("{why}{kept}")));
            }
            self.retries.wait(&mut failures);
        }
        self.check(&part)?;
        outside::open(&part.file)?.sync_all().map_err(|e| Error::io(&part.file, "sync", e))?;
        fs::rename(&part.file, self.to).map_err(|e| Error::io(self.to, "rename", e))?;
        part.forget_tag();
        Ok(())
    }

    /// Tries one connection. After success the part is whole, as far as lengths tell.
    fn attempt(&self, client: &Client, part: &Part, on_progress: &dyn Fn(Progress<'_>)) -> Result<(), Fault> {
        let (here, tag) = (part.length(), part.tag());
        // Go on only with what is the beginning of the same file: the tag says so, or the checksum will in the end.
        let here = if tag.is_some() || self.checksum.is_some() { here } else { 0 };
        if here > 0 && self.length == Some(here) {
            return Ok(());
        }
        let range = format!("bytes={here}-");
        let mut headers = Vec::new();
        if here > 0 {
            headers.push(("range", range.as_str()));
            headers.extend(tag.as_deref().map(|tag| ("if-range", tag)));
        }
        let reply = client.send(&Method::GET, self.url, self.token, &headers)?;
        let new_tag = strong_tag(&reply);
        let (from, total) = match reply.response.status().as_u16() {
            200 => (0, number(reply.response.headers(), "content-length")),
            status => {
                let (from, total) = range_of(&reply);
                if status == 416 && here > 0 && total == Some(here) {
                    return Ok(()); // all of it was here
                }
                let other = tag.is_some() && new_tag.is_some() && tag != new_tag;
                if status == 416 || from != Some(here) || other {
                    part.remove();
                    return Err(Fault::Passing(format!(
                        "{}: not the part that was asked for",
                        reply.response.status()
                    )));
                }
                (here, total)
            }
        };
        if let (Some(total), Some(length)) = (total, self.length)
            && total != length
        {
            return Err(Fault::Lasting(format!("the server has {total} bytes, expected {length}: try again later")));
        }
        let total = total.or(self.length);
        if let Some(total) = total.filter(|total| *total > self.limit) {
            part.remove();
            return Err(Fault::Lasting(format!(
                "the server has {total} bytes, and such a file may have {}",
                self.limit
            )));
        }
        if let Some(packed) = text(reply.response.headers(), "content-encoding").filter(|how| *how != "identity") {
            return Err(Fault::Lasting(format!("the server sends it compressed ({packed}), which was not asked for")));
        }
        let file = if from == 0 { part.begin(new_tag.as_deref())? } else { part.go_on()? };
        let bytes = self.copy(reply, file, part, from, total, on_progress)?;
        match total {
            Some(total) if bytes < total => Err(Fault::Passing(format!("truncated: {bytes} of {total} bytes came"))),
            Some(total) if bytes > total => {
                part.remove();
                Err(Fault::Lasting(format!("{bytes} bytes came, expected {total}")))
            }
            None if bytes > self.limit => {
                part.remove();
                Err(Fault::Lasting(format!("more came than the {} bytes that such a file may have", self.limit)))
            }
            _ => Ok(()),
        }
    }

    /// Appends what comes and returns the length of the part.
    fn copy(
        &self,
        reply: Reply,
        mut file: File,
        part: &Part,
        mut bytes: u64,
        total: Option<u64>,
        on_progress: &dyn Fn(Progress<'_>),
    ) -> Result<u64, Fault> {
        let mut body = reply.response.into_body().into_reader();
        let mut buffer = vec![0; 64 << 10];
        let (mut since, mut had) = (Instant::now(), bytes);
        loop {
            on_progress(Progress { what: self.what, bytes, total });
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(bytes),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
                    return Err(Fault::Passing(format!("truncated: connection lost after {bytes}{of} bytes: {error}")));
                }
            };
            file.write_all(&buffer[..count]).map_err(|e| Error::io(&part.file, "write", e))?;
            bytes += count as u64;
            if bytes > total.unwrap_or(self.limit) {
                return Ok(bytes); // too much already
            }
            let Pace { bytes: least, within } = self.pace;
            if since.elapsed() >= within {
                if bytes - had < least && total != Some(bytes) {
                    let slow = format!("only {} bytes in {} s: too slow", bytes - had, within.as_secs());
                    return Err(Fault::Passing(slow));
                }
                (since, had) = (Instant::now(), bytes);
            }
        }
    }

    fn check(&self, part: &Part) -> Result<(), Fault> {
        let Some(expected) = &self.checksum else { return Ok(()) };
        let found = expected.of(&part.file)?;
        if found == *expected {
            return Ok(());
        }
        part.remove();
        let advice = "what came was removed: try again, and if that does not help, the server has another file";
        Err(Fault::Lasting(format!(
            "{}: wrong checksum: expected {expected}, found {found}: {advice}",
            self.to.display()
        )))
    }
}

/// Returns the ETag of what is sent, if it promises the same bytes.
fn strong_tag(reply: &Reply) -> Option<String> {
    text(reply.response.headers(), "etag").filter(|tag| tag.starts_with('"')).map(str::to_owned)
}

/// Reads the header `bytes FROM-TO/TOTAL`, or `bytes */TOTAL`: from, and total.
fn range_of(reply: &Reply) -> (Option<u64>, Option<u64>) {
    let range = text(reply.response.headers(), "content-range").and_then(|range| range.strip_prefix("bytes "));
    let Some((places, total)) = range.and_then(|range| range.split_once('/')) else { return (None, None) };
    (places.split_once('-').and_then(|(from, _)| from.parse().ok()), total.parse().ok())
}

/// The part of a file that is here so far, and beside it the ETag of the whole.
struct Part {
    file: PathBuf,
    tag: PathBuf,
}

impl Part {
    fn beside(path: &Path) -> Part {
        let with = |ending: &str| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(ending);
            path.with_file_name(name)
        };
        Part { file: with(".incomplete"), tag: with(".incomplete.etag") }
    }

    fn length(&self) -> u64 {
        fs::symlink_metadata(&self.file).map_or(0, |about| if about.is_file() { about.len() } else { 0 })
    }

    fn tag(&self) -> Option<String> {
        let tag = outside::reopen(&self.tag, File::options().read(true)).ok()?;
        let mut text = String::new();
        tag.take(TAG_BYTES).read_to_string(&mut text).ok()?;
        Some(text)
    }

    fn forget_tag(&self) {
        let _ = fs::remove_file(&self.tag); // without a file it means nothing
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.file); // the next try empties what is left
        self.forget_tag();
    }

    /// Begins anew. The part is emptied before the new tag is written: a tag never stands beside bytes of something
    /// else.
    fn begin(&self, tag: Option<&str>) -> Result<File> {
        self.forget_tag();
        let file = outside::create(&self.file)?;
        if let Some(tag) = tag.filter(|tag| tag.len() as u64 <= TAG_BYTES) {
            let written = outside::create(&self.tag)?.write_all(tag.as_bytes());
            written.map_err(|e| Error::io(&self.tag, "write", e))?;
        }
        Ok(file)
    }

    fn go_on(&self) -> Result<File> {
        outside::reopen(&self.file, File::options().append(true))
    }
}
