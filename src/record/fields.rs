//! The named values of a record.

use crate::error::{Error, Result};
use crate::limits;
use serde_json::{Map, Value};
use std::ops::{Deref, DerefMut};

/// The fields of a record: names with JSON values that are text, numbers, true, false or null. Dereferences to a
/// `serde_json::Map`, whose methods it has.
///
/// # Examples
///
/// ```
/// use otolith::Fields;
///
/// let mut fields = Fields::default();
/// fields.insert("class".to_owned(), "dog".into());
/// fields.insert("seconds".to_owned(), 5.into());
/// assert_eq!(fields["class"], "dog");
/// assert_eq!(fields.to_json(), r#"{"class":"dog","seconds":5}"#);
///
/// fields.insert("tags".to_owned(), vec!["a", "b"].into());
/// assert!(fields.check().is_err()); // a list cannot be filtered on
/// # Ok::<(), otolith::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Checks that the fields can be stored.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that is empty or longer than [`limits::NAME_BYTES`], a value that is an array or
    /// an object, or more than [`limits::FIELDS_BYTES`] bytes of JSON in all.
    pub fn check(&self) -> Result<()> {
        for (name, value) in &self.0 {
            if name.is_empty() || name.len() > limits::NAME_BYTES {
                return Err(Error::invalid("field", format!("{name:?}: a name has 1 to {} bytes", limits::NAME_BYTES)));
            }
            if value.is_array() || value.is_object() {
                return Err(Error::invalid(
                    format!("field `{name}`"),
                    "arrays and objects cannot be filtered on: give text, a number, true, false or null",
                ));
            }
        }
        let bytes = self.to_json().len();
        if bytes > limits::FIELDS_BYTES {
            return Err(Error::invalid("fields", format!("{bytes} bytes of JSON: at most {}", limits::FIELDS_BYTES)));
        }
        Ok(())
    }

    /// Reads a field as the name of a class: text as it is, other values as JSON. `None` when the field is null or
    /// missing.
    pub fn label(&self, field: &str) -> Option<String> {
        match self.0.get(field)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// Writes the fields as a JSON object on one line.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// Reads what [`Fields::to_json`] wrote; `None` for anything but a JSON object.
    pub(crate) fn from_json(bytes: &[u8]) -> Option<Fields> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(map)) => Some(Fields(map)),
            _ => None,
        }
    }
}

impl Deref for Fields {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl DerefMut for Fields {
    fn deref_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }
}

impl From<Map<String, Value>> for Fields {
    fn from(map: Map<String, Value>) -> Fields {
        Fields(map)
    }
}
