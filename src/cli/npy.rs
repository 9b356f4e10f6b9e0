//! `.npy` arrays in and out, by the `npyz` crate, streaming.

use crate::error::{Error, Result};
use crate::matrix::{Matrix, MatrixView};
use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder};
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

/// An array being read from its beginning; values come as `f32` whatever they are in the file.
pub(super) struct ArrayReader {
    path: PathBuf,
    shape: Vec<usize>,
    values: Box<dyn Iterator<Item = io::Result<f32>>>,
}

impl ArrayReader {
    /// Opens an array of floats in C order.
    pub(super) fn open(path: &Path) -> Result<ArrayReader> {
        let file = File::open(path).map_err(|error| Error::io(path, "open", error))?;
        let array = NpyFile::new(BufReader::new(file))
            .map_err(|error| Error::unusable(path, format!("no .npy array ({error})")))?;
        if array.order() != Order::C && array.shape().len() > 1 {
            return Err(Error::unusable(path, "Fortran order: save it with numpy.ascontiguousarray"));
        }
        let shape = array.shape().iter().map(|&n| usize::try_from(n)).collect::<Result<Vec<_>, _>>();
        let shape = shape.map_err(|_| Error::unusable(path, "larger than this machine's memory"))?;
        let (dtype, refused) = (array.dtype(), |error| Error::unusable(path, format!("{error}")));
        let size = match &dtype {
            DType::Plain(plain) if plain.type_char() == TypeChar::Float => plain.size_field(),
            _ => 0,
        };
        let values: Box<dyn Iterator<Item = io::Result<f32>>> = match size {
            2 => Box::new(array.data::<npyz::half::f16>().map_err(refused)?.map(|value| value.map(f32::from))),
            4 => Box::new(array.data::<f32>().map_err(refused)?),
            8 => Box::new(array.data::<f64>().map_err(refused)?.map(|value| value.map(|value| value as f32))),
            _ => {
                let found = dtype.descr();
                return Err(Error::unusable(path, format!("holds {found}: floats of 2, 4 or 8 bytes are read")));
            }
        };
        Ok(ArrayReader { path: path.to_owned(), shape, values })
    }

    /// Lengths of the axes.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The next `rows x dim` values.
    pub(super) fn next_matrix(&mut self, rows: usize, dim: usize) -> Result<Matrix> {
        let length = rows.checked_mul(dim).ok_or_else(|| Error::unusable(&self.path, "a record too large"))?;
        // Grows as values arrive: the header may promise more than the file has.
        let mut values = Vec::with_capacity(length.min(1 << 20));
        for value in self.values.by_ref().take(length) {
            values.push(value.map_err(|error| Error::unusable(&self.path, format!("ends early ({error})")))?);
        }
        Matrix::from_rows(rows, dim, values).map_err(|error| Error::unusable(&self.path, error.to_string()))
    }

    /// The whole array as one matrix; an array of one axis is one row.
    pub(super) fn into_matrix(mut self) -> Result<Matrix> {
        match *self.shape {
            [dim] => self.next_matrix(1, dim),
            [rows, dim] => self.next_matrix(rows, dim),
            _ => {
                let axes = self.shape.len();
                Err(Error::unusable(&self.path, format!("{axes} axes: a matrix has two (rows, numbers in a row)")))
            }
        }
    }
}

/// Writes one matrix as `f32`, shape `(rows, dim)`.
pub(super) fn write_matrix(path: &Path, matrix: MatrixView<'_>) -> Result<()> {
    write_records(path, &[matrix.rows(), matrix.dim()], [Ok(matrix.values().to_vec())])
}

/// Writes records one after another as one `f32` array of that shape.
pub(super) fn write_records(
    path: &Path,
    shape: &[usize],
    records: impl IntoIterator<Item = Result<Vec<f32>>>,
) -> Result<()> {
    let failed = |error| Error::io(path, "write", error);
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    let mut file = BufWriter::new(File::create(path).map_err(|error| Error::io(path, "create", error))?);
    let options = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut file);
    let mut array = options.begin_nd().map_err(failed)?;
    for values in records {
        array.extend(values?).map_err(failed)?;
    }
    array.finish().map_err(failed)?;
    io::Write::flush(&mut file).map_err(failed)
}
