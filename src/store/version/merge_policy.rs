//! Decides which small segments a publish rewrites together with its new one, so that many small commits leave few
//! segments.
//!
//! Sizes fall into classes, each eight times as large as the one before. Before a segment is written, the segments at
//! the end of the collection that are in its class or smaller are counted; if there are seven or more, they are
//! rewritten together with it, and the same is done for the larger result. So of each class at most seven stay in a
//! row, and with commits of similar size a record is written once and then once more for each factor of eight up to
//! 64 MiB: `1 + log8(64 MiB / bytes of a commit)` times (1.5 KB: at most 6.2; 0.5 MB: 3.4; from 9 MiB on: 1). Where big
//! and tiny commits alternate the factor can reach seven for each class. For every 256 segments in a collection the
//! 64 MiB double, so that a large collection has at most some thousands of segments, at the price of rare commits that
//! copy more.

use super::SegmentRef;
use crate::limits;

/// How many segments become one.
const FAN_IN: usize = 8;
/// Most bytes of a merged segment in a collection of few segments.
const LARGEST: u64 = 64 << 20;
/// That limit doubles with this many more segments in a collection, so that an id need not be searched in ever more.
const CROWD: usize = 256;
/// What a record costs beyond its own bytes: entry and line in the id table.
const RECORD_BYTES: u64 = 80;

/// Returns the weight of a segment, its live bytes; none for one that must be left alone.
pub(crate) fn weight(part: &SegmentRef) -> Option<u64> {
    if part.segment.is_suspect() {
        return None;
    }
    let records = u64::from(part.segment.records()).max(1);
    let share = u128::from(part.segment.entry()?.data_bytes) * u128::from(part.live()) / u128::from(records);
    Some(weight_of(share as u64, part.live()))
}

/// Returns the weight of records that are about to be written.
pub(crate) fn weight_of(data_bytes: u64, records: u64) -> u64 {
    data_bytes.saturating_add(records.saturating_mul(RECORD_BYTES))
}

fn class(weight: u64) -> u32 {
    weight.max(1).ilog2() / FAN_IN.ilog2()
}

/// Doubles a size for every [`CROWD`] segments there are, up to a size whose records can still be numbered in one
/// segment.
pub(crate) fn crowded(bytes: u64, segments: usize) -> u64 {
    (bytes << (segments / CROWD).min(16)).min(RECORD_BYTES * limits::SEGMENT_RECORDS as u64)
}

/// Returns how many of the last segments to merge into a new one of weight `new`.
pub(crate) fn choose(weights: &[Option<u64>], new: u64) -> usize {
    let largest = crowded(LARGEST, weights.len());
    let (mut start, mut total) = (weights.len(), new);
    loop {
        let (mut from, mut sum) = (start, total);
        while let Some(weight) = from.checked_sub(1).and_then(|last| weights[last])
            && class(weight) <= class(total)
            && sum.saturating_add(weight) <= largest
        {
            from -= 1;
            sum = sum.saturating_add(weight);
        }
        if start - from < FAN_IN - 1 {
            return weights.len() - start;
        }
        (start, total) = (from, sum);
    }
}

#[cfg(test)]
#[allow(clippy::print_stdout)]
mod tests {
    use super::*;

    /// Simulates commits of the given weights; returns the segments at the end, and bytes written for each byte given.
    fn run(commits: impl Iterator<Item = u64>) -> (usize, f64) {
        let (mut segments, mut given, mut written) = (Vec::new(), 0, 0);
        for new in commits {
            let kept = segments.len() - choose(&segments, new);
            let folded: u64 = segments.drain(kept..).flatten().sum();
            segments.push(Some(folded + new));
            given += new;
            written += folded + new;
        }
        (segments.len(), written as f64 / given as f64)
    }

    #[test]
    fn many_equal_commits_leave_few_segments_and_are_rewritten_once_for_each_factor_of_eight() {
        for (weight, most_segments, most_written) in [(200, 50, 6.5), (1_500, 50, 6.5), (500_000, 1_700, 4.0)] {
            let (segments, written) = run(std::iter::repeat_n(weight, 100_000));
            println!("figure write_amplification_of_{weight}_byte_commits = {written:.2} times");
            assert!(segments <= most_segments, "{weight}: {segments} segments");
            assert!(written <= most_written, "{weight}: {written} times");
        }
    }

    #[test]
    fn large_segments_are_never_rewritten() {
        assert_eq!(run(std::iter::repeat_n(20 << 20, 100)), (100, 1.0));
    }

    #[test]
    fn commits_too_large_to_be_folded_at_first_never_exhaust_the_segments_there_may_be() {
        for weight in [10 << 20, 60 << 20, 1 << 30] {
            let (segments, written) = run(std::iter::repeat_n(weight, 30_000));
            println!("figure segments_after_30000_commits_of_{}_mib = {segments} segments", weight >> 20);
            assert!(segments < 3_072 && written < 4.0, "{weight}: {segments} segments, {written} times");
        }
    }

    #[test]
    fn tiny_commits_after_large_ones_do_not_touch_these() {
        let large = [Some(1 << 20); 7];
        assert_eq!(choose(&large, 100), 0);
    }

    #[test]
    fn a_segment_with_damage_is_left_alone_and_ends_the_run() {
        let mut weights = vec![Some(100); 14];
        weights[6] = None;
        assert_eq!(choose(&weights, 100), 7);
        weights[7] = None;
        assert_eq!(choose(&weights, 100), 0);
    }
}
