//! Values for any message, made from the schema table and a seed.

#![allow(dead_code, reason = "each test binary uses its own part")]

use ottla_protocol::codec::{Budget, DecodeError, Value, ValueSink, ValueSource, decode, encode};
use ottla_protocol::schema::{Field, Kind, Message, Struct, kafka};
use ottla_protocol::wire::{Reader, Writer};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};
use std::convert::Infallible;

/// A small generator (xorshift): the same seed makes the same values everywhere.
pub struct Generator(u64);

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// A message with values in the fields its version has and defaults in the others.
    pub fn message(&mut self, message: &'static Message, version: i16) -> Value {
        self.structure(message.root(), version)
    }

    fn structure(&mut self, shape: &'static Struct, version: i16) -> Value {
        Value::Struct(shape.fields.iter().map(|field| self.field(field, version)).collect())
    }

    fn field(&mut self, field: &'static Field, version: i16) -> Value {
        if !field.versions.contains(version) || (field.tag.is_some() && self.below(2) == 0) {
            return Value::default_of(field);
        }
        if field.nullable.contains(version) && self.below(4) == 0 {
            return Value::Null;
        }
        if field.array {
            let count = self.below(4);
            return Value::List((0..count).map(|_| self.value(field.kind, version)).collect());
        }
        self.value(field.kind, version)
    }

    fn value(&mut self, kind: Kind, version: i16) -> Value {
        match kind {
            Kind::Bool => Value::Bool(self.below(2) == 1),
            Kind::Int8 => self.int(i8::MIN.into(), i8::MAX.into()),
            Kind::Int16 => self.int(i16::MIN.into(), i16::MAX.into()),
            Kind::Uint16 => self.int(0, u16::MAX.into()),
            Kind::Int32 => self.int(i32::MIN.into(), i32::MAX.into()),
            Kind::Uint32 => self.int(0, u32::MAX.into()),
            Kind::Int64 => self.int(i64::MIN, i64::MAX),
            Kind::Float64 => Value::Float([0.0, -0.5, 1e300, 0.1][self.below(4) as usize]),
            Kind::Uuid => Value::Uuid(std::array::from_fn(|_| self.below(256) as u8)),
            Kind::Str => Value::Str(self.string()),
            Kind::Bytes => {
                let length = if self.below(8) == 0 { 300 } else { self.below(12) };
                Value::Bytes((0..length).map(|_| self.below(256) as u8).collect())
            }
            Kind::Nested(inner) => self.structure(inner, version),
        }
    }

    fn int(&mut self, low: i64, high: i64) -> Value {
        Value::Int(match self.below(6) {
            0 => low,
            1 => high,
            2 => 0,
            3 => low.max(-1),
            _ => low.wrapping_add(self.below(high.wrapping_sub(low).cast_unsigned().max(1)).cast_signed()),
        })
    }

    fn string(&mut self) -> String {
        let length = if self.below(16) == 0 { 140 } else { self.below(9) };
        let alphabet: Vec<char> = "abcdefghijkl-_.0189éЖ日𝄞".chars().collect();
        (0..length).map(|_| alphabet[self.below(alphabet.len() as u64) as usize]).collect()
    }
}

/// Every message in every version.
pub fn every_version() -> impl Iterator<Item = (&'static Message, i16)> {
    kafka::MESSAGES
        .iter()
        .flat_map(|message| (message.versions.low..=message.versions.high).map(move |version| (*message, version)))
}

/// The bytes of a message.
pub fn to_bytes(message: &'static Message, version: i16, value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(message, version, &value, &ValueSource::of(value), &mut Writer::new(&mut bytes))
        .unwrap_or_else(|error| panic!("{} version {version}: {error}", message.name));
    bytes
}

/// The message at the beginning of `bytes`, and how many bytes it took.
pub fn from_bytes(
    message: &'static Message,
    version: i16,
    bytes: &[u8],
) -> Result<(Value, usize), DecodeError<Infallible>> {
    let mut reader = Reader::new(bytes);
    let value = decode(message, version, &mut reader, Budget::for_frame(bytes.len()), &mut ValueSink)?;
    Ok((value, reader.position()))
}

/// Runs a check over that many seeds.
pub fn for_seeds(cases: u32, check: impl Fn(u64) -> TestCaseResult) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    if let Err(failure) = TestRunner::new(config).run(&any::<u64>(), check) {
        panic!("{failure}");
    }
}
