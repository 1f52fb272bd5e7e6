//! Values by the schema table: made at random, looked at by name.

use ottla_protocol::codec::Value;
use ottla_protocol::native::produce::TopicRef;
use ottla_protocol::schema::{Field, Kind, Struct};

/// A small generator (xorshift64*): values need variety, not quality.
pub struct Chance(pub u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    fn integer(&mut self, bits: u32) -> i64 {
        let wide = (self.below(u64::MAX) as i64) >> (64 - bits);
        if self.below(3) == 0 { -1 } else { wide }
    }
}

fn one(chance: &mut Chance, kind: Kind, version: i16) -> Value {
    match kind {
        Kind::Bool => Value::Bool(chance.below(2) == 1),
        Kind::Int8 => Value::Int(chance.integer(8)),
        Kind::Int16 => Value::Int(chance.integer(16)),
        Kind::Uint16 => Value::Int(chance.below(1 << 16) as i64),
        Kind::Int32 => Value::Int(chance.integer(32)),
        Kind::Uint32 => Value::Int(chance.below(1 << 32) as i64),
        Kind::Int64 => Value::Int(chance.integer(64)),
        Kind::Float64 => Value::Float(chance.below(1000) as f64),
        Kind::Uuid => Value::Uuid([chance.below(256) as u8; 16]),
        Kind::Str => Value::Str("x".repeat(chance.below(200) as usize)),
        Kind::Bytes => Value::Bytes(vec![7; chance.below(300) as usize]),
        Kind::Nested(inner) => structure(chance, inner, version),
    }
}

pub fn structure(chance: &mut Chance, shape: &'static Struct, version: i16) -> Value {
    let value = |field: &'static Field, chance: &mut Chance| {
        if !field.versions.contains(version) {
            return Value::default_of(field);
        }
        if field.nullable.contains(version) && chance.below(4) == 0 {
            return Value::Null;
        }
        if !field.array {
            return one(chance, field.kind, version);
        }
        let count = chance.below(4);
        Value::List((0..count).map(|_| one(chance, field.kind, version)).collect())
    };
    Value::Struct(shape.fields.iter().map(|field| value(field, chance)).collect())
}

/// A value with its shape, so that fields are found by name.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    pub shape: &'static Struct,
    pub value: &'a Value,
}

impl<'a> Seen<'a> {
    pub fn field(self, name: &str) -> (&'static Field, &'a Value) {
        let place = self.shape.fields.iter().position(|field| field.name == name);
        let place = place.unwrap_or_else(|| panic!("{} has no {name}", self.shape.name));
        let Value::Struct(values) = self.value else { panic!("{} is not a struct", self.shape.name) };
        (&self.shape.fields[place], &values[place])
    }

    pub fn int(self, name: &str) -> i64 {
        let Value::Int(value) = self.field(name).1 else { panic!("{name} is not an integer") };
        *value
    }

    pub fn bool(self, name: &str) -> bool {
        matches!(self.field(name).1, Value::Bool(true))
    }

    pub fn text(self, name: &str) -> Option<&'a str> {
        match self.field(name).1 {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn uuid(self, name: &str) -> [u8; 16] {
        let Value::Uuid(value) = self.field(name).1 else { panic!("{name} is not a uuid") };
        *value
    }

    pub fn nested(self, name: &str) -> Option<Seen<'a>> {
        let (field, value) = self.field(name);
        let Kind::Nested(shape) = field.kind else { panic!("{name} is no struct") };
        (*value != Value::Null).then_some(Seen { shape, value })
    }

    pub fn list(self, name: &str) -> Option<Vec<Seen<'a>>> {
        let (field, value) = self.field(name);
        let Kind::Nested(shape) = field.kind else { panic!("{name} holds no structs") };
        let Value::List(list) = value else { return None };
        Some(list.iter().map(|value| Seen { shape, value }).collect())
    }

    pub fn ints(self, name: &str) -> Option<Vec<i64>> {
        let Value::List(list) = self.field(name).1 else { return None };
        Some(list.iter().map(|value| if let Value::Int(value) = value { *value } else { panic!("{name}") }).collect())
    }

    pub fn topic(self, name: &str, by_id: bool) -> TopicRef<'a> {
        if by_id { TopicRef::Id(self.uuid("topic_id")) } else { TopicRef::Name(self.text(name).unwrap()) }
    }
}
