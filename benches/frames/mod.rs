//! Rows for benches.

use otolith::Matrix;

/// Rows that wander, as frames of a sound do: each is near the one before.
pub(crate) fn frames(seed: u32, rows: usize, dim: usize) -> Matrix {
    let mut state = seed;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let mut row = vec![0.0f32; dim];
    let mut values = Vec::with_capacity(rows * dim);
    for _ in 0..rows {
        row.iter_mut().for_each(|value| *value = 0.9 * *value + noise());
        values.extend_from_slice(&row);
    }
    Matrix::from_rows(rows, dim, values).unwrap()
}
