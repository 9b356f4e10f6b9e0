//! Sums over rows in `f64`, by rising index: the same bits everywhere, whatever the instruction set.
//!
//! A product of two `f32` is exact in `f64`, so an inner product has one rounding a number, fused or not. One such
//! sum is a chain of additions that wait for each other; [`LANES`] of them side by side keep the machine busy.

/// Sums that run side by side.
pub const LANES: usize = 8;

/// Inner products of [`LANES`] pairs of rows.
///
/// # Panics
/// When two rows differ in length.
pub fn dots(pairs: [(&[f32], &[f32]); LANES]) -> [f64; LANES] {
    sums(pairs, |a, b| a * b)
}

/// Squared distances of [`LANES`] pairs of rows.
///
/// # Panics
/// When two rows differ in length.
pub fn squared_distances(pairs: [(&[f32], &[f32]); LANES]) -> [f64; LANES] {
    sums(pairs, |a, b| (a - b) * (a - b))
}

/// Inner product of one pair of rows.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| a * b)
}

/// Squared distance of one pair of rows.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

fn sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    a.iter().zip(b).fold(0.0, |sum, (&a, &b)| sum + term(a.into(), b.into()))
}

fn sums(pairs: [(&[f32], &[f32]); LANES], term: impl Fn(f64, f64) -> f64) -> [f64; LANES] {
    let len = pairs[0].0.len();
    assert!(pairs.iter().all(|(a, b)| a.len() == len && b.len() == len), "rows of different lengths");
    let mut sums = [0.0; LANES];
    for k in 0..len {
        for (sum, (a, b)) in sums.iter_mut().zip(&pairs) {
            *sum += term(a[k].into(), b[k].into());
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_give_the_bits_of_one_sum() {
        for len in [0, 1, 7, 64, 101] {
            let rows: Vec<Vec<f32>> = (0..LANES + 1)
                .map(|row| (0..len).map(|k| ((row * 131 + k * 37) % 101) as f32 * 0.37 - 9.0).collect())
                .collect();
            let pairs: [(&[f32], &[f32]); LANES] = std::array::from_fn(|lane| (&rows[lane][..], &rows[lane + 1][..]));
            assert_eq!(dots(pairs), pairs.map(|(a, b)| dot(a, b)));
            assert_eq!(squared_distances(pairs), pairs.map(|(a, b)| squared_distance(a, b)));
        }
    }
}
