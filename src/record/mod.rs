//! What a collection holds: records with an id, a matrix and fields, under a [`Schema`].
//!
//! ```
//! use otolith::{Matrix, Record};
//!
//! let record = Record::new("dog-1", Matrix::from_rows(2, 3, vec![0.5; 6])?).field("class", "dog").field("seconds", 5.0);
//! assert_eq!(record.fields["class"], "dog");
//! # Ok::<(), otolith::Error>(())
//! ```

mod fields;
mod schema;

pub use fields::Fields;
pub use schema::Schema;

use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::Matrix;
use serde_json::Value;

/// One record as it is written: an id (or none yet), a matrix, fields.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The id, 1 to 1,024 bytes of UTF-8; `None` is numbered when it is written.
    pub id: Option<String>,
    /// The rows.
    pub matrix: Matrix,
    /// JSON scalars by name.
    pub fields: Fields,
}

impl Record {
    /// A record with an id of its own; writing it replaces a record of the same id.
    pub fn new(id: impl Into<String>, matrix: Matrix) -> Record {
        Record { id: Some(id.into()), matrix, fields: Fields::default() }
    }

    /// A record that gets the next number as its id: 20 digits, so that the order of ids is the order of arrival. No number is
    /// given twice, nor one that is the name of a record of the collection or is named anywhere in the same commit; a record
    /// named by 20 digits below 2^61 moves the count past it, whether it is still there or not.
    pub fn auto(matrix: Matrix) -> Record {
        Record { id: None, matrix, fields: Fields::default() }
    }

    /// The id that the collection gives to the record with this number.
    pub fn numbered_id(number: u64) -> String {
        format!("{number:020}")
    }

    /// Whether an id has the form of those that a collection gives: 20 digits.
    pub fn is_numbered_id(id: &str) -> bool {
        id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// Checks the length of an id.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it has no byte or more than [`limits::ID_BYTES`].
    pub fn check_id(id: &str) -> Result<()> {
        if id.is_empty() || id.len() > limits::ID_BYTES {
            return Err(Error::invalid(
                "id",
                format!("{} bytes long: 1 to {} are allowed", id.len(), limits::ID_BYTES),
            ));
        }
        Ok(())
    }

    /// The record with one more field.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Record {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// Checks everything that a store relies on: id, fields, shape under the schema.
    pub(crate) fn check(&self, schema: &Schema) -> Result<()> {
        if let Some(id) = &self.id {
            Record::check_id(id)?;
        }
        if self.matrix.dim() != schema.dim {
            return Err(Error::mismatch(
                "matrix",
                format!("rows of {} numbers", schema.dim),
                format!("rows of {}", self.matrix.dim()),
            ));
        }
        let bytes = (self.matrix.values().len() as u64).checked_mul(schema.precision.bytes() as u64);
        if bytes.is_none_or(|bytes| bytes > limits::MATRIX_BYTES) {
            return Err(Error::invalid("matrix", format!("larger than {} bytes", limits::MATRIX_BYTES)));
        }
        self.fields.check()
    }
}

/// The number that an id is, if it could have been given to a record without one.
pub(crate) fn number_of(id: &str) -> Option<u64> {
    id.parse().ok().filter(|number| Record::is_numbered_id(id) && *number < limits::COUNTER)
}

/// Checks the name of a collection or view.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    if name.is_empty() || name.len() > limits::NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Error::invalid(what, format!("{name:?}: 1 to {} bytes of printable text", limits::NAME_BYTES)));
    }
    Ok(())
}
