//! Arrays that lie column by column (Fortran order), read as rows: a block of rows at a time, from each column its
//! part.

use super::npy::SeekRead;
use super::numbers::{Number, Unread};
use std::io::SeekFrom;

/// Bytes of a block of rows, unless a single row is longer.
const BLOCK_BYTES: usize = 32 << 20;

/// An array in Fortran order, of two axes or three.
pub(crate) struct Columns {
    source: Box<dyn SeekRead>,
    number: Number,
    /// Where its values begin.
    start: u64,
    /// Length of the first axis, and of all others together.
    rows: usize,
    columns: usize,
    /// The row that is read next.
    next: usize,
    /// Rows from `first` on, column by column.
    block: Vec<Vec<f32>>,
    first: usize,
}

impl Columns {
    pub(crate) fn new(source: Box<dyn SeekRead>, number: Number, start: u64, shape: &[usize]) -> Columns {
        let rows = shape.first().copied().unwrap_or(0);
        let columns = shape.iter().skip(1).product();
        Columns { source, number, start, rows, columns, next: 0, block: Vec::new(), first: 0 }
    }

    /// The numbers of the next record, row after row: of one row of the array, whose second axis is the record's rows
    /// where there are three; or of all of it, where the record has as many rows as the array.
    pub(crate) fn next_record(&mut self, rows: usize, dim: usize) -> Result<Vec<f32>, Unread> {
        let mut numbers = Vec::new();
        numbers.try_reserve_exact(rows * dim).map_err(|_| Unread::Memory(rows * dim * size_of::<f32>()))?;
        if rows * dim == self.columns {
            let at = self.load()?;
            // The rows of the record run faster than its columns.
            numbers.extend((0..rows * dim).map(|n| self.block[n / dim + n % dim * rows][at]));
        } else {
            for row in 0..rows {
                let at = self.load().map_err(|unread| match unread {
                    Unread::Number(column, why) => Unread::Number(row * dim + column, why),
                    other => other,
                })?;
                numbers.extend(self.block.iter().map(|column| column[at]));
            }
        }
        Ok(numbers)
    }

    /// Makes sure that the next row is in the block, and says where in it.
    fn load(&mut self) -> Result<usize, Unread> {
        let loaded = self.block.first().map_or(0, Vec::len);
        if self.next >= self.first + loaded {
            let most = BLOCK_BYTES / (self.columns * size_of::<f32>()).max(1);
            let mut count = most.clamp(1, (self.rows - self.next).max(1));
            while let Err((column, unread)) = self.load_block(count) {
                match unread {
                    // The rows before it are good.
                    Unread::Number(row @ 1.., _) => count = row,
                    Unread::Number(_, why) => return Err(Unread::Number(column, why)),
                    other => return Err(other),
                }
            }
        }
        self.next += 1;
        Ok(self.next - 1 - self.first)
    }

    /// Loads so many rows from the next on; the error tells the column that it came from.
    fn load_block(&mut self, count: usize) -> Result<(), (usize, Unread)> {
        self.block.clear();
        self.first = self.next;
        for column in 0..self.columns {
            let at = column as u64 * self.rows as u64 + self.next as u64;
            let place = SeekFrom::Start(self.start + at * self.number.width() as u64);
            self.source.seek(place).map_err(|error| (column, error.into()))?;
            self.block.push(self.number.read(&mut *self.source, count).map_err(|unread| (column, unread))?);
        }
        Ok(())
    }
}
