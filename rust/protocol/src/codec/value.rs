//! A plain value, for tests and tools.

use super::{DecodeError, Part, Sink, Source};
use crate::schema::{Default, Field, Kind, Struct};
use std::convert::Infallible;
use std::mem::size_of;

/// A decoded value; a struct is its fields in the order of the schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Null
    Null,
    /// bool
    Bool(bool),
    /// Any integer.
    Int(i64),
    /// float64
    Float(f64),
    /// uuid
    Uuid([u8; 16]),
    /// string
    Str(String),
    /// bytes
    Bytes(Vec<u8>),
    /// An array.
    List(Vec<Value>),
    /// A struct.
    Struct(Vec<Value>),
}

/// A value of another type than its field's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {0}")]
pub struct Mismatch(&'static str);

impl Value {
    /// The default of a field.
    #[must_use]
    pub fn default_of(field: &Field) -> Self {
        match (field.default, field.kind) {
            (Default::Null, _) => Self::Null,
            _ if field.array => Self::List(Vec::new()),
            (Default::Int(value), _) => Self::Int(value),
            (Default::True, _) => Self::Bool(true),
            (Default::Str(text), _) => Self::Str(text.to_owned()),
            (Default::Zero, Kind::Bool) => Self::Bool(false),
            (Default::Zero, Kind::Float64) => Self::Float(0.0),
            (Default::Zero, Kind::Uuid) => Self::Uuid([0; 16]),
            (Default::Zero, Kind::Str) => Self::Str(String::new()),
            (Default::Zero, Kind::Bytes) => Self::Bytes(Vec::new()),
            (Default::Zero, Kind::Nested(inner)) => Self::Struct(inner.fields.iter().map(Self::default_of).collect()),
            (Default::Zero, _) => Self::Int(0),
        }
    }
}

/// Builds [`Value`]s.
#[derive(Debug, Clone, Copy)]
pub struct ValueSink;

impl Sink for ValueSink {
    type Value = Value;
    type Error = Infallible;

    fn weight(&self, part: Part<'_>) -> usize {
        // The allocator's own bytes beside an allocation.
        const HEAD: usize = 16;
        match part {
            Part::Int(_) | Part::Float | Part::Uuid(_) => 0,
            Part::Str(text) => HEAD + text.len(),
            Part::Bytes(length) => HEAD + length,
            Part::List(count) => HEAD + count * size_of::<Value>(),
            Part::Struct(shape) => HEAD + shape.fields.len() * size_of::<Value>(),
        }
    }

    fn null(&mut self) -> Value {
        Value::Null
    }

    fn bool(&mut self, value: bool) -> Result<Value, Infallible> {
        Ok(Value::Bool(value))
    }

    fn int(&mut self, value: i64) -> Result<Value, Infallible> {
        Ok(Value::Int(value))
    }

    fn float(&mut self, value: f64) -> Result<Value, Infallible> {
        Ok(Value::Float(value))
    }

    fn uuid(&mut self, value: &[u8; 16]) -> Result<Value, Infallible> {
        Ok(Value::Uuid(*value))
    }

    fn str(&mut self, value: &str) -> Result<Value, Infallible> {
        Ok(Value::Str(value.to_owned()))
    }

    fn bytes(&mut self, value: &[u8]) -> Result<Value, Infallible> {
        Ok(Value::Bytes(value.to_vec()))
    }

    fn default(&mut self, _: &'static Struct, _: usize, field: &'static Field) -> Result<Value, Infallible> {
        Ok(Value::default_of(field))
    }

    fn list(
        &mut self,
        count: usize,
        mut next: impl FnMut(&mut Self) -> Result<Value, DecodeError<Infallible>>,
    ) -> Result<Value, DecodeError<Infallible>> {
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(next(self)?);
        }
        Ok(Value::List(list))
    }

    fn structure(
        &mut self,
        _: &'static Struct,
        fields: impl ExactSizeIterator<Item = Value>,
    ) -> Result<Value, Infallible> {
        Ok(Value::Struct(fields.collect()))
    }
}

/// Reads [`Value`]s.
#[derive(Debug, Clone, Copy)]
pub struct ValueSource<'a>(std::marker::PhantomData<&'a Value>);

impl<'a> ValueSource<'a> {
    /// A source of values that live as long as `value`.
    #[must_use]
    pub const fn of(_value: &'a Value) -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<'a> Source for ValueSource<'a> {
    type Value = &'a Value;
    type Error = Mismatch;

    fn field(&self, object: &&'a Value, _: &'static Struct, place: usize) -> Result<&'a Value, Mismatch> {
        match object {
            Value::Struct(fields) => fields.get(place).ok_or(Mismatch("a struct with that field")),
            _ => Err(Mismatch("a struct")),
        }
    }

    fn is_null(&self, value: &&'a Value) -> bool {
        matches!(value, Value::Null)
    }

    fn bool(&self, value: &&'a Value) -> Result<bool, Mismatch> {
        if let Value::Bool(value) = value { Ok(*value) } else { Err(Mismatch("a bool")) }
    }

    fn int(&self, value: &&'a Value) -> Result<i64, Mismatch> {
        if let Value::Int(value) = value { Ok(*value) } else { Err(Mismatch("an integer")) }
    }

    fn float(&self, value: &&'a Value) -> Result<f64, Mismatch> {
        if let Value::Float(value) = value { Ok(*value) } else { Err(Mismatch("a float")) }
    }

    fn uuid(&self, value: &&'a Value) -> Result<[u8; 16], Mismatch> {
        if let Value::Uuid(value) = value { Ok(*value) } else { Err(Mismatch("a uuid")) }
    }

    fn str<'v>(&self, value: &'v &'a Value) -> Result<&'v str, Mismatch> {
        if let Value::Str(value) = value { Ok(value) } else { Err(Mismatch("a string")) }
    }

    fn bytes<'v>(&self, value: &'v &'a Value) -> Result<&'v [u8], Mismatch> {
        if let Value::Bytes(value) = value { Ok(value) } else { Err(Mismatch("bytes")) }
    }

    fn count(&self, list: &&'a Value) -> Result<usize, Mismatch> {
        if let Value::List(list) = list { Ok(list.len()) } else { Err(Mismatch("a list")) }
    }

    fn element(&self, list: &&'a Value, place: usize) -> Result<&'a Value, Mismatch> {
        match list {
            Value::List(list) => list.get(place).ok_or(Mismatch("a list of that length")),
            _ => Err(Mismatch("a list")),
        }
    }
}
