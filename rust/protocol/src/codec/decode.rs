//! Bytes to values.

use super::{Budget, DecodeError, Part, Sink};
use crate::schema::{Default, Field, Kind, Message, Struct};
use crate::wire::{ErrorKind, Reader};

/// Decodes one message from where `reader` stands; it then stands behind it. Bytes behind the message are not looked at: Kafka
/// ignores them too.
pub fn decode<S: Sink>(
    message: &'static Message,
    version: i16,
    reader: &mut Reader<'_>,
    budget: Budget,
    sink: &mut S,
) -> Result<S::Value, DecodeError<S::Error>> {
    if !message.versions.contains(version) {
        return Err(DecodeError::UnknownVersion { message: message.name, version });
    }
    let flexible = message.flexible.contains(version);
    let mut decoder = Decoder { message: message.name, version, flexible, budget, fields: Vec::with_capacity(16) };
    decoder.structure(message.root(), reader, sink)
}

type Outcome<S> = Result<<S as Sink>::Value, DecodeError<<S as Sink>::Error>>;

struct Decoder<S: Sink> {
    message: &'static str,
    version: i16,
    flexible: bool,
    budget: Budget,
    /// The fields of the structs being read, those of the innermost last.
    fields: Vec<S::Value>,
}

impl<S: Sink> Decoder<S> {
    fn structure(&mut self, shape: &'static Struct, reader: &mut Reader<'_>, sink: &mut S) -> Outcome<S> {
        self.charge(Part::Struct(shape), reader, sink)?;
        let base = self.fields.len();
        for (place, field) in shape.fields.iter().enumerate() {
            let value = if !field.versions.contains(self.version) {
                self.default(shape, place, reader, sink)?
            } else if field.tag.is_some() {
                // Comes last on the wire: its place is kept.
                sink.null()
            } else {
                self.field(field, reader, sink)?
            };
            self.fields.push(value);
        }
        if self.flexible {
            self.tagged(shape, base, reader, sink)?;
        }
        sink.structure(shape, self.fields.drain(base..)).map_err(DecodeError::Sink)
    }

    /// Reads the tagged fields of a struct whose other fields begin at `base`. One that comes twice counts as it came last.
    fn tagged(
        &mut self,
        shape: &'static Struct,
        base: usize,
        reader: &mut Reader<'_>,
        sink: &mut S,
    ) -> Result<(), DecodeError<S::Error>> {
        let mut seen = 0_u64;
        let mut tags = reader.tags().map_err(|error| self.wire(error))?;
        while let Some((tag, mut part)) = tags.next().map_err(|error| self.wire(error))? {
            let known = shape.tagged.iter().enumerate().find_map(|(bit, &place)| {
                let field = shape.fields.get(place)?;
                (field.tag == Some(tag) && field.versions.contains(self.version)).then_some((bit, place, field))
            });
            if let Some((bit, place, field)) = known {
                let value = self.tagged_field(field, &mut part, sink)?;
                part.finish(field.name).map_err(|error| self.wire(error))?;
                self.fill(base + place, value);
                seen |= 1 << bit;
            }
        }
        for (bit, &place) in shape.tagged.iter().enumerate() {
            let here = shape.fields.get(place).is_some_and(|field| field.versions.contains(self.version));
            if here && seen & (1 << bit) == 0 {
                let value = self.default(shape, place, reader, sink)?;
                self.fill(base + place, value);
            }
        }
        Ok(())
    }

    fn fill(&mut self, place: usize, value: S::Value) {
        if let Some(kept) = self.fields.get_mut(place) {
            *kept = value;
        }
    }

    fn field(&mut self, field: &'static Field, reader: &mut Reader<'_>, sink: &mut S) -> Outcome<S> {
        let nullable = field.nullable.contains(self.version);
        if field.array {
            return self.array(field, nullable, reader, sink);
        }
        if let Kind::Nested(_) = field.kind
            && nullable
            && !reader.struct_follows(field.name).map_err(|error| self.wire(error))?
        {
            return Ok(sink.null());
        }
        self.value(field, nullable, reader, sink)
    }

    /// A tagged field differs from others in how a struct that may be null is marked.
    fn tagged_field(&mut self, field: &'static Field, reader: &mut Reader<'_>, sink: &mut S) -> Outcome<S> {
        if let (Kind::Nested(_), false, true) = (field.kind, field.array, field.nullable.contains(self.version)) {
            if reader.uvarint(field.name).map_err(|error| self.wire(error))? == 0 {
                return Ok(sink.null());
            }
            return self.value(field, false, reader, sink);
        }
        self.field(field, reader, sink)
    }

    fn array(&mut self, field: &'static Field, nullable: bool, reader: &mut Reader<'_>, sink: &mut S) -> Outcome<S> {
        let start = reader.clone();
        let element_bytes_min = field.kind.bytes_min(self.version, self.flexible);
        let count =
            reader.nullable_array(self.flexible, element_bytes_min, field.name).map_err(|error| self.wire(error))?;
        match count {
            Some(count) => {
                self.charge(Part::List(count), reader, sink)?;
                sink.list(count, |sink| self.value(field, false, reader, sink))
            }
            None if nullable => Ok(sink.null()),
            None => Err(self.wire(start.error(field.name, ErrorKind::UnexpectedNull))),
        }
    }

    /// One value, or one element of an array.
    fn value(&mut self, field: &'static Field, nullable: bool, reader: &mut Reader<'_>, sink: &mut S) -> Outcome<S> {
        let name = field.name;
        let int = match field.kind {
            Kind::Nested(inner) => return self.structure(inner, reader, sink),
            Kind::Str => return self.string(field, nullable, reader, sink),
            Kind::Bytes => return self.bytes(name, nullable, reader, sink),
            Kind::Bool => {
                let value = reader.bool(name).map_err(|error| self.wire(error))?;
                return sink.bool(value).map_err(DecodeError::Sink);
            }
            Kind::Float64 => {
                let value = reader.f64(name).map_err(|error| self.wire(error))?;
                self.charge(Part::Float, reader, sink)?;
                return sink.float(value).map_err(DecodeError::Sink);
            }
            Kind::Uuid => {
                let value = reader.uuid(name).map_err(|error| self.wire(error))?;
                self.charge(Part::Uuid(&value), reader, sink)?;
                return sink.uuid(&value).map_err(DecodeError::Sink);
            }
            Kind::Int8 => reader.i8(name).map(i64::from),
            Kind::Int16 => reader.i16(name).map(i64::from),
            Kind::Uint16 => reader.u16(name).map(i64::from),
            Kind::Int32 => reader.i32(name).map(i64::from),
            Kind::Uint32 => reader.u32(name).map(i64::from),
            Kind::Int64 => reader.i64(name),
        };
        let value = int.map_err(|error| self.wire(error))?;
        self.charge(Part::Int(value), reader, sink)?;
        sink.int(value).map_err(DecodeError::Sink)
    }

    fn string(&mut self, field: &'static Field, nullable: bool, reader: &mut Reader<'_>, sink: &mut S) -> Outcome<S> {
        let start = reader.clone();
        let flexible = self.flexible && !field.never_flexible;
        match reader.nullable_string(flexible, field.name).map_err(|error| self.wire(error))? {
            Some(text) => {
                self.charge(Part::Str(text), reader, sink)?;
                sink.str(text).map_err(DecodeError::Sink)
            }
            None if nullable => Ok(sink.null()),
            None => Err(self.wire(start.error(field.name, ErrorKind::UnexpectedNull))),
        }
    }

    fn bytes(&mut self, name: &'static str, nullable: bool, reader: &mut Reader<'_>, sink: &mut S) -> Outcome<S> {
        let start = reader.clone();
        match reader.nullable_bytes(self.flexible, name).map_err(|error| self.wire(error))? {
            Some(bytes) => {
                self.charge(Part::Bytes(bytes.len()), reader, sink)?;
                sink.bytes(bytes).map_err(DecodeError::Sink)
            }
            None if nullable => Ok(sink.null()),
            None => Err(self.wire(start.error(name, ErrorKind::UnexpectedNull))),
        }
    }

    /// The default of a field: fresh lists and structs, since the caller may change them.
    fn default(&mut self, owner: &'static Struct, place: usize, reader: &Reader<'_>, sink: &mut S) -> Outcome<S> {
        let Some(field) = owner.fields.get(place) else {
            return Ok(sink.null());
        };
        match (field.default, field.array, field.kind) {
            (Default::Zero, true, _) => {
                self.charge(Part::List(0), reader, sink)?;
                sink.list(0, |sink| Ok(sink.null()))
            }
            (Default::Zero, false, Kind::Nested(inner)) => {
                self.charge(Part::Struct(inner), reader, sink)?;
                let base = self.fields.len();
                for place in 0..inner.fields.len() {
                    let value = self.default(inner, place, reader, sink)?;
                    self.fields.push(value);
                }
                sink.structure(inner, self.fields.drain(base..)).map_err(DecodeError::Sink)
            }
            _ => sink.default(owner, place, field).map_err(DecodeError::Sink),
        }
    }

    fn charge(&mut self, part: Part<'_>, reader: &Reader<'_>, sink: &S) -> Result<(), DecodeError<S::Error>> {
        if self.budget.take(sink.weight(part)) {
            return Ok(());
        }
        Err(DecodeError::TooMuchMemory { message: self.message, version: self.version, at: reader.position() })
    }

    fn wire(&self, error: crate::wire::Error) -> DecodeError<S::Error> {
        DecodeError::Wire { message: self.message, version: self.version, error }
    }
}
