//! The writer's lock. The operating system decides who holds it. The text in the file tells people who that is; the
//! holder also checks by it that nobody else has written there since.

use super::hold::Holding;
use super::{File, Files, LOCK, is_missing};
use crate::error::{Error, Result};
use crate::random::unique;
use crate::store::layout::LOCK_BYTES;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, process};

/// How long to wait for another writer: a child between fork and exec may hold a copy of a lock that is being released.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Takes the lock, which is held as long as the returned file is open.
pub(crate) fn acquire(files: &Files) -> Result<File> {
    let mut file = files.open_or_create(LOCK).map_err(|error| denied(files, error))?;
    for _ in 0..=PATIENCE.as_millis() / PAUSE.as_millis() {
        if !file.try_lock(true)? {
            sleep(PAUSE);
        } else if files.holding(LOCK, &file)? == Holding::Same {
            // The text may be missing: a full disk must not keep anybody from opening a database.
            let text = text();
            // On Windows nobody but the holder can read or write a locked file.
            let written = file.write_all_at(&text, 0).is_ok() && cfg!(unix);
            files.hold(&file, written.then_some(text))?;
            return Ok(file);
        } else {
            // Somebody replaced the file meanwhile, and others may hold the lock on the new one.
            file = files.open_or_create(LOCK)?;
        }
    }
    Err(locked(files, &file))
}

/// Makes the error that says who holds the lock: the system knows, and the file says who has written last.
fn locked(files: &Files, file: &File) -> Error {
    let text = file.text();
    let text = text.split(", mark").next().unwrap_or_default();
    let holder = holder(text, file.lock_holder(), process::id());
    Error::Locked { path: files.root().to_path_buf(), holder }
}

/// Describes the holder in words to the process `own`. The system names the process that took the lock, though it may
/// have closed the file since, so that only a child still has a copy.
fn holder(text: &str, known: Option<(u32, u32)>, own: u32) -> String {
    let signed = |process: u32| text.starts_with(&format!("pid {process},"));
    match known {
        Some((process, user)) if !signed(process) => format!("pid {process} of user {user}"),
        _ if signed(own) => {
            format!("{text}, which is this process: by another handle, or by a child that it forked while it had one")
        }
        _ if text.is_empty() => "an unknown process".to_owned(),
        _ => text.to_owned(),
    }
}

/// Explains why this user may not open the lock file for writing: it is held, belongs to another user, or is missing
/// and cannot be made.
fn denied(files: &Files, error: Error) -> Error {
    let (path, source) = match error {
        Error::Io { path, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => (path, source),
        other => return other,
    };
    let why = match files.open(LOCK) {
        Ok(file) if matches!(file.try_lock(false), Ok(false)) => return locked(files, &file),
        Ok(_) => "nobody holds the lock, but this user may not write it: open the database for reading only",
        Err(error) if is_missing(&error) => {
            "there is no lock file yet, and this user may not make one in this directory: give the directory a mode that lets \
             its user write (a umask may have taken that away when it was made)"
        }
        Err(_) => {
            "this user may neither read nor write the lock file: change the modes of the directory and what is in it"
        }
    };
    let source = io::Error::new(source.kind(), format!("{source}: {why}"));
    Error::Io { path, operation: "open for writing", source }
}

fn text() -> Vec<u8> {
    let lines = format!(
        "pid {}\nhost {:.64}\nsince {}\notolith {}\nmark {:016x}\n",
        process::id(),
        host(),
        utc(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
        env!("CARGO_PKG_VERSION"),
        unique(),
    );
    let mut bytes = lines.into_bytes();
    bytes.resize(LOCK_BYTES, b' ');
    bytes
}

fn host() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// Formats seconds since 1970 as `2026-11-24T08:00:00Z`. The years are counted from March on, so that the leap day
/// comes last.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::{holder, utc};

    #[test]
    fn a_holder_is_told_by_what_the_system_knows_and_what_it_signed() {
        let text = "pid 7, host here, since then";
        assert_eq!(holder(text, Some((7, 0)), 9), text);
        assert_eq!(holder(text, None, 9), text);
        assert_eq!(holder(text, Some((8, 5)), 9), "pid 8 of user 5");
        assert_eq!(holder(text, Some((8, 5)), 7), "pid 8 of user 5");
        assert_eq!(holder("", None, 9), "an unknown process");
        for known in [None, Some((7, 0))] {
            let own = holder(text, known, 7);
            assert!(own.starts_with(text) && own.contains("a child that it forked"), "{own}");
        }
        assert_eq!(holder("pid 71, host", None, 7), "pid 71, host");
    }

    #[test]
    fn seconds_become_dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_521_600), "2026-11-24T12:00:00Z");
    }
}
