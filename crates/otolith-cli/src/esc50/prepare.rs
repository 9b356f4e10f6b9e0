//! Writing a data set as folders of classes with splits, the layout that training scripts expect:
//! `train|test|val/CLASS/*`.
//!
//! Files are copied byte for byte: whoever reads them resamples anyway, and a copy loses nothing.

use super::data_set::{DataSet, Split};
use super::protocol;
use otolith::{Error, Result};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

/// How many clips went where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// Clips to train on.
    pub train: usize,
    /// Clips for choosing.
    pub test: usize,
    /// Clips held out.
    pub val: usize,
}

/// Copies the clips of `set` to `folder`, by the splits it came with or else 34, 5 and 1 of each class. An interrupted
/// copy leaves part of the files; delete them and start again.
///
/// # Errors
/// [`Error::Invalid`] when a class has too few clips; [`Error::Unusable`] when `folder` has one of the three folders
/// already or a class has no name for a folder; [`Error::Io`].
pub fn prepare(set: &DataSet, folder: &Path) -> Result<Prepared> {
    let splits = protocol::splits(set)?;
    for split in Split::ALL {
        if folder.join(split.name()).exists() {
            return Err(Error::unusable(folder.join(split.name()), "is there already: give another folder"));
        }
    }
    if let Some(class) = set.classes.iter().find(|class| Path::new(class).file_name() != Some(OsStr::new(class))) {
        return Err(Error::unusable(folder, format!("class `{class}` cannot be the name of a folder")));
    }
    let (mut prepared, mut taken) = (Prepared::default(), HashSet::new());
    for (clip, split) in std::iter::zip(&set.clips, splits) {
        let Some(split) = split else { continue };
        let class = folder.join(split.name()).join(&set.classes[clip.class]);
        fs::create_dir_all(&class).map_err(|source| Error::io(&class, "create", source))?;
        let to = class.join(clip.path.file_name().unwrap_or_default());
        if !taken.insert(to.clone()) {
            return Err(Error::unusable(
                &clip.path,
                format!("another clip of {} would be copied to the same name", set.name),
            ));
        }
        fs::copy(&clip.path, &to).map_err(|source| Error::io(&clip.path, "copy", source))?;
        *match split {
            Split::Train => &mut prepared.train,
            Split::Test => &mut prepared.test,
            Split::Val => &mut prepared.val,
        } += 1;
    }
    Ok(prepared)
}
