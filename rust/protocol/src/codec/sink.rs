//! What the decoder builds its values with.

use super::DecodeError;
use crate::schema::{Field, Struct};

/// Something about to be built, for [`Sink::weight`].
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// An integer or a bool.
    Int(i64),
    /// A float64.
    Float,
    /// A uuid.
    Uuid(&'a [u8; 16]),
    /// A string.
    Str(&'a str),
    /// Bytes.
    Bytes(usize),
    /// A list with room for that many.
    List(usize),
    /// A struct, without its fields' values.
    Struct(&'static Struct),
}

/// Builds values of one kind: Python objects, or [`super::Value`]s.
pub trait Sink {
    /// What it builds.
    type Value;
    /// How it fails.
    type Error;

    /// At most how many bytes of memory a part takes, the slot that will hold it not counted.
    fn weight(&self, part: Part<'_>) -> usize;

    /// Null.
    fn null(&mut self) -> Self::Value;
    /// A bool.
    fn bool(&mut self, value: bool) -> Result<Self::Value, Self::Error>;
    /// An integer of any width.
    fn int(&mut self, value: i64) -> Result<Self::Value, Self::Error>;
    /// A float64.
    fn float(&mut self, value: f64) -> Result<Self::Value, Self::Error>;
    /// A uuid.
    fn uuid(&mut self, value: &[u8; 16]) -> Result<Self::Value, Self::Error>;
    /// A string.
    fn str(&mut self, value: &str) -> Result<Self::Value, Self::Error>;
    /// Bytes.
    fn bytes(&mut self, value: &[u8]) -> Result<Self::Value, Self::Error>;

    /// The default of a field that is neither an array nor a struct (or is null): `owner.fields[place]`.
    fn default(
        &mut self,
        owner: &'static Struct,
        place: usize,
        field: &'static Field,
    ) -> Result<Self::Value, Self::Error>;

    /// A list: calls `next` exactly `count` times unless it fails.
    fn list(
        &mut self,
        count: usize,
        next: impl FnMut(&mut Self) -> Result<Self::Value, DecodeError<Self::Error>>,
    ) -> Result<Self::Value, DecodeError<Self::Error>>;

    /// A struct out of all its fields, in order.
    fn structure(
        &mut self,
        shape: &'static Struct,
        fields: impl ExactSizeIterator<Item = Self::Value>,
    ) -> Result<Self::Value, Self::Error>;
}
