//! What a collection holds: records with an id, a matrix and fields, under a [`Schema`].

mod fields;
mod schema;

pub use fields::Fields;
pub use schema::Schema;

use crate::error::{Error, Result};
use crate::limits;
use crate::matrix::Matrix;
use serde_json::Value;

/// A record as it is written and read: an id, a matrix, and fields to filter by and to show.
///
/// # Examples
///
/// ```
/// use otolith::{Matrix, Record};
///
/// let matrix = Matrix::from_rows(2, 3, vec![0.5; 6])?;
/// let record = Record::new("dog-1", matrix).field("class", "dog").field("seconds", 5.0).field("indoors", true);
/// assert_eq!(record.fields["class"], "dog");
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The id: 1 to 1,024 bytes of UTF-8. `None` means that the collection numbers the record when it is written.
    pub id: Option<String>,
    /// The rows, of the collection's dimension; any number of them.
    pub matrix: Matrix,
    /// Named values to filter by: text, numbers, true, false, null.
    pub fields: Fields,
}

impl Record {
    /// Makes a record with this id and no fields. Writing it replaces a record of the same id.
    pub fn new(id: impl Into<String>, matrix: Matrix) -> Record {
        Record { id: Some(id.into()), matrix, fields: Fields::default() }
    }

    /// Makes a record that gets the next number of its collection as its id when it is written: 20 digits, so that
    /// sorting by id is sorting by arrival.
    ///
    /// No number is given twice, nor one that is already the id of a record or is named anywhere in the same commit.
    /// A record that you name by 20 digits below 2^61 moves the count past that number, for good.
    pub fn auto(matrix: Matrix) -> Record {
        Record { id: None, matrix, fields: Fields::default() }
    }

    /// Returns the id that a collection gives to the record with this number: the number in 20 digits.
    pub fn numbered_id(number: u64) -> String {
        format!("{number:020}")
    }

    /// Returns whether an id has the form of those that a collection gives: 20 digits.
    pub fn is_numbered_id(id: &str) -> bool {
        id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// Checks that an id can be stored.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is empty or has more than [`limits::ID_BYTES`] bytes.
    pub fn check_id(id: &str) -> Result<()> {
        if id.is_empty() || id.len() > limits::ID_BYTES {
            return Err(Error::invalid(
                "id",
                format!("{} bytes long: 1 to {} are allowed", id.len(), limits::ID_BYTES),
            ));
        }
        Ok(())
    }

    /// Adds a field, replacing one of the same name. Whether it can be stored is checked when the record is written.
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Record {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// Checks everything that a store relies on: id, fields, and the shape that the schema asks for.
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

/// Returns the number that an id is, if it could have been given to a record without an id.
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
