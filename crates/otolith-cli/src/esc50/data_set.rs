//! Finding out which sounds there are: ESC-50's own layout, or folders of classes with or without splits.
//!
//! ```text
//! meta/esc50.csv, audio/*.wav       the table names every clip, its fold and its class
//! train|test|val/CLASS/*.wav        splits are given; folds are drawn over all clips
//! CLASS/*.wav                       five folds are drawn, class by class
//! ```
//!
//! Drawn folds depend on the seed and the names only. Clips whose names say that they were cut from one recording
//! (`1-100210-A-36`, as ESC-50 names them) are kept together.

mod folders;
mod listed;

pub(super) use listed::TABLE;

use otolith::audio::folder::Found;
use otolith::{Error, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// How many folds are drawn where the data set has none.
pub const DRAWN_FOLDS: u32 = 5;

/// The part of a data set that a clip was put into by whoever made the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// To be searched in and fitted on.
    Train,
    /// To be looked at while choosing.
    Test,
    /// Held out for the last word.
    Val,
}

impl Split {
    /// Every split, in the order in which ESC-50's 34, 5 and 1 clips of a class are dealt.
    pub const ALL: [Split; 3] = [Split::Train, Split::Test, Split::Val];

    /// The name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Test => "test",
            Split::Val => "val",
        }
    }
}

/// One sound file of a known class.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name within the set, unique, with `/` between folders: the id of its record.
    pub name: String,
    /// Its class, a number into [`DataSet::classes`].
    pub class: usize,
    /// Its fold, from 1.
    pub fold: u32,
    /// Its split, where the set comes with splits.
    pub split: Option<Split>,
    /// The recording it was cut from. Clips of one source are near-copies, so a fair protocol keeps them on one side.
    pub source: String,
}

/// Sound files of known classes, in an order that every protocol relies on: the table's, else by class and name.
#[derive(Clone, Debug, PartialEq)]
pub struct DataSet {
    /// What it is called: `esc50`, `procedural`, or its folder's name.
    pub name: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The clips.
    pub clips: Vec<ClipFile>,
    /// What its folders held that was not taken for a clip; `sounds` stays empty.
    pub beside: Found,
}

impl DataSet {
    /// Loads a data set in any of the layouts above. `seed` draws the folds where the set has none.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the folder has none of the layouts (the message says what was found), when the table
    /// has a bad row (with its line), or when a clip is missing; [`Error::Io`] when something cannot be read.
    pub fn load(root: &Path, seed: u64) -> Result<DataSet> {
        // canonical, so that the name of `.` is that of the folder
        let root = &root.canonicalize().map_err(|source| Error::io(root, "open the data set", source))?;
        if root.join(listed::TABLE).is_file() { listed::load(root) } else { folders::load(root, seed) }
    }

    /// The clips of each class, in the set's order.
    pub fn clips_by_class(&self) -> Vec<Vec<usize>> {
        let mut of_class = vec![Vec::new(); self.classes.len()];
        for (number, clip) in self.clips.iter().enumerate() {
            of_class[clip.class].push(number);
        }
        of_class
    }
}

/// The recording that a file name says it was cut from: the second part of `{fold}-{source}-{take}-{target}`, ESC-50's
/// way; any other name is a recording of its own.
fn source_of(stem: &str) -> &str {
    match stem.split('-').collect::<Vec<_>>()[..] {
        [fold, source, _, target] if is_number(fold) && is_number(source) && is_number(target) => source,
        _ => stem,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The last part of a path as text.
fn file_name(path: &Path) -> Result<&str> {
    path.file_name()
        .and_then(OsStr::to_str)
        .ok_or_else(|| Error::unusable(path, "its name is not UTF-8: rename it, ids of records are text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_esc50s_form_tell_their_source() {
        assert_eq!(source_of("1-100210-B-36"), "100210");
        for stem in ["bark-1", "1-2-3", "a-100210-B-36", "1-100210-B-36-x", "1--B-36", ""] {
            assert_eq!(source_of(stem), stem);
        }
    }
}
