//! `.parquet`: every row a record. One column holds lists of numbers (vectors) or lists of such lists (matrices), one
//! may hold ids, and those of text, numbers and truth values become fields. Other columns are not read.
//!
//! The `parquet` crate panics on some damaged files (7 of 2,256 with one bit flipped), so each call into it is guarded.
//! Most writers put no sums into such files: a bit flipped in a value is not noticed by anyone.

use super::{Input, Naming};
use otolith::Record;
use otolith::{Error, Result};
use otolith::{Matrix, limits};
use parquet::basic::{ConvertedType, LogicalType, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, List, Row};
use parquet::schema::types::Type;
use serde_json::{Number, Value};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

/// Opens a file and reads its first row, to know the length of all others.
pub(crate) fn open(path: &Path, naming: &Naming<'_>) -> Result<Input> {
    let mut rows = Rows::open(path, naming)?;
    let count = rows.count;
    let dim = match rows.next() {
        None => return Err(Error::unusable(path, "no row in it")),
        Some(record) => record?.matrix.dim(),
    };
    let mut rows = Rows::open(path, naming)?;
    rows.dim = Some(dim);
    Ok(Input { unique: naming.id_column.is_none(), ..Input::new(dim, count, rows) })
}

/// The rows of a file, one after another.
struct Rows {
    path: PathBuf,
    rows: RowIter<'static>,
    count: u64,
    number: u64,
    column: String,
    id_column: Option<String>,
    /// Dimension of a matrix, once one is known.
    dim: Option<usize>,
}

impl Rows {
    fn open(path: &Path, naming: &Naming<'_>) -> Result<Rows> {
        guarded(|| Rows::open_unguarded(path, naming)).unwrap_or_else(|| Err(Error::unusable(path, DAMAGED)))
    }

    fn open_unguarded(path: &Path, naming: &Naming<'_>) -> Result<Rows> {
        let refuse = |why: String| Error::unusable(path, why);
        let broken = |error: ParquetError| refuse(format!("no Parquet file that can be read ({error})"));
        let file = otolith::outside::open(path)?;
        let reader = SerializedFileReader::new(file).map_err(broken)?;
        let head = reader.metadata().file_metadata();
        let count = u64::try_from(head.num_rows()).map_err(|_| refuse("fewer rows than none".to_owned()))?;
        let columns = head.schema().get_fields();
        let named = |name: &str| columns.iter().any(|column| column.name() == name);
        let column = match naming.column {
            Some(name) if named(name) => name.to_owned(),
            Some(name) => return Err(Error::not_found("column", name, columns.iter().map(|column| column.name()))),
            None => match columns.iter().find(|column| holds_floats(column)) {
                Some(column) => column.name().to_owned(),
                None => return Err(refuse("no column of lists of floats: name one with --column".to_owned())),
            },
        };
        if let Some(name) = naming.id_column.filter(|name| !named(name)) {
            return Err(Error::not_found("column", name, columns.iter().map(|column| column.name())));
        }
        let read =
            columns.iter().filter(|one| one.name() == column || Some(one.name()) == naming.id_column || is_field(one));
        let schema = Type::group_type_builder(head.schema().name()).with_fields(read.cloned().collect()).build();
        let rows = RowIter::from_file_into(Box::new(reader)).project(Some(schema.map_err(broken)?)).map_err(broken)?;
        let id_column = naming.id_column.map(str::to_owned);
        Ok(Rows { path: path.to_owned(), rows, count, number: 0, column, id_column, dim: None })
    }

    fn record(&self, row: Row) -> Result<Record> {
        let (mut id, mut matrix, mut fields) = (None, None, Vec::new());
        for (name, value) in row.into_columns() {
            if name == self.column {
                matrix = Some(self.matrix(&value)?);
            } else if Some(&name) == self.id_column.as_ref() {
                id = Some(match field(&value) {
                    Some(Value::String(id)) => id,
                    Some(Value::Number(id)) if !id.is_f64() => id.to_string(),
                    _ => return Err(self.refuse(format!("`{name}` is {value}, which is no id"))),
                });
            } else if let Some(value) = field(&value) {
                fields.push((name, value));
            }
        }
        let matrix = matrix.ok_or_else(|| self.refuse(format!("no `{}`", self.column)))?;
        let record = match id {
            Some(id) => Record::new(id, matrix),
            None => Record::auto(matrix),
        };
        Ok(fields.into_iter().fold(record, |record, (name, value)| record.field(name, value)))
    }

    fn matrix(&self, value: &Field) -> Result<Matrix> {
        let wrong = |what: String| self.refuse(format!("`{}`: {what}", self.column));
        let Field::ListInternal(list) = value else { return Err(wrong("no list of numbers".to_owned())) };
        let nested = matches!(list.elements().first(), Some(Field::ListInternal(_)));
        let mut values = Vec::new();
        let (mut rows, mut dim) = (0, self.dim);
        let mut push = |row: &List| {
            let before = values.len();
            for value in row.elements() {
                values.push(number(value).ok_or_else(|| wrong(format!("{value} is no number")))?);
            }
            rows += 1;
            let found = values.len() - before;
            match *dim.get_or_insert(found) {
                dim if dim == found => Ok(()),
                dim => Err(wrong(format!("row {} has {found} numbers, those before have {dim}", rows - 1))),
            }
        };
        if nested {
            list.elements().iter().try_for_each(|row| match row {
                Field::ListInternal(row) => push(row),
                other => Err(wrong(format!("{other} among lists"))),
            })?;
        } else if !list.elements().is_empty() {
            push(list)?;
        }
        let dim = dim.filter(|dim| *dim <= limits::DIM).unwrap_or(0);
        Matrix::from_rows(rows, dim, values).map_err(|error| wrong(error.to_string()))
    }

    fn refuse(&self, why: impl ToString) -> Error {
        Error::unusable(&self.path, format!("row {}: {}", self.number, why.to_string()))
    }
}

impl Iterator for Rows {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        if self.number == self.count {
            return None;
        }
        let record = match guarded(|| self.rows.next()) {
            None => Err(self.refuse(DAMAGED)),
            Some(None) => Err(self.refuse(format!("the file ends, and was to have {}", self.count))),
            Some(Some(Err(error))) => Err(self.refuse(error)),
            Some(Some(Ok(row))) => self.record(row),
        };
        self.number += 1;
        Some(record)
    }
}

/// What is said of a file that the crate gave up on.
const DAMAGED: &str = "damaged, so that it cannot be decoded";

/// The result of a call into the crate; none when it panicked, which is kept quiet.
fn guarded<T>(call: impl FnOnce() -> T) -> Option<T> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    panic::set_hook(hook);
    result.ok()
}

/// Whether a column is of lists, or lists of lists, of floats.
fn holds_floats(column: &Type) -> bool {
    match column {
        Type::PrimitiveType { physical_type, .. } => {
            let repeated = column.get_basic_info().repetition() == parquet::basic::Repetition::REPEATED;
            repeated && matches!(physical_type, Physical::FLOAT | Physical::DOUBLE)
        }
        Type::GroupType { fields, .. } if column.get_basic_info().converted_type() == ConvertedType::LIST => {
            fields.iter().any(|inner| inner.is_group() && inner.get_fields().iter().any(|item| is_float_or_list(item)))
        }
        Type::GroupType { .. } => false,
    }
}

fn is_float_or_list(item: &Type) -> bool {
    match item {
        Type::PrimitiveType { physical_type, .. } => {
            let half = item.get_basic_info().logical_type_ref() == Some(&LogicalType::Float16);
            half || matches!(physical_type, Physical::FLOAT | Physical::DOUBLE)
        }
        Type::GroupType { .. } => holds_floats(item),
    }
}

/// Whether a column's values can be fields.
fn is_field(column: &Type) -> bool {
    let info = column.get_basic_info();
    let text = info.converted_type() == ConvertedType::UTF8 || info.logical_type_ref() == Some(&LogicalType::String);
    column.is_primitive()
        && info.repetition() != parquet::basic::Repetition::REPEATED
        && match column.get_physical_type() {
            Physical::BOOLEAN | Physical::FLOAT | Physical::DOUBLE => true,
            Physical::INT32 | Physical::INT64 => !matches!(
                info.converted_type(),
                ConvertedType::DECIMAL
                    | ConvertedType::DATE
                    | ConvertedType::TIME_MILLIS
                    | ConvertedType::TIME_MICROS
                    | ConvertedType::TIMESTAMP_MILLIS
                    | ConvertedType::TIMESTAMP_MICROS
            ),
            Physical::BYTE_ARRAY => text,
            Physical::INT96 | Physical::FIXED_LEN_BYTE_ARRAY => false,
        }
}

/// A value as a field; none where it is null or no number that JSON has.
fn field(value: &Field) -> Option<Value> {
    Some(match value {
        Field::Bool(value) => Value::from(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(value) => Value::from(*value),
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        Field::Float(value) => Value::Number(Number::from_f64(f64::from(*value))?),
        Field::Double(value) => Value::Number(Number::from_f64(*value)?),
        Field::Str(value) => Value::from(value.as_str()),
        _ => return None,
    })
}

/// A value of a matrix.
fn number(value: &Field) -> Option<f32> {
    Some(match value {
        Field::Float16(value) => value.to_f32(),
        Field::Float(value) => *value,
        Field::Double(value) => *value as f32,
        other => field(other)?.as_f64()? as f32,
    })
}
