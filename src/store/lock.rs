//! The writer's lock. The operating system decides who holds it; the text in the file only tells people who that is.

use super::files::{File, Files, LOCK};
use super::layout::LOCK_BYTES;
use crate::error::{Error, Result};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long to wait for another writer: a child between fork and exec may hold a copy of a lock that is being released.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(20);

/// Takes the lock, held as long as the file is open.
pub(crate) fn acquire(files: &Files) -> Result<File> {
    let file = files.open_or_create(LOCK)?;
    for _ in 0..=PATIENCE.as_millis() / PAUSE.as_millis() {
        if file.try_lock(true)? {
            // Nothing depends on the text, so a full disk must not keep a database shut.
            let _ = file.write_all_at(&text(), 0);
            return Ok(file);
        }
        sleep(PAUSE);
    }
    let holder = file.text();
    let holder = if holder.is_empty() { "an unknown process".to_owned() } else { holder };
    Err(Error::Locked { path: files.root().to_path_buf(), holder })
}

fn text() -> Vec<u8> {
    let lines = format!(
        "pid {}\nhost {:.64}\nsince {}\notolith {}\n",
        std::process::id(),
        host(),
        utc(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()),
        env!("CARGO_PKG_VERSION"),
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

/// Seconds since 1970 as `2026-11-24T08:00:00Z`. Days are turned into a date by counting years from March on, so that the
/// leap day comes last.
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
    use super::utc;

    #[test]
    fn seconds_become_dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_521_600), "2026-11-24T12:00:00Z");
    }
}
