//! Rows of numbers: drawn, read from `.npy` files, turned onto their principal axes.

use otolith::Matrix;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::f64::consts::TAU;
use std::path::Path;

/// Rows of one dimension.
#[derive(Clone, Default)]
pub(super) struct Rows {
    dim: usize,
    values: Vec<f32>,
    matrices: Vec<Matrix>,
}

impl Rows {
    pub(super) fn new(dim: usize, values: Vec<f32>) -> Rows {
        let matrices = values.chunks_exact(dim).map(|row| Matrix::from_vector(row.to_vec()).unwrap()).collect();
        Rows { dim, values, matrices }
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn len(&self) -> usize {
        self.matrices.len()
    }

    pub(super) fn row(&self, number: usize) -> &[f32] {
        &self.values[number * self.dim..][..self.dim]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }

    pub(super) fn matrix(&self, number: usize) -> Matrix {
        self.matrices[number].clone()
    }

    pub(super) fn matrices(&self) -> &[Matrix] {
        &self.matrices
    }

    /// The first rows.
    pub(super) fn first(&self, count: usize) -> Rows {
        Rows::new(self.dim, self.values[..count.min(self.len()) * self.dim].to_vec())
    }

    /// Every `n`-th row apart from the others.
    pub(super) fn split(&self, n: usize) -> (Rows, Rows) {
        let pick = |taken: bool| {
            let rows = self.iter().enumerate().filter(|(number, _)| number.is_multiple_of(n) == taken);
            Rows::new(self.dim, rows.flat_map(|(_, row)| row.iter().copied()).collect())
        };
        (pick(false), pick(true))
    }

    pub(super) fn mean(&self) -> Vec<f32> {
        let mut sums = vec![0.0f64; self.dim];
        self.iter().for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value)));
        sums.into_iter().map(|sum| (sum / self.len() as f64) as f32).collect()
    }

    pub(super) fn minus(&self, point: &[f32]) -> Rows {
        let row = |row: &[f32]| row.iter().zip(point).map(|(value, of)| value - of).collect::<Vec<f32>>();
        Rows::new(self.dim, self.iter().flat_map(row).collect())
    }

    /// Each row's inner products with these axes.
    pub(super) fn onto(&self, axes: &[Vec<f32>]) -> Rows {
        let row = |row: &[f32]| axes.iter().map(|axis| dot(row, axis)).collect::<Vec<f32>>();
        Rows::new(axes.len(), self.iter().flat_map(row).collect())
    }

    /// The first principal axes of centred rows, by subspace iteration on the covariance of at most 4,000 of them.
    pub(super) fn principal_axes(&self, count: usize, random: &mut Random) -> Vec<Vec<f32>> {
        let mut covariance = vec![vec![0.0f32; self.dim]; self.dim];
        for row in self.iter().step_by(self.len().div_ceil(4_000)) {
            for (line, &value) in covariance.iter_mut().zip(row) {
                line.iter_mut().zip(row).for_each(|(sum, other)| *sum += value * other);
            }
        }
        let mut axes = random.axes(count, self.dim);
        for _ in 0..30 {
            axes.iter_mut().for_each(|axis| *axis = covariance.iter().map(|line| dot(line, axis)).collect());
            orthonormalise(&mut axes);
        }
        axes
    }
}

pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (blocks, rest) = a.as_chunks::<8>();
    let (others, other_rest) = b.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in blocks.iter().zip(others) {
        (0..8).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum::<f32>() + rest.iter().zip(other_rest).map(|(a, b)| a * b).sum::<f32>()
}

pub(super) fn normalise(row: &mut [f32]) {
    let length = dot(row, row).sqrt().max(1e-20);
    row.iter_mut().for_each(|value| *value /= length);
}

/// Gram and Schmidt.
fn orthonormalise(axes: &mut [Vec<f32>]) {
    for at in 0..axes.len() {
        let (before, rest) = axes.split_at_mut(at);
        for other in before {
            let along = dot(other, &rest[0]);
            rest[0].iter_mut().zip(other).for_each(|(value, other)| *value -= along * *other);
        }
        normalise(&mut rest[0]);
    }
}

/// Numbers that look random and are the same every time.
pub(super) struct Random(ChaCha8Rng);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    /// From 0 to 1.
    pub(super) fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of so many.
    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.uniform() * count as f64) as usize
    }

    /// Standard normal (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.uniform()).ln()).sqrt() * (TAU * self.uniform()).cos()
    }

    pub(super) fn normals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.normal() as f32).collect()
    }

    /// So many axes at right angles in all directions alike.
    pub(super) fn axes(&mut self, count: usize, dim: usize) -> Vec<Vec<f32>> {
        let mut axes: Vec<Vec<f32>> = (0..count).map(|_| self.normals(dim)).collect();
        orthonormalise(&mut axes);
        axes
    }
}

/// The rows of a two-dimensional `.npy` file of half-precision floats.
pub(super) fn read_halves(path: &Path) -> std::io::Result<Rows> {
    let bytes = std::fs::read(path)?;
    let header = 10 + usize::from(bytes[8]) + 256 * usize::from(bytes[9]);
    let text = String::from_utf8_lossy(&bytes[10..header]);
    assert!(text.contains("'<f2'") && text.contains("'fortran_order': False"), "{}: {text}", path.display());
    let shape = text.split(['(', ')']).nth(1).unwrap();
    let dim = shape.split(',').nth(1).unwrap().trim().parse().unwrap();
    let (halves, _) = bytes[header..].as_chunks::<2>();
    Ok(Rows::new(dim, halves.iter().map(|half| from_half(u16::from(half[0]) | u16::from(half[1]) << 8)).collect()))
}

/// A finite half-precision float.
fn from_half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2f32.powi(-24),
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[test]
fn halves_are_read_as_they_are_meant() {
    for (bits, value) in
        [(0x3c00, 1.0), (0xc000, -2.0), (0x3555, 0.333_251_95), (0x0001, 5.960_464_5e-8), (0x7bff, 65_504.0), (0, 0.0)]
    {
        assert_eq!(from_half(bits), value);
    }
}
