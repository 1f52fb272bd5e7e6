//! What the encoder reads its values from.

use crate::schema::Struct;

/// Gives access to values of one kind: Python objects, or [`super::Value`]s.
pub trait Source {
    /// A handle to a value.
    type Value;
    /// How it fails: a value of another type than its field's.
    type Error;

    /// A field of a struct: `shape.fields[place]`.
    fn field(&self, object: &Self::Value, shape: &'static Struct, place: usize) -> Result<Self::Value, Self::Error>;
    /// Whether it is null.
    fn is_null(&self, value: &Self::Value) -> bool;
    /// A bool.
    fn bool(&self, value: &Self::Value) -> Result<bool, Self::Error>;
    /// An integer.
    fn int(&self, value: &Self::Value) -> Result<i64, Self::Error>;
    /// A float64.
    fn float(&self, value: &Self::Value) -> Result<f64, Self::Error>;
    /// A uuid.
    fn uuid(&self, value: &Self::Value) -> Result<[u8; 16], Self::Error>;
    /// A string.
    fn str<'v>(&self, value: &'v Self::Value) -> Result<&'v str, Self::Error>;
    /// Bytes.
    fn bytes<'v>(&self, value: &'v Self::Value) -> Result<&'v [u8], Self::Error>;
    /// How many elements a list has.
    fn count(&self, list: &Self::Value) -> Result<usize, Self::Error>;
    /// An element of a list.
    fn element(&self, list: &Self::Value, place: usize) -> Result<Self::Value, Self::Error>;
}
