//! The payload of a frame: operations one after another, each at a multiple of 8 bytes.

use crate::limits;
use crate::record::check_name;
use crate::store::layout::{
    BLOCK_BYTES, Field, collection_operation as collection, create_collection_operation as create_collection,
    create_view_operation as create_view, delete_operation as delete, drop_collection_operation as drop_collection,
    drop_view_operation as drop_view, operation, place, upsert_operation as upsert,
};

/// One operation, borrowed from what it is written from or read from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Operation<'a> {
    /// The operations after it belong to this collection, whose next record without an id gets the number
    /// `next_record`.
    Collection { id: u64, next_record: u64 },
    /// Creates a collection. The schema is JSON.
    CreateCollection { id: u64, name: &'a str, schema: &'a [u8] },
    /// Drops a collection.
    DropCollection { id: u64 },
    /// Creates a view, with the bytes of its file and the numbers in the file's name.
    CreateView { name: &'a str, number: u64, random: u64, file: &'a [u8] },
    /// Drops the view of this name.
    DropView { name: &'a str },
    /// Deletes the record with this id.
    Delete { id: &'a str },
    /// Adds or replaces a record. The matrix is `rows` rows of stored values.
    Upsert { id: &'a str, fields: &'a [u8], rows: u64, matrix: &'a [u8] },
    /// Adds or replaces a record whose matrix of `matrix_bytes` bytes lies elsewhere.
    UpsertDirect { id: &'a str, fields: &'a [u8], rows: u64, matrix_bytes: u64, place: Place },
}

/// Where a matrix lies in a segment file, and the CRC-32 of each 64 KiB of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub number: u64,
    pub random: u64,
    pub offset: u64,
    pub sums: Vec<u32>,
}

impl Operation<'_> {
    /// Appends the operation to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Operation::Collection { id, next_record } => {
                let head = start(out, collection::BYTES, operation::COLLECTION);
                collection::COLLECTION.put_number(head, *id);
                collection::NEXT_RECORD.put_number(head, *next_record);
            }
            Operation::CreateCollection { id, name, schema } => {
                let head = start(out, create_collection::BYTES, operation::CREATE_COLLECTION);
                create_collection::NAME_BYTES.put_number(head, name.len() as u64);
                create_collection::COLLECTION.put_number(head, *id);
                create_collection::SCHEMA_BYTES.put_number(head, schema.len() as u64);
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(schema);
            }
            Operation::DropCollection { id } => {
                let head = start(out, drop_collection::BYTES, operation::DROP_COLLECTION);
                drop_collection::COLLECTION.put_number(head, *id);
            }
            Operation::CreateView { name, number, random, file } => {
                let head = start(out, create_view::BYTES, operation::CREATE_VIEW);
                create_view::NAME_BYTES.put_number(head, name.len() as u64);
                create_view::FILE_NUMBER.put_number(head, *number);
                create_view::FILE_RANDOM.put_number(head, *random);
                create_view::FILE_BYTES.put_number(head, file.len() as u64);
                out.extend_from_slice(name.as_bytes());
                pad(out);
                out.extend_from_slice(file);
            }
            Operation::DropView { name } => {
                let head = start(out, drop_view::BYTES, operation::DROP_VIEW);
                drop_view::NAME_BYTES.put_number(head, name.len() as u64);
                out.extend_from_slice(name.as_bytes());
            }
            Operation::Delete { id } => {
                let head = start(out, delete::BYTES, operation::DELETE);
                delete::ID_BYTES.put_number(head, id.len() as u64);
                out.extend_from_slice(id.as_bytes());
            }
            Operation::Upsert { id, fields, rows, matrix } => {
                let head = start(out, upsert::BYTES, operation::UPSERT);
                put_record(head, id, fields, *rows, matrix.len() as u64);
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(fields);
                pad(out);
                out.extend_from_slice(matrix);
            }
            Operation::UpsertDirect { id, fields, rows, matrix_bytes, place: at } => {
                let head = start(out, upsert::BYTES, operation::UPSERT_DIRECT);
                put_record(head, id, fields, *rows, *matrix_bytes);
                out.extend_from_slice(id.as_bytes());
                out.extend_from_slice(fields);
                pad(out);
                let head = grow(out, place::BYTES);
                place::FILE_NUMBER.put_number(head, at.number);
                place::FILE_RANDOM.put_number(head, at.random);
                place::OFFSET.put_number(head, at.offset);
                out.extend(at.sums.iter().flat_map(|sum| sum.to_le_bytes()));
            }
        }
        pad(out);
    }
}

fn grow(out: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    let at = out.len();
    out.resize(at + bytes, 0);
    &mut out[at..]
}

fn start(out: &mut Vec<u8>, bytes: usize, kind: u32) -> &mut [u8] {
    let head = grow(out, bytes);
    collection::KIND.put_number(head, u64::from(kind));
    head
}

fn put_record(head: &mut [u8], id: &str, fields: &[u8], rows: u64, matrix_bytes: u64) {
    upsert::ID_BYTES.put_number(head, id.len() as u64);
    upsert::FIELDS_BYTES.put_number(head, fields.len() as u64);
    upsert::ROWS.put_number(head, rows);
    upsert::MATRIX_BYTES.put_number(head, matrix_bytes);
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(8), 0);
}

/// Reads the operations of a payload whose sum fits. Anything wrong in it was written that way; the error says what.
pub(crate) fn read(payload: &[u8]) -> Result<Vec<Operation<'_>>, &'static str> {
    let mut rest = Rest { payload, at: 0 };
    let mut operations = Vec::new();
    while rest.at < payload.len() {
        operations.push(rest.operation()?);
        rest.at = rest.at.next_multiple_of(8);
    }
    Ok(operations)
}

struct Rest<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: u64) -> Result<&'a [u8], &'static str> {
        let end = usize::try_from(bytes).ok().and_then(|bytes| self.at.checked_add(bytes));
        let taken = end.and_then(|end| self.payload.get(self.at..end)).ok_or("an operation reaches past its frame")?;
        self.at += taken.len();
        Ok(taken)
    }

    fn id(&mut self, head: &[u8], length: Field) -> Result<&'a str, &'static str> {
        let id = self.take(length.number(head))?;
        let fits = (1..=limits::ID_BYTES).contains(&id.len());
        str::from_utf8(id).ok().filter(|_| fits).ok_or("an id that cannot be one")
    }

    fn name(&mut self, head: &[u8], length: Field) -> Result<&'a str, &'static str> {
        let name = str::from_utf8(self.take(length.number(head))?).ok();
        name.filter(|name| check_name("name", name).is_ok()).ok_or("a name that cannot be one")
    }

    fn operation(&mut self) -> Result<Operation<'a>, &'static str> {
        let kind = self.payload.get(self.at..self.at + 4).ok_or("an operation reaches past its frame")?;
        match collection::KIND.number(kind) as u32 {
            operation::COLLECTION => {
                let head = self.take(collection::BYTES as u64)?;
                let id = collection::COLLECTION.number(head);
                Ok(Operation::Collection { id, next_record: collection::NEXT_RECORD.number(head) })
            }
            operation::CREATE_COLLECTION => {
                let head = self.take(create_collection::BYTES as u64)?;
                let id = create_collection::COLLECTION.number(head);
                let name = self.name(head, create_collection::NAME_BYTES)?;
                let schema = self.take(create_collection::SCHEMA_BYTES.number(head))?;
                Ok(Operation::CreateCollection { id, name, schema })
            }
            operation::DROP_COLLECTION => {
                let head = self.take(drop_collection::BYTES as u64)?;
                Ok(Operation::DropCollection { id: drop_collection::COLLECTION.number(head) })
            }
            operation::CREATE_VIEW => {
                let head = self.take(create_view::BYTES as u64)?;
                let (number, random) = (create_view::FILE_NUMBER.number(head), create_view::FILE_RANDOM.number(head));
                let name = self.name(head, create_view::NAME_BYTES)?;
                self.at = self.at.next_multiple_of(8);
                let file = self.take(create_view::FILE_BYTES.number(head))?;
                Ok(Operation::CreateView { name, number, random, file })
            }
            operation::DROP_VIEW => {
                let head = self.take(drop_view::BYTES as u64)?;
                Ok(Operation::DropView { name: self.name(head, drop_view::NAME_BYTES)? })
            }
            operation::DELETE => {
                let head = self.take(delete::BYTES as u64)?;
                Ok(Operation::Delete { id: self.id(head, delete::ID_BYTES)? })
            }
            kind @ (operation::UPSERT | operation::UPSERT_DIRECT) => {
                let head = self.take(upsert::BYTES as u64)?;
                let (rows, matrix_bytes) = (upsert::ROWS.number(head), upsert::MATRIX_BYTES.number(head));
                let id = self.id(head, upsert::ID_BYTES)?;
                let fields = self.take(upsert::FIELDS_BYTES.number(head))?;
                self.at = self.at.next_multiple_of(8);
                if kind == operation::UPSERT {
                    return Ok(Operation::Upsert { id, fields, rows, matrix: self.take(matrix_bytes)? });
                }
                let head = self.take(place::BYTES as u64)?;
                let sums = self.take(matrix_bytes.div_ceil(BLOCK_BYTES).saturating_mul(4))?;
                let place = Place {
                    number: place::FILE_NUMBER.number(head),
                    random: place::FILE_RANDOM.number(head),
                    offset: place::OFFSET.number(head),
                    sums: sums.as_chunks().0.iter().map(|sum| u32::from_le_bytes(*sum)).collect(),
                };
                Ok(Operation::UpsertDirect { id, fields, rows, matrix_bytes, place })
            }
            _ => Err("an unknown operation"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_come_back_as_they_were_written() {
        let place = Place { number: 3, random: u64::MAX, offset: 4_096, sums: vec![1, 2, 3] };
        let operations = vec![
            Operation::Collection { id: 1, next_record: 7 },
            Operation::CreateCollection { id: 9, name: "größe", schema: b"{}" },
            Operation::DropCollection { id: 9 },
            Operation::CreateView { name: "v", number: 3, random: u64::MAX, file: &[7; 11] },
            Operation::DropView { name: "white" },
            Operation::Delete { id: "é" },
            Operation::Upsert { id: "a", fields: b"{}", rows: 1, matrix: &[1, 2, 3, 4] },
            Operation::Upsert { id: "no rows", fields: b"{\"a\":1}", rows: 0, matrix: &[] },
            Operation::UpsertDirect { id: "d", fields: b"{}", rows: 2, matrix_bytes: 2 * 65_536 + 1, place },
        ];
        let mut payload = Vec::new();
        operations.iter().for_each(|operation| operation.write(&mut payload));
        assert_eq!(payload.len() % 8, 0);
        assert_eq!(read(&payload).unwrap(), operations);
        // Whatever is cut off or changed gives an error or another list, never a panic.
        for at in 0..payload.len() {
            let _ = read(&payload[..at]);
            for bit in 0..8 {
                let mut changed = payload.clone();
                changed[at] ^= 1 << bit;
                let _ = read(&changed);
            }
        }
    }
}
