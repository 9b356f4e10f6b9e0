//! Arms made of the answers of others: scores added, and a vote of the nearest.

use otolith::query::standard_scores;
use std::collections::HashMap;

/// The records of a round as one query ranks them, best first: clips with their scores.
pub(super) type Ranking = Vec<(usize, f64)>;

/// All records by the weighted sum of their scores, each ranking's in standard deviations over its records; ties by
/// name.
///
/// The rankings must be of the same records: the fusion of [`otolith::query::Fusion::StandardScore`], but without ids.
pub(super) fn fuse<'a, 'n>(
    rankings: impl Iterator<Item = (&'a Ranking, f64)>,
    name: impl Fn(usize) -> &'n str,
) -> Ranking {
    let mut sums: HashMap<usize, f64> = HashMap::new();
    for (ranking, weight) in rankings {
        let scores: Vec<f64> = ranking.iter().map(|&(_, score)| score).collect();
        for (&(clip, _), score) in ranking.iter().zip(standard_scores(&scores)) {
            *sums.entry(clip).or_default() += weight * score;
        }
    }
    let mut fused: Ranking = sums.into_iter().collect();
    fused.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then_with(|| name(a.0).cmp(name(b.0))));
    fused
}

/// Classes, most likely first, by a vote of the `k` nearest records: each counts by how much nearer it is than the
/// first that has no vote, 1 for the nearest (Dudani, *The distance-weighted k-nearest-neighbor rule*, 1976). Classes
/// without a vote follow in order of their nearest record.
pub(super) fn vote(ranking: &[(usize, f64)], class: impl Fn(usize) -> usize, k: usize) -> Vec<usize> {
    let mut votes: Vec<(usize, f64)> = Vec::new(); // in order of each class's nearest record
    let nearest = ranking.first().map_or(0.0, |&(_, score)| score);
    let outside = ranking.get(k).or(ranking.last()).map_or(0.0, |&(_, score)| score);
    for (place, &(clip, score)) in ranking.iter().enumerate() {
        let weight = match place {
            place if place >= k => 0.0,
            _ if nearest > outside => (score - outside) / (nearest - outside),
            _ => 1.0,
        };
        let class = class(clip);
        match votes.iter_mut().find(|(voted, _)| *voted == class) {
            Some((_, sum)) => *sum += weight,
            None => votes.push((class, weight)),
        }
    }
    votes.sort_by(|a, b| b.1.total_cmp(&a.1));
    votes.into_iter().map(|(class, _)| class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_count_by_how_far_they_stand_out() {
        // Standard scores: 1.414, -0.707, -0.707 and -1.225, 0, 1.225.
        let (first, second) = (vec![(0, 9.0), (1, 3.0), (2, 3.0)], vec![(2, 0.3), (1, 0.2), (0, 0.1)]);
        let name = |clip: usize| ["c", "b", "a"][clip];
        let fused = fuse([(&first, 1.0), (&second, 0.5)].into_iter(), name);
        let clips: Vec<usize> = fused.iter().map(|&(clip, _)| clip).collect();
        assert_eq!(clips, [0, 2, 1]);
        assert!((fused[0].1 - (std::f64::consts::SQRT_2 - 0.612_372)).abs() < 1e-6, "{fused:?}");
        assert_eq!(fuse([(&second, 1.0)].into_iter(), name)[0].0, 2);
        // All alike: only the names decide.
        let same = vec![(0, 1.0), (1, 1.0), (2, 1.0)];
        let fused = fuse([(&same, 1.0)].into_iter(), name);
        assert_eq!(fused, [(2, 0.0), (1, 0.0), (0, 0.0)]);
    }

    #[test]
    fn near_records_outvote_more_of_those_farther_off() {
        let class = |clip: usize| clip / 10;
        // Weights 1, 0.9, 0.2, 0.2, 0.1; the sixth has no vote.
        let ranking = [(0, 1.0), (1, 0.9), (10, 0.2), (11, 0.2), (20, 0.1), (30, 0.0), (31, -1.0), (40, -2.0)];
        assert_eq!(vote(&ranking, class, 5), [0, 1, 2, 3, 4]);
        // Two that are near beat the nearest.
        let ranking = [(0, 1.0), (10, 0.9), (11, 0.9), (20, 0.0)];
        assert_eq!(vote(&ranking, class, 3), [1, 0, 2]);
        // As near as each other: the most, then the first.
        assert_eq!(vote(&[(0, 1.0), (10, 1.0), (11, 1.0)], class, 10), [1, 0]);
        assert_eq!(vote(&[(0, 1.0), (10, 1.0)], class, 10), [0, 1]);
        assert_eq!(vote(&[(7, 0.5)], class, 10), [0]);
        assert!(vote(&[], class, 10).is_empty());
    }
}
