//! Folders of classes, with splits or without.

use super::{ClipFile, DRAWN_FOLDS, DataSet, Split, file_name, listed, source_of};
use otolith::audio::folder::{Entry, Found, Reason, list};
use otolith::random::shuffle;
use otolith::{Error, Result};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The sounds of each class, both sorted by name.
type Classes = BTreeMap<String, Vec<PathBuf>>;

pub(super) fn load(root: &Path, seed: u64) -> Result<DataSet> {
    let (mut parts, mut beside) = (Vec::new(), Found::default());
    for split in Split::ALL {
        let folder = root.join(split.name());
        let classes = if folder.is_dir() { classes_in(&folder, &mut beside)? } else { Classes::new() };
        if !classes.is_empty() {
            parts.push((Some(split), classes));
        }
    }
    match parts[..] {
        [] => parts.push((None, classes_in(root, &mut beside)?)),
        [(Some(Split::Train), _), _, ..] => {
            let is_split = |path: &Path| Split::ALL.iter().any(|split| path.ends_with(split.name()));
            for (path, _) in list(root, &mut beside)?.into_iter().filter(|(path, _)| !is_split(path)) {
                beside.left_out.add(Reason::Misplaced, path);
            }
        }
        _ => {
            let why = "has splits, but not `train` and one of `test` and `val`: queries and records need one each";
            return Err(Error::unusable(root, why));
        }
    }
    let mut set = gather(root, parts, beside)?;
    if set.classes.len() < 2 {
        return Err(not_understood(root, &set.classes));
    }
    draw_folds(&mut set, seed);
    Ok(set)
}

fn gather(root: &Path, parts: Vec<(Option<Split>, Classes)>, beside: Found) -> Result<DataSet> {
    let mut classes: Vec<String> = parts.iter().flat_map(|(_, classes)| classes.keys().cloned()).collect();
    classes.sort();
    classes.dedup();
    let mut clips = Vec::new();
    for (split, of_class) in parts {
        for (class_name, paths) in of_class {
            for path in paths {
                let file = file_name(&path)?;
                let name = match split {
                    Some(split) => format!("{}/{class_name}/{file}", split.name()),
                    None => format!("{class_name}/{file}"),
                };
                let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
                // a name that tells no recording is one only within its own folder
                let source = match source_of(stem) {
                    own if own == stem => name.clone(),
                    told => told.to_owned(),
                };
                let class = classes.partition_point(|class| *class < class_name);
                clips.push(ClipFile { name, class, fold: 0, split, source, path });
            }
        }
    }
    Ok(DataSet { name: file_name(root)?.to_owned(), classes, clips, beside })
}

/// The folders in `folder` that hold sounds; what lies anywhere else in it is told in `beside`.
fn classes_in(folder: &Path, beside: &mut Found) -> Result<Classes> {
    let mut classes = Classes::new();
    for (class, entry) in list(folder, beside)? {
        if entry == Entry::Sound {
            beside.left_out.add(Reason::Misplaced, class);
            continue;
        }
        let mut sounds = Vec::new();
        for (path, entry) in list(&class, beside)? {
            match entry {
                Entry::Sound if path.file_name().is_some_and(|name| name.to_str().is_none()) => {
                    beside.failed.push((path, "its name is not UTF-8: rename it".into()));
                }
                Entry::Sound => sounds.push(path),
                Entry::Folder | Entry::LinkToFolder => beside.left_out.add(Reason::Misplaced, path),
            }
        }
        if !sounds.is_empty() {
            classes.insert(file_name(&class)?.to_owned(), sounds);
        }
    }
    Ok(classes)
}

/// Deals the clips of each class to five folds: sources in random order, each to the fold that has the fewest clips of
/// the class, then the fewest clips at all, so that folds stay level within and across classes.
fn draw_folds(set: &mut DataSet, seed: u64) {
    let mut totals = [0usize; DRAWN_FOLDS as usize];
    for (class, clips) in set.clips_by_class().into_iter().enumerate() {
        let mut of_source: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for clip in clips {
            of_source.entry(&set.clips[clip].source).or_default().push(clip);
        }
        let mut groups: Vec<Vec<usize>> = of_source.into_values().collect();
        // a stream of its own for each class
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(class as u64);
        shuffle(&mut groups, &mut random);
        let mut counts = [0usize; DRAWN_FOLDS as usize];
        for group in groups {
            let fold = (0..counts.len()).min_by_key(|&fold| (counts[fold], totals[fold], fold)).unwrap_or(0);
            counts[fold] += group.len();
            totals[fold] += group.len();
            for clip in group {
                set.clips[clip].fold = fold as u32 + 1;
            }
        }
    }
}

/// Says which layouts are understood, and what is there instead.
fn not_understood(root: &Path, classes: &[String]) -> Error {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(root).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.retain(|path| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")));
    entries.sort();
    let inner = entries.iter().find(|path| path.join(listed::TABLE).is_file());
    let found = match (classes, inner) {
        (_, Some(inner)) => format!("but {} does: give that folder", inner.display()),
        ([only], _) => format!("only one folder holds sounds, `{only}`, and one class is nothing to tell apart"),
        _ if entries.is_empty() => "it is empty".to_owned(),
        _ => {
            let names: Vec<_> = entries.iter().take(5).filter_map(|path| path.file_name()?.to_str()).collect();
            let more = if entries.len() > 5 { ", .." } else { "" };
            format!("no folder in it holds sounds; it has {}{more}", names.join(", "))
        }
    };
    let why = format!(
        "not a data set: {found}. Understood are ESC-50's own layout ({} and audio/*.wav), \
         train|test|val/CLASS/*.wav, and CLASS/*.wav",
        listed::TABLE
    );
    Error::unusable(root, why)
}
