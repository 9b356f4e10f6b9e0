//! A reader for the pickles inside `pytorch_model.bin`, which recognises a state dictionary and refuses all else.
//!
//! A pickle is a program for a stack machine. Of its instructions those are followed that a dictionary of tensors needs
//! (protocol 2), and of everything it may call four names are known: the ordered dictionary, the builders of tensors
//! and of parameters, which are tensors to be trained, and the typed storages. Nothing is ever called: they are only
//! recognised. Compound values live in tables and are referred to by number, so no input can nest, repeat or loop its
//! way to deep recursion or to more memory than a fixed multiple of its own length.

use super::weights::Dtype;
use crate::matrix::Precision;
use std::collections::HashMap;

/// Longest text that is read: names of tensors stay below 100 bytes. Names are copied for each use, so they must be
/// short.
const TEXT_BYTES: usize = 1_024;

/// Most axes of a tensor; those of the family have up to 3.
const AXES: usize = 8;

/// A run of values in an entry of the archive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    /// Name of the entry below `data/`.
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
}

/// A tensor as a view of a storage; offset and strides in elements.
#[derive(Clone, Debug)]
pub(super) struct Tensor<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Class {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

/// Numbers are places in the machine's tables.
#[derive(Clone, Copy, Debug)]
enum Value {
    Mark,
    None,
    Bool,
    Int(i64),
    Text(usize),
    Class(Class),
    Tuple(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

type Read<T> = Result<T, String>;

/// The tensors of a state dictionary, in the order of the file.
///
/// # Errors
/// What is wrong and at which byte, when the pickle holds anything but a dictionary of names to tensors.
pub(super) fn state_dict(pickle: &[u8]) -> Read<Vec<(String, Tensor<'_>)>> {
    let mut machine = Machine { rest: pickle, ..Machine::default() };
    let top = loop {
        let at = pickle.len() - machine.rest.len();
        match machine.step() {
            Ok(None) => {}
            Ok(Some(top)) => break top,
            Err(why) => return Err(format!("byte {at}: {why}")),
        }
    };
    let Value::Dict(dict) = top else { return Err("not a dictionary of tensors".into()) };
    let mut tensors = Vec::new();
    for &(key, value) in &machine.dicts[dict] {
        let name = machine.text(key)?;
        match value {
            Value::Tensor(tensor) => tensors.push((name.to_owned(), machine.tensors[tensor].clone())),
            _ => return Err(format!("`{name}` is not a tensor: save the state dictionary alone")),
        }
    }
    Ok(tensors)
}

#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    texts: Vec<&'a str>,
    tuples: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<Tensor<'a>>,
}

impl<'a> Machine<'a> {
    /// Follows one instruction; the result when it was the last.
    fn step(&mut self) -> Read<Option<Value>> {
        let [code] = self.array()?;
        match code {
            0x80 => match self.array()? {
                [2] => {}
                [protocol] => return Err(format!("pickle protocol {protocol}: supported is 2")),
            },
            b'.' => return self.pop().map(Some),
            b'(' => self.stack.push(Value::Mark),
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Bool),
            b'K' => self.array().map(|[byte]| self.stack.push(Value::Int(byte.into())))?,
            b'M' => self.array().map(|bytes| self.stack.push(Value::Int(u16::from_le_bytes(bytes).into())))?,
            b'J' => self.array().map(|bytes| self.stack.push(Value::Int(i32::from_le_bytes(bytes).into())))?,
            0x8a => self.long()?,
            b'X' => {
                let length = u32::from_le_bytes(self.array()?) as usize;
                if length > TEXT_BYTES {
                    return Err(format!("a text of {length} bytes: the longest read is {TEXT_BYTES}"));
                }
                let bytes = self.take(length)?;
                self.texts.push(std::str::from_utf8(bytes).map_err(|_| "text is not UTF-8")?);
                self.stack.push(Value::Text(self.texts.len() - 1));
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Class(class(module, name)?));
            }
            b')' => self.tuple(Vec::new()),
            0x85..=0x87 => {
                let at = self.stack.len().checked_sub(usize::from(code - 0x84)).ok_or("empty stack")?;
                let items = self.stack.split_off(at);
                self.tuple(items);
            }
            b't' => {
                let items = self.pop_to_mark()?;
                self.tuple(items);
            }
            b'}' => self.dict(),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.top_dict()?.push((key, value));
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                let (pairs, []) = items.as_chunks::<2>() else { return Err("a key without a value".into()) };
                self.top_dict()?.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            b'b' => {
                // The attributes of an ordered dictionary: versions of modules, of no use here.
                self.pop()?;
                self.top_dict()?;
            }
            b'q' => self.array().map(|[byte]| self.remember(byte.into()))??,
            b'r' => self.array().map(|bytes| self.remember(u32::from_le_bytes(bytes)))??,
            b'h' => self.array().map(|[byte]| self.recall(byte.into()))??,
            b'j' => self.array().map(|bytes| self.recall(u32::from_le_bytes(bytes)))??,
            b'Q' => self.storage()?,
            b'R' => self.reduce()?,
            other => return Err(format!("instruction {other:#04x} has no place in a dictionary of tensors")),
        }
        Ok(None)
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("the pickle ends early")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N).and_then(|bytes| bytes.try_into().map_err(|_| String::new()))
    }

    fn line(&mut self) -> Read<&'a str> {
        let length = self.rest.iter().position(|&byte| byte == b'\n').ok_or("a name without an end")?;
        let line = self.take(length + 1)?;
        std::str::from_utf8(&line[..length]).map_err(|_| "a name is not UTF-8".into())
    }

    fn pop(&mut self) -> Read<Value> {
        self.stack.pop().ok_or_else(|| "empty stack".into())
    }

    fn pop_to_mark(&mut self) -> Read<Vec<Value>> {
        let mark = self.stack.iter().rposition(|value| matches!(value, Value::Mark)).ok_or("no mark on the stack")?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn tuple(&mut self, items: Vec<Value>) {
        self.tuples.push(items);
        self.stack.push(Value::Tuple(self.tuples.len() - 1));
    }

    fn dict(&mut self) {
        self.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    fn top_dict(&mut self) -> Read<&mut Vec<(Value, Value)>> {
        match self.stack.last() {
            Some(&Value::Dict(dict)) => Ok(&mut self.dicts[dict]),
            _ => Err("items for what is not a dictionary".into()),
        }
    }

    fn remember(&mut self, key: u32) -> Read<()> {
        let top = *self.stack.last().ok_or("empty stack")?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Read<()> {
        let value = *self.memo.get(&key).ok_or("nothing was remembered under that number")?;
        self.stack.push(value);
        Ok(())
    }

    /// An integer of up to 8 bytes in two's complement.
    fn long(&mut self) -> Read<()> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        if bytes.len() > 8 {
            return Err("an integer of more than 8 bytes".into());
        }
        let fill = if bytes.last().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
        let mut wide = [fill; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(wide)));
        Ok(())
    }

    /// `("storage", class, key, device, count)` on the stack becomes a storage.
    fn storage(&mut self) -> Read<()> {
        let id = self.pop()?;
        let [kind, Value::Class(Class::Storage(dtype)), key, _, _] = *self.items(id)? else {
            return Err("a reference that is not to a storage".into());
        };
        if self.text(kind)? != "storage" {
            return Err("a reference that is not to a storage".into());
        }
        let key = self.text(key)?;
        self.storages.push(Storage { key, dtype });
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    /// A class and its arguments on the stack become what the class stands for.
    fn reduce(&mut self) -> Read<()> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let arguments = self.items(arguments)?;
        match (callable, arguments) {
            (Value::Class(Class::OrderedDict), []) => self.dict(),
            (
                Value::Class(Class::RebuildTensor),
                &[Value::Storage(storage), Value::Int(offset), shape, strides, ..],
            ) => {
                let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
                if shape.len() != strides.len() || shape.len() > AXES {
                    return Err(format!("a tensor of {} axes and {} strides", shape.len(), strides.len()));
                }
                let offset = usize::try_from(offset).map_err(|_| "a negative offset")?;
                self.tensors.push(Tensor { storage: self.storages[storage], offset, shape, strides });
                self.stack.push(Value::Tensor(self.tensors.len() - 1));
            }
            // Whether it is to be trained, its hooks and its attributes are of no use here.
            (Value::Class(Class::RebuildParameter), &[tensor @ Value::Tensor(_), ..]) => self.stack.push(tensor),
            _ => return Err("a call that builds neither a dictionary nor a tensor".into()),
        }
        Ok(())
    }

    fn items(&self, value: Value) -> Read<&[Value]> {
        match value {
            Value::Tuple(tuple) => Ok(&self.tuples[tuple]),
            _ => Err("not a tuple".into()),
        }
    }

    fn text(&self, value: Value) -> Read<&'a str> {
        match value {
            Value::Text(text) => Ok(self.texts[text]),
            _ => Err("not a text".into()),
        }
    }

    fn sizes(&self, value: Value) -> Read<Vec<usize>> {
        let size = |value: &Value| match value {
            Value::Int(size) => usize::try_from(*size).map_err(|_| "a negative size".to_owned()),
            _ => Err("a size that is not a number".into()),
        };
        self.items(value)?.iter().take(AXES + 1).map(size).collect()
    }
}

/// The allow-list.
fn class(module: &str, name: &str) -> Read<Class> {
    let storage = |dtype| Ok(Class::Storage(dtype));
    match (module, name) {
        ("collections", "OrderedDict") => Ok(Class::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => Ok(Class::RebuildTensor),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Ok(Class::RebuildParameter),
        ("torch", "DoubleStorage") => storage(Dtype::Double),
        ("torch", "FloatStorage") => storage(Dtype::Float(Precision::F32)),
        ("torch", "HalfStorage") => storage(Dtype::Float(Precision::F16)),
        ("torch", "BFloat16Storage") => storage(Dtype::Float(Precision::BF16)),
        ("torch", "LongStorage" | "IntStorage" | "ShortStorage" | "CharStorage" | "ByteStorage" | "BoolStorage") => {
            storage(Dtype::Other)
        }
        _ => Err(format!("`{module}.{name}` is refused: only tensors are read")),
    }
}
