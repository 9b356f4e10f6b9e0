//! Fetching ESC-50: its archive from the network, unpacked into its own layout and looked through before it gets its
//! name.
//!
//! Everything happens in `DIR.part` beside the folder asked for: the archive, which an interrupted download leaves and
//! the next one goes on with, and the unpacked set, which becomes `DIR` by one renaming. The service that makes the
//! archive promises no checksum for it, so the content is looked at instead: every row of the table, and every sound
//! that it names.

use super::DataSet;
use super::data_set::TABLE;
use crate::zipped::Packed;
use otolith::audio::Reader;
use otolith::download::{Checksum, Download, Pace, Progress, Retries};
use otolith::outside;
use otolith::{Error, Result};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// The archive that its author publishes.
pub const URL: &str = "https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.zip";

/// Under which licence it may be used.
pub const LICENCE: &str = "CC BY-NC 3.0: non-commercial use, with attribution (Karol J. Piczak, ESC: Dataset for Environmental \
                           Sound Classification, 2015)";

/// Largest archive that is fetched: it has 0.65 GB.
const ARCHIVE_BYTES: u64 = 8 << 30;
/// Largest file that is unpacked: the clips have 441 kB, the table 95 kB.
const FILE_BYTES: u64 = 64 << 20;
/// Largest set that is unpacked: it has 0.9 GB.
const SET_BYTES: u64 = 8 << 30;

/// What is to be fetched.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// Address of the archive, [`URL`] unless it lies elsewhere.
    pub url: &'a str,
    /// SHA-256 of the archive, where known.
    pub sha256: Option<Checksum>,
    /// How often is tried again.
    pub retries: Retries,
}

/// What there is in the folder now.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The set.
    pub set: DataSet,
    /// Whether it was there already.
    pub was_there: bool,
}

/// Fetches the set into `folder`. A complete one that is there already is left alone.
///
/// # Errors
/// [`Error::Download`]; [`Error::Unusable`] when `folder` holds something else, or the archive is damaged or lacks
/// something (the message says what; the archive is removed then); [`Error::Io`], [`Error::DiskFull`].
pub fn fetch(source: &Source<'_>, folder: &Path, on_progress: &dyn Fn(Progress<'_>)) -> Result<Fetched> {
    if let Some(set) = present(folder)? {
        return Ok(Fetched { set, was_there: true });
    }
    let name = folder.file_name().ok_or_else(|| {
        Error::invalid(format!("folder `{}`", folder.display()), "it needs a name of its own, such as ESC-50")
    })?;
    let folder = &folder.with_file_name(name); // without a slash or dot at its end
    let mut beside = name.to_owned();
    beside.push(".part");
    let part = folder.with_file_name(beside);
    fs::create_dir_all(&part).map_err(|e| Error::io(&part, "create", e))?;
    if part.is_symlink() {
        return Err(Error::unusable(part, "a link where a directory of the download belongs: remove it"));
    }
    // One process at a time; whoever waited finds the set complete.
    let lock = part.join("lock");
    let held = outside::reopen(&lock, File::options().write(true).create(true).truncate(false))?;
    held.lock().map_err(|e| Error::io(&lock, "lock", e))?;
    let fetched = match present(folder)? {
        Some(set) => Fetched { set, was_there: true },
        None => Fetched { set: fresh(source, folder, &part, on_progress)?, was_there: false },
    };
    drop(held);
    let _ = fs::remove_dir_all(&part); // of no more use, and no harm
    Ok(fetched)
}

/// The set that is in the folder already; an error when something else is.
fn present(folder: &Path) -> Result<Option<DataSet>> {
    let mut entries = match folder.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(|e| Error::io(folder, "open", e))?,
    };
    if entries.next().is_none() {
        return Ok(None);
    }
    let advice = "move it away or choose another folder";
    let refuse = |error| Error::unusable(folder, format!("holds no complete set ({error}): {advice}"));
    complete(folder).map(Some).map_err(refuse)
}

fn fresh(source: &Source<'_>, folder: &Path, part: &Path, on_progress: &dyn Fn(Progress<'_>)) -> Result<DataSet> {
    // By address: what is left of another archive is no part of this one.
    let archive = part.join(format!("{:08x}.zip", crc32fast::hash(source.url.as_bytes())));
    let unpacked = part.join("unpacked");
    let fits = match &source.sha256 {
        Some(sum) if archive.exists() => sum.of(&archive)? == *sum,
        _ => archive.exists(),
    };
    if !fits {
        let download = Download {
            url: source.url,
            to: &archive,
            what: "data set",
            token: None,
            length: None,
            limit: ARCHIVE_BYTES,
            checksum: source.sha256.clone(),
            retries: source.retries,
            pace: Pace::default(),
        };
        download.run(on_progress)?;
    }
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).map_err(|e| Error::io(&unpacked, "remove", e))?;
    }
    let checked = unpack(&archive, &unpacked, on_progress).and_then(|()| complete(&unpacked));
    if let Err(error @ Error::Unusable { .. }) = checked {
        let _ = fs::remove_file(&archive); // the next try fetches it anew, or says that it cannot be written
        return Err(Error::unusable(source.url, format!("not a whole ESC-50 archive: {error}")));
    }
    checked?;
    if folder.exists() {
        fs::remove_dir(folder).map_err(|e| Error::io(folder, "remove the empty folder", e))?;
    }
    fs::rename(&unpacked, folder).map_err(|e| Error::io(folder, "rename", e))?;
    DataSet::load(folder, 0)
}

/// The set in a folder, if the table can be read and every sound that it names is there and begins as a sound does.
fn complete(folder: &Path) -> Result<DataSet> {
    if !folder.join(TABLE).is_file() {
        return Err(Error::unusable(folder, format!("{TABLE} is missing")));
    }
    let set = DataSet::load(folder, 0)?;
    let bad: Vec<Error> = set.clips.iter().filter_map(|clip| Reader::open(&clip.path, 44_100).err()).collect();
    match bad.first() {
        None => Ok(set),
        Some(first) => Err(Error::unusable(folder, format!("{} sounds cannot be read, the first: {first}", bad.len()))),
    }
}

/// Unpacks what belongs to the set: the table, the sounds, licence and description. Names that lead anywhere else are
/// not looked at.
fn unpack(archive: &Path, folder: &Path, on_progress: &dyn Fn(Progress<'_>)) -> Result<()> {
    let file = outside::open(archive)?;
    let refuse = |why: String| Error::unusable(archive, why);
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|e| refuse(format!("no zip archive ({e})")))?;
    let mut entries = HashMap::new();
    for number in 0..zip.len() {
        let entry = zip.by_index_raw(number).map_err(|e| refuse(format!("entry {number}: {e}")))?;
        let name = entry.name().map_err(|e| refuse(format!("entry {number}: {e}")))?.into_owned();
        entries.insert(name, number);
    }
    let root =
        entries.keys().filter_map(|name| name.strip_suffix(TABLE)).find(|root| root.is_empty() || root.ends_with('/'));
    let root = root.ok_or_else(|| refuse(format!("{TABLE} is missing")))?.to_owned();
    let mut wanted: Vec<(PathBuf, usize)> = entries
        .iter()
        .filter_map(|(name, number)| Some((folder.join(inside(name.strip_prefix(&root)?)?), *number)))
        .collect();
    wanted.sort_by_key(|(_, number)| *number);
    for below in ["meta", "audio"] {
        let below = folder.join(below);
        fs::create_dir_all(&below).map_err(|e| Error::io(&below, "create", e))?;
    }
    let (mut bytes, total) = (0_u64, wanted.len() as u64);
    for (done, (path, number)) in wanted.iter().enumerate() {
        let entry = zip.by_index_raw(*number).map_err(|e| refuse(format!("entry {number}: {e}")))?;
        let packed = Packed::of(&entry).map_err(|why| refuse(format!("{} {why}", path.display())))?;
        bytes = packed.length.saturating_add(bytes);
        if packed.length > FILE_BYTES || bytes > SET_BYTES {
            return Err(refuse(format!("{}: larger than anything in the set", path.display())));
        }
        write(archive, &packed, path)?;
        on_progress(Progress { what: "unpacking (files)", bytes: done as u64 + 1, total: Some(total) });
    }
    Ok(())
}

/// Where a name of the archive, below its root, goes in the set; none for what does not belong there.
fn inside(name: &str) -> Option<&Path> {
    let plain = |name: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !name.starts_with('.') && !name.is_empty() && name.bytes().all(known)
    };
    let wanted = match name.split_once('/') {
        Some(("audio", file)) => plain(file) && file.ends_with(".wav"),
        Some(_) => name == TABLE,
        None => plain(name) && (name.starts_with("LICENSE") || name.starts_with("README")),
    };
    wanted.then_some(Path::new(name))
}

/// Unpacks one file.
fn write(archive: &Path, packed: &Packed, to: &Path) -> Result<()> {
    let refuse = |why: String| Error::unusable(archive, format!("{}: damaged: {why}", to.display()));
    let unpacked = packed.open(archive)?;
    let mut content = Vec::new();
    unpacked.take(packed.length + 1).read_to_end(&mut content).map_err(|e| refuse(e.to_string()))?;
    if content.len() as u64 != packed.length {
        return Err(refuse(format!("it has not the {} bytes that the archive says", packed.length)));
    }
    fs::write(to, content).map_err(|e| Error::io(to, "write", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_the_set_is_unpacked() {
        for name in ["meta/esc50.csv", "audio/1-100210-A-36.wav", "LICENSE", "README.md"] {
            assert_eq!(inside(name), Some(Path::new(name)));
        }
        for name in [
            "",
            "../x.wav",
            "audio/../../x.wav",
            "audio/..\\x.wav",
            "audio//x.wav",
            "audio/.wav",
            "/audio/x.wav",
            "audio/a/x.wav",
            "audio/x.txt",
            "meta/other.csv",
            "meta/../esc50.csv",
            "esc50.gif",
            "tests/x.wav",
            "audio/",
        ] {
            assert_eq!(inside(name), None, "{name}");
        }
    }
}
