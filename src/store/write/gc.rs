//! Removes files that no kept manifest reaches.
//!
//! The two newest manifests are kept (only the newest after a compaction that was asked for), and every older one that
//! somebody has pinned. A manifest is removed first, under its exclusive lock, and that is made durable before the
//! first of its files is removed: so no manifest ever names a missing file. A publish removes manifests just before it
//! renames its own, so that one sync of the directory serves both; if the rename does not happen, the generation before
//! is still there. Only names that the store itself makes are touched.

use crate::error::Result;
use crate::store::derived;
use crate::store::files::{DERIVED, Files, SEG, TEMPORARY, VIEW, is_missing};
use crate::store::format::log;
use crate::store::format::manifest::{Manifest, ViewEntry, name_of, number_of};
use crate::store::version::generations;
use std::collections::{BTreeSet, HashMap, HashSet};

/// When garbage is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// When a writer opens the database: nobody else writes, so temporary files are removed as well.
    Opening,
    /// After a publish.
    Publish,
}

/// Removes manifests that nobody has pinned, except the `kept` newest. The caller makes that durable before [`sweep`].
pub(crate) fn retire(files: &Files, kept: usize) -> Result<()> {
    let all = generations(files)?;
    for generation in &all[..all.len().saturating_sub(kept)] {
        // The lock is held until the name is gone: a reader that opened the file meanwhile cannot pin it.
        let file = files.open(&name_of(*generation))?;
        if file.try_lock(true)? {
            files.remove(&name_of(*generation))?;
        }
    }
    Ok(())
}

/// Removes files that are not reachable from the manifests there are. `newest` is the current manifest, `known` are
/// others in memory, `making` are the numbers of files that are being written for a later one. Goes on after a file
/// that cannot be removed; the next round tries again.
pub(crate) fn sweep(
    files: &Files,
    newest: &Manifest,
    known: &[&Manifest],
    round: Round,
    making: &BTreeSet<u64>,
) -> Result<()> {
    let mut reachable: HashSet<String> = HashSet::new();
    let (mut derivable, mut first_log) = (HashSet::new(), u64::MAX);
    let generations = generations(files)?;
    let mut reach = |manifest: &Manifest| {
        reachable.extend(manifest.files().map(|(name, _)| name));
        // Left-over files are needed only for the log of the generation before.
        if generations.binary_search(&manifest.generation.wrapping_sub(1)).is_ok() {
            reachable.extend(manifest.kept());
        }
        first_log = first_log.min(manifest.first_log());
        derivable.extend(derivable_of(manifest));
    };
    for &generation in &generations {
        match std::iter::once(&newest).chain(known).find(|manifest| manifest.generation == generation) {
            Some(manifest) => reach(manifest),
            None => {
                let read = files.open(&name_of(generation)).and_then(|file| Manifest::read(&file, generation));
                reach(&read?.0);
            }
        }
    }
    let mut left = Ok(());
    let mut sweep = |dir: &str, goes: &dyn Fn(&str) -> bool| {
        let names = match files.list_if_there(dir) {
            Err(error) => {
                left = Err(error);
                return;
            }
            Ok(names) => names,
        };
        for name in names.iter().filter(|name| goes(name)) {
            let path = if dir.is_empty() { name.clone() } else { format!("{dir}/{name}") };
            match files.remove(&path) {
                Err(error) if !is_missing(&error) => left = Err(error),
                _ => {}
            }
        }
    };
    let temporary = |name: &str| round == Round::Opening && name.ends_with(TEMPORARY);
    for (dir, endings) in [(SEG, [".oseg", ".odel"].as_slice()), (VIEW, &[".oview"])] {
        sweep(dir, &|name| {
            let ours = endings.iter().any(|ending| name.ends_with(ending));
            let made = || number_of(name).is_some_and(|number| making.contains(&number));
            temporary(name) || (ours && !reachable.contains(&format!("{dir}/{name}")) && !made())
        });
    }
    sweep(DERIVED, &|name| {
        temporary(name) || derived::parse(name).is_some_and(|(segment, view, _)| !derivable.contains(&(segment, view)))
    });
    sweep("", &|name| temporary(name) || log::number_of(name).is_some_and(|number| number < first_log));
    left
}

/// Returns the numbers of segment and view that derived files can have; 0 for no view.
fn derivable_of(manifest: &Manifest) -> Vec<(u64, u64)> {
    let views = manifest.collections.iter().map(|collection| (collection.id, &collection.views));
    let views: HashMap<u64, &Vec<ViewEntry>> = views.collect();
    let mut derivable = Vec::new();
    for segment in &manifest.segments {
        let views = views.get(&segment.collection).into_iter().flat_map(|views| views.iter());
        let views = std::iter::once(0).chain(views.map(|view| view.file.no()));
        derivable.extend(views.map(|view| (segment.file.no(), view)));
    }
    derivable
}
