//! Builds the index: centroids of a sample, codes of all records, recall measured with some of them.

use super::measure::measure;
use super::search::Parts;
use super::space::{Space, finite};
use super::{Candidates, Rows};
use crate::error::{Error, ErrorKind, Result};
use crate::matrix::StoredMatrix;
use crate::pipeline::cells::{BATCH, Cells, Work};
use crate::pipeline::kmeans::{Centroids, choose};
use crate::score::Metric;
use crate::store::layout::section;
use crate::store::{Counts, SectionsWriter};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

/// Seed of everything that is drawn at random.
const SEED: u64 = 11;
/// Most records that the sample is drawn from.
const SAMPLE_RECORDS: usize = 4_096;
/// Most rows of the sample, and most bytes.
const SAMPLE_ROWS: usize = 1 << 16;
const SAMPLE_BYTES: usize = 64 << 20;
/// Rounds of k-means; more change little.
const ROUNDS: usize = 8;
/// Fewest rows of the sample for each centroid.
const ROWS_PER_CENTROID: usize = 8;
/// Fewest and most centroids, where the sample has rows enough.
const FEWEST: usize = 16;
const MOST: usize = 4_096;
/// Records that are coded at a time, in parallel; and by one thread.
const CHUNK: u32 = 1_024;
const PART: usize = 16;

/// Where the records come from.
pub(super) struct Source<'r> {
    pub(super) rows: &'r Rows<'r>,
    pub(super) records: u32,
    pub(super) dim: usize,
    /// Whether a record that cannot be read is an error, or is left out.
    pub(super) strict: bool,
}

impl<'r> Source<'r> {
    /// Returns the rows of a record; `None` when it has none, or is left out.
    pub(super) fn matrix(&self, record: u32) -> Result<Option<StoredMatrix<'r>>> {
        match (self.rows)(record) {
            Err(error) if !self.strict && error.kind() == ErrorKind::Damage => Ok(None),
            Err(error) => Err(error),
            Ok(matrix) if matrix.view().rows() == 0 => Ok(None),
            Ok(matrix) if matrix.view().dim() == self.dim => Ok(Some(matrix)),
            Ok(matrix) => Err(Error::mismatch("record", format!("rows of {}", self.dim), matrix.view().dim())),
        }
    }
}

impl Candidates {
    /// Writes the sections of the candidates of records `0..records`, whose rows have `dim` numbers, and measures
    /// recall with some of them and with `queries`. The bytes are the same for any number of threads.
    ///
    /// # Errors
    /// Those of `rows` and of the writer. Damage in a record is one only where what is written lasts, else the record
    /// is left out.
    pub(crate) fn build<'r>(
        rows: &'r Rows<'r>,
        records: u32,
        dim: usize,
        metric: Metric,
        queries: &[StoredMatrix<'_>],
        out: &mut SectionsWriter<'_>,
    ) -> Result<Counts> {
        let source = Source { rows, records, dim, strict: out.is_lasting() };
        let mut draws = ChaCha8Rng::seed_from_u64(SEED);
        let (space, centroids, cells) = fit(&source, metric, &mut draws)?;
        let (mut rests, mut starts, mut codes) = (Vec::new(), vec![0u64], Vec::new());
        let mut total = 0;
        for first in (0..records).step_by(CHUNK as usize) {
            let chunk: Vec<u32> = (first..records.min(first.saturating_add(CHUNK))).collect();
            let coded = chunk
                .par_chunks(PART)
                .map_init(Coder::default, |coder, records| coder.code(&source, records, &space, &centroids, &cells));
            for coded in coded.collect::<Result<Vec<Vec<Coded>>>>()?.into_iter().flatten() {
                rests.extend(coded.rests.iter().map(|rest| finite(rest / coded.rows.max(1) as f64)));
                codes.extend_from_slice(&coded.codes);
                starts.push(codes.len() as u64);
                total += coded.rows;
            }
        }
        let centroids = centroids.values();
        let parts = Parts { space: &space, centroids, rests: &rests, starts: &starts, codes: &codes };
        let (weight, curve) = measure(&source, parts, total, queries, &mut draws)?;
        // Halving a number is exact, so what is read back ranks as what was measured.
        rests.iter_mut().for_each(|value| *value *= weight as f32);
        out.section(section::ABOUT, serde_json::json!({ "metric": metric.name() }).to_string().as_bytes())?;
        out.begin(section::CENTROIDS)?;
        out.append(bytemuck::cast_slice(space.origin()))?;
        out.append(bytemuck::cast_slice(centroids))?;
        out.end();
        out.section(section::MATRICES, if weight > 0.0 { bytemuck::cast_slice(&rests) } else { &[] })?;
        out.section(section::LIST_STARTS, bytemuck::cast_slice(&starts))?;
        out.section(section::CODES, bytemuck::cast_slice(&codes))?;
        out.section(section::CURVE, &curve.to_bytes())?;
        out.section(section::QUESTIONS, &curve.questions_to_bytes())?;
        Ok(Counts { records: u64::from(records), rows: codes.len() as u64, dim: dim as u64 })
    }
}

/// Returns the space, and the centroids of a sample of rows in it, also in cells.
fn fit(source: &Source<'_>, metric: Metric, draws: &mut ChaCha8Rng) -> Result<(Space, Centroids, Cells)> {
    let records: Vec<u32> =
        choose(source.records as usize, SAMPLE_RECORDS, draws).map(|record| record as u32).collect();
    let rows = SAMPLE_ROWS.min(SAMPLE_BYTES / size_of::<f32>() / source.dim).max(1);
    let share = rows.div_ceil(records.len().max(1));
    let drawn = records.par_iter().map(|&record| {
        let Some(matrix) = source.matrix(record)? else { return Ok((0, Vec::new())) };
        let matrix = matrix.view();
        let rows = spread(matrix.rows(), share).flat_map(|row| matrix.row(row)).copied().collect();
        Ok((matrix.rows(), rows))
    });
    let drawn = drawn.collect::<Result<Vec<(usize, Vec<f32>)>>>()?;
    let total: usize = drawn.iter().map(|(rows, _)| rows).sum();
    let sample: Vec<f32> = drawn.into_iter().flat_map(|(_, rows)| rows).collect();
    let space = Space::fit(metric, source.dim, &sample);
    let all = total as f64 / records.len().max(1) as f64 * f64::from(source.records);
    let count = ((4.0 * all.sqrt()) as usize).next_power_of_two().clamp(FEWEST, MOST);
    let count = count.min((sample.len() / source.dim).div_ceil(ROWS_PER_CENTROID));
    let mut put = Vec::new();
    space.records(&sample, &mut put);
    drop(sample);
    let (centroids, cells) = Cells::fit(&put, space.width(), count, ROUNDS, draws);
    Ok((space, centroids, cells))
}

/// Returns at most `count` of the numbers below `total`, evenly spread.
fn spread(total: usize, count: usize) -> impl Iterator<Item = usize> {
    let count = count.min(total);
    (0..count).map(move |index| ((2 * index + 1) as u128 * total as u128 / (2 * count) as u128) as usize)
}

/// What is kept of a record.
struct Coded {
    rows: usize,
    /// The sum of what its rows have beyond their centroids.
    rests: Vec<f64>,
    codes: Vec<u16>,
}

/// Memory of a thread that codes records.
#[derive(Default)]
struct Coder {
    /// Rows in the space, and which record each is of.
    rows: Vec<f32>,
    owners: Vec<usize>,
    put: Vec<f32>,
    work: Work,
}

impl Coder {
    /// Codes some records, whose rows are compared with the centroids together.
    fn code(
        &mut self,
        source: &Source<'_>,
        records: &[u32],
        space: &Space,
        centroids: &Centroids,
        cells: &Cells,
    ) -> Result<Vec<Coded>> {
        // An error may have left some.
        self.rows.clear();
        self.owners.clear();
        let mut coded: Vec<Coded> = Vec::with_capacity(records.len());
        for &record in records {
            let matrix = source.matrix(record)?;
            let rows = matrix.as_ref().map_or(0, |matrix| matrix.view().rows());
            coded.push(Coded { rows, rests: vec![0.0; space.width()], codes: Vec::new() });
            for block in matrix.iter().flat_map(|matrix| matrix.view().values().chunks(BATCH * source.dim)) {
                space.records(block, &mut self.put);
                self.rows.extend_from_slice(&self.put);
                self.owners.resize(self.rows.len() / space.width(), coded.len() - 1);
                if self.owners.len() >= BATCH {
                    self.take(&mut coded, centroids, cells);
                }
            }
        }
        self.take(&mut coded, centroids, cells);
        for coded in &mut coded {
            coded.codes.sort_unstable();
            coded.codes.dedup();
        }
        Ok(coded)
    }

    /// Finds the codes of the rows that have come together.
    fn take(&mut self, coded: &mut [Coded], centroids: &Centroids, cells: &Cells) {
        let width = centroids.values().len() / centroids.len().max(1);
        let rows = self.rows.chunks_exact(width.max(1)).zip(&self.owners);
        for ((row, &owner), nearest) in rows.zip(cells.nearest(&self.rows, &mut self.work)) {
            let centroid = &centroids.values()[nearest * width..][..width];
            for ((rest, value), taken) in coded[owner].rests.iter_mut().zip(row).zip(centroid) {
                *rest += f64::from(*value) - f64::from(*taken);
            }
            coded[owner].codes.push(nearest as u16); // below MOST
        }
        self.rows.clear();
        self.owners.clear();
    }
}
