//! Removing files that no kept manifest reaches.
//!
//! Kept are the two newest manifests and every older one that somebody has pinned. A manifest goes first, under its
//! exclusive lock, and its removal is made durable before the first of its files goes: so no manifest ever names a file
//! that is not there. Only names of the store's own making are touched.

use super::derived;
use super::files::{DERIVED, Files, SEG, TEMPORARY, VIEW, is_missing};
use super::manifest::{Manifest, name_of};
use super::version::generations;
use crate::error::Result;
use std::collections::HashSet;

/// What a round of collection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// When a writer opens the database: nobody else writes, so temporary files go as well.
    Opening,
    /// After a publish.
    Publish,
}

/// What collection met that a writer must know.
pub(crate) enum Trouble {
    /// A directory could not be synced: nothing more may be written.
    Sync(crate::Error),
    /// Files were left; the next round tries again.
    Left(crate::Error),
}

/// Removes what is not reachable from kept manifests. `newest` is the current one, `known` those in memory besides it.
pub(crate) fn collect(files: &Files, newest: &Manifest, known: &[&Manifest], round: Round) -> Result<(), Trouble> {
    let kept = retire_manifests(files)?;
    let mut reachable: HashSet<String> = HashSet::new();
    let mut derivable = HashSet::new();
    let mut reach = |manifest: &Manifest| {
        reachable.extend(manifest.files().map(|(name, _)| name));
        derivable.extend(derivable_of(manifest));
    };
    for generation in kept {
        match std::iter::once(&newest).chain(known).find(|manifest| manifest.generation == generation) {
            Some(manifest) => reach(manifest),
            None => {
                let read = files.open(&name_of(generation)).and_then(|file| Manifest::read(&file, generation));
                reach(&read.map_err(Trouble::Left)?.0);
            }
        }
    }
    let mut left = Ok(());
    let mut sweep = |dir: &str, goes: &dyn Fn(&str) -> bool| {
        let names = match files.list(dir) {
            Err(error) if is_missing(&error) => Vec::new(),
            Err(error) => {
                left = Err(Trouble::Left(error));
                return;
            }
            Ok(names) => names,
        };
        for name in names.iter().filter(|name| goes(name)) {
            let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
            match files.remove(&path) {
                Err(error) if !is_missing(&error) => left = Err(Trouble::Left(error)),
                _ => {}
            }
        }
    };
    let temporary = |name: &str| round == Round::Opening && name.ends_with(TEMPORARY);
    for (dir, endings) in [(SEG, [".oseg", ".odel"].as_slice()), (VIEW, &[".oview"])] {
        sweep(dir, &|name| {
            let ours = endings.iter().any(|ending| name.ends_with(ending));
            temporary(name) || (ours && !reachable.contains(&format!("{dir}/{name}")))
        });
    }
    sweep(DERIVED, &|name| {
        temporary(name) || derived::numbers_of(name).is_some_and(|numbers| !derivable.contains(&numbers))
    });
    sweep("", &temporary);
    left
}

/// Numbers of the segments and views that derived files can be of.
pub(crate) fn derivable_of(manifest: &Manifest) -> impl Iterator<Item = (u64, u64)> {
    manifest.collections.iter().flat_map(|collection| {
        let segments = manifest.segments.iter().filter(|segment| segment.collection == collection.id);
        segments.flat_map(|segment| collection.views.iter().map(|view| (segment.file.no(), view.file.no())))
    })
}

/// Removes manifests older than the two newest that nobody has pinned; gives the generations that stay.
fn retire_manifests(files: &Files) -> Result<Vec<u64>, Trouble> {
    let all = generations(files).map_err(Trouble::Left)?;
    let (old, kept) = all.split_at(all.len().saturating_sub(2));
    let mut kept = kept.to_vec();
    let mut removed = false;
    for generation in old {
        // The lock is held until the name is gone: a reader that opened the file meanwhile cannot pin it.
        let file = files.open(&name_of(*generation)).map_err(Trouble::Left)?;
        if file.try_lock(true).map_err(Trouble::Left)? {
            files.remove(&name_of(*generation)).map_err(Trouble::Left)?;
            removed = true;
        } else {
            kept.push(*generation);
        }
    }
    if removed {
        files.sync_dir("").map_err(Trouble::Sync)?;
    }
    Ok(kept)
}
