//! What a view does to the rows of a record: a chain of steps, fitted once, applied to every record and every query.
//!
//! **Words.** A [`Step`] says what to do (`keep every second row`, `PCA to 96`); a [`Pipeline`] is a chain of steps
//! with what they have learnt from training rows. *Row steps* (centre, standardise, PCA, LDA, contrast, normalise,
//! codes) turn one row into one row. [`Step::Stack`] and [`Step::Every`] choose rows; [`Step::Concatenate`] and
//! [`Step::Pool`] end with one row for the whole record.
//!
//! **In and out.** [`Pipeline::fit`] reads the records of a [`Source`]; [`Pipeline::apply`] takes raw rows and gives
//! the rows that are searched. The result depends on the pipeline and the matrix alone, so derived rows can be
//! dropped and made again; a record without rows stays without rows. The last bits of products may differ between
//! processors with different vector units.
//!
//! **Costs.** `apply` runs on the caller's thread in blocks of 256 rows: its memory is the result plus two such
//! blocks at the widest step (medians and quantiles keep all rows). `fit` passes over the source once for every step
//! that learns, in parallel, sums in a fixed order (the number of threads changes nothing), and holds a batch of
//! derived rows at a time. In addition PCA holds half a square matrix of its columns or of the training rows,
//! whichever are fewer, LDA half a square matrix of its columns, and [`Step::Codes`] its sample. [`Step::Lda`] and
//! [`Step::Contrast`] learn from the records that [`Source::label`] has a label for, the other steps from all.
//!
//! **Stored form.** Each fitted step is stored as its settings, as [`Step::to_json`] gives them, and arrays in single
//! precision, row-major.
//!
//! | kind | step | arrays (`d` numbers in a row come in, `n` come out) |
//! |---|---|---|
//! | 1 | stack | none |
//! | 2 | every | none |
//! | 3 | affine (centre, standardise): `(row - mean) * factor` | mean `d`, factor `d` |
//! | 4 | linear (contrast, PCA, LDA): `(row - mean) matrix` | mean `d`, matrix `d x n` |
//! | 5 | normalise | none |
//! | 6 | concatenate | none |
//! | 7 | pool | none |
//! | 8 | codes: `max(centroids row, 0)` | centroids `n x d` |
//!
//! For kinds 3, 4 and 8 the settings only tell how the numbers came about; applying needs the arrays alone.

mod apply;
pub(crate) mod cells;
mod codes;
mod contrast;
mod fit;
mod fitted;
pub(crate) mod kmeans;
#[cfg(feature = "fit")]
mod lda;
#[cfg(feature = "fit")]
mod pca;
mod pool;
pub mod recipes;
mod section;
mod source;
mod step;
mod text;

pub use pool::Statistic;
#[doc(hidden)] // what the store keeps of a fitted pipeline
pub use section::{Array, Section};
pub use source::Source;
pub use step::Step;

use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::{Matrix, MatrixView};
use fitted::Fitted;

/// A chain of fitted steps: turns the raw rows of a record into the rows that are searched. A view of a collection
/// has one inside; use it by itself to derive rows without a database.
///
/// # Examples
///
/// ```
/// use otolith::Matrix;
/// use otolith::pipeline::{Pipeline, Step};
///
/// let training: Vec<Matrix> = (0..4)
///     .map(|n| Matrix::from_rows(3, 2, (0..6).map(|x| (n * x) as f32).collect()))
///     .collect::<Result<_, _>>()?;
/// let pipeline = Pipeline::fit(&[Step::Stack { offsets: vec![-1, 0] }, Step::Standardise], 2, &training)?;
/// assert_eq!((pipeline.input_dim(), pipeline.dim()), (2, 4)); // each row beside the one before it
///
/// let rows = pipeline.apply(training[1].view())?;
/// assert_eq!((rows.rows(), rows.dim()), (3, 4));
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    input_dim: usize,
    dim: usize,
    steps: Vec<Fitted>,
}

impl Pipeline {
    /// Makes the pipeline of no steps: rows of `dim` numbers come out as they went in.
    fn identity(dim: usize) -> Result<Pipeline> {
        if dim == 0 || dim > limits::DIM {
            return Err(Error::invalid("dimension", format!("{dim} is not between 1 and {}", limits::DIM)));
        }
        Ok(Pipeline { input_dim: dim, dim, steps: Vec::new() })
    }

    /// Appends a step; it takes the rows that come out of the steps before it.
    fn push(&mut self, step: Fitted) -> Result<()> {
        self.dim = step.output_dim(self.dim)?;
        self.steps.push(step);
        Ok(())
    }

    /// Fits `steps`, in order, to the records of `source`, whose rows have `dim` numbers. Each step learns from the
    /// rows that the steps before it make. Records without rows are skipped; the source is read only if a step has
    /// something to learn.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a setting makes no sense, when a step needs training rows or labels and there are
    /// none, or when [`Step::Pca`] or [`Step::Lda`] is fitted by a build without the feature `fit`; errors of the
    /// source.
    pub fn fit(steps: &[Step], dim: usize, source: &dyn Source) -> Result<Pipeline> {
        fit::fit(steps, dim, source)
    }

    /// Derives the rows of a matrix.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when its rows have another dimension than the pipeline was fitted for, [`Error::Invalid`]
    /// when a value overflows.
    pub fn apply(&self, matrix: MatrixView<'_>) -> Result<Matrix> {
        if matrix.dim() != self.input_dim {
            return Err(Error::mismatch("dimension", self.input_dim, matrix.dim()));
        }
        apply::apply(&self.steps, matrix)
    }

    /// Returns the dimension of the rows that go in.
    pub fn input_dim(&self) -> usize {
        self.input_dim
    }

    /// Returns the dimension of the rows that come out.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns how many rows come out for a record of `rows` rows.
    pub fn rows(&self, rows: usize) -> usize {
        self.steps.iter().fold(rows, |rows, step| step.output_rows(rows))
    }

    /// Returns which raw row a derived row stands for: with `Some(n)`, derived row `i` stands for raw row `i * n`;
    /// with `None`, a derived row stands for the whole record.
    pub fn row_step(&self) -> Option<usize> {
        self.steps.iter().try_fold(1usize, |step, fitted| match fitted {
            Fitted::Every { n } => Some(step.saturating_mul(*n)),
            Fitted::Concatenate { .. } | Fitted::Pool { .. } => None,
            _ => Some(step),
        })
    }

    /// Returns the fitted steps in the form in which they are stored.
    #[doc(hidden)]
    pub fn sections(&self) -> Vec<Section> {
        self.steps.iter().map(Fitted::section).collect()
    }

    /// Reads a pipeline for raw rows of `dim` numbers from the form in which it was stored.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a section is of an unknown kind or does not fit the rows that reach it.
    #[doc(hidden)]
    pub fn from_sections(dim: usize, sections: &[Section]) -> Result<Pipeline> {
        let mut pipeline = Pipeline::identity(dim)?;
        for section in sections {
            pipeline.push(Fitted::from_section(pipeline.dim, section)?)?;
        }
        Ok(pipeline)
    }
}
