//! Values to bytes.

use super::{EncodeError, EncodeFault, Source};
use crate::schema::{Default, Field, Kind, Message, Struct};
use crate::wire::{Buffer, WriteError, Writer};

/// Encodes one message behind what `writer` holds. After an error the buffer ends somewhere inside the message.
pub fn encode<S: Source, B: Buffer>(
    message: &'static Message,
    version: i16,
    value: &S::Value,
    source: &S,
    writer: &mut Writer<'_, B>,
) -> Result<(), EncodeError<S::Error>> {
    let encoder = Encoder { source, version, flexible: message.flexible.contains(version), strict: false };
    encoder.message(message, value, writer)
}

/// Encodes a record in the version Kafka writes it in, and returns that version: the newest classic one that carries all of
/// the value, so that as old a reader as possible understands it; else the newest one of all.
pub fn encode_newest<S: Source>(
    message: &'static Message,
    value: &S::Value,
    source: &S,
    buffer: &mut Vec<u8>,
) -> Result<i16, EncodeError<S::Error>> {
    let start = buffer.len();
    let newest = message.versions.high;
    for version in (message.versions.low..=newest).rev().filter(|&version| !message.flexible.contains(version)) {
        let encoder = Encoder { source, version, flexible: false, strict: true };
        match encoder.message(message, value, &mut Writer::new(buffer)) {
            Ok(()) => return Ok(version),
            Err(EncodeError { fault: EncodeFault::Absent | EncodeFault::Null, .. }) => buffer.truncate(start),
            Err(error) => return Err(error),
        }
    }
    encode(message, newest, value, source, &mut Writer::new(buffer)).map(|()| newest)
}

struct Encoder<'s, S: Source> {
    source: &'s S,
    version: i16,
    flexible: bool,
    /// Whether ignorable fields may not be dropped either.
    strict: bool,
}

type Fault<S> = EncodeFault<<S as Source>::Error>;

impl<S: Source> Encoder<'_, S> {
    fn message<B: Buffer>(
        &self,
        message: &'static Message,
        value: &S::Value,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), EncodeError<S::Error>> {
        if !message.versions.contains(self.version) {
            let fault = EncodeFault::UnknownVersion;
            return Err(EncodeError { owner: message.name, field: "", version: self.version, fault });
        }
        self.structure(value, message.root(), writer)
    }

    fn structure<B: Buffer>(
        &self,
        object: &S::Value,
        shape: &'static Struct,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), EncodeError<S::Error>> {
        let mut tagged = 0_u64;
        for (place, field) in shape.fields.iter().enumerate() {
            let here = field.versions.contains(self.version);
            if !here && field.ignorable && !self.strict {
                continue;
            }
            let at = |fault| self.error(shape, field, fault);
            let value = self.source.field(object, shape, place).map_err(|error| at(EncodeFault::Source(error)))?;
            if here && field.tag.is_none() {
                self.field(&value, shape, field, writer)?;
            } else if !self.is_default(&value, field).map_err(at)? {
                if !here {
                    return Err(at(EncodeFault::Absent));
                }
                tagged |= 1 << place;
            }
        }
        if self.flexible {
            self.tagged(object, shape, tagged, writer)?;
        }
        Ok(())
    }

    /// The tagged fields whose places are in the set.
    fn tagged<B: Buffer>(
        &self,
        object: &S::Value,
        shape: &'static Struct,
        set: u64,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), EncodeError<S::Error>> {
        writer.tags(set.count_ones());
        if set == 0 {
            return Ok(());
        }
        for &place in shape.tagged.iter().filter(|&&place| set & (1 << place) != 0) {
            let Some(field) = shape.fields.get(place) else {
                continue;
            };
            let at = |fault| self.error(shape, field, fault);
            let value = self.source.field(object, shape, place).map_err(|error| at(EncodeFault::Source(error)))?;
            let mut inner = Ok(());
            let written = writer.tag::<WriteError>(field.tag.unwrap_or_default(), |writer| {
                inner = self.tagged_field(&value, shape, field, writer);
                Ok(())
            });
            inner?;
            written.map_err(|error| at(EncodeFault::Write(error)))?;
        }
        Ok(())
    }

    /// A tagged field differs from others in how a struct that may be null is marked.
    fn tagged_field<B: Buffer>(
        &self,
        value: &S::Value,
        shape: &'static Struct,
        field: &'static Field,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), EncodeError<S::Error>> {
        if let (Kind::Nested(inner), false, true) = (field.kind, field.array, field.nullable.contains(self.version)) {
            let null = self.source.is_null(value);
            writer.uvarint(u32::from(!null));
            return if null { Ok(()) } else { self.structure(value, inner, writer) };
        }
        self.field(value, shape, field, writer)
    }

    fn field<B: Buffer>(
        &self,
        value: &S::Value,
        shape: &'static Struct,
        field: &'static Field,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), EncodeError<S::Error>> {
        let at = |fault| self.error(shape, field, fault);
        let nullable = field.nullable.contains(self.version);
        let null = self.source.is_null(value);
        if null && !nullable {
            return Err(at(EncodeFault::Null));
        }
        if field.array {
            let count = match null {
                true => None,
                false => Some(self.source.count(value).map_err(|error| at(EncodeFault::Source(error)))?),
            };
            writer.array(self.flexible, count).map_err(|error| at(error.into()))?;
            for place in 0..count.unwrap_or(0) {
                let element = self.source.element(value, place).map_err(|error| at(EncodeFault::Source(error)))?;
                if self.source.is_null(&element) {
                    return Err(at(EncodeFault::Null));
                }
                match field.kind {
                    Kind::Nested(inner) => self.structure(&element, inner, writer)?,
                    _ => self.scalar(&element, field, writer).map_err(at)?,
                }
            }
            return Ok(());
        }
        if let Kind::Nested(inner) = field.kind {
            if nullable {
                writer.struct_follows(!null);
            }
            return if null { Ok(()) } else { self.structure(value, inner, writer) };
        }
        if null {
            let flexible = self.flexible && !field.never_flexible;
            return match field.kind {
                Kind::Str => writer.nullable_string(flexible, None),
                _ => writer.nullable_bytes(flexible, None),
            }
            .map_err(|error| at(error.into()));
        }
        self.scalar(value, field, writer).map_err(at)
    }

    /// A value that is neither null nor a struct.
    fn scalar<B: Buffer>(
        &self,
        value: &S::Value,
        field: &'static Field,
        writer: &mut Writer<'_, B>,
    ) -> Result<(), Fault<S>> {
        let flexible = self.flexible && !field.never_flexible;
        match field.kind {
            Kind::Bool => writer.bool(self.source.bool(value).map_err(EncodeFault::Source)?),
            Kind::Float64 => writer.f64(self.source.float(value).map_err(EncodeFault::Source)?),
            Kind::Uuid => writer.uuid(&self.source.uuid(value).map_err(EncodeFault::Source)?),
            Kind::Str => writer.string(flexible, self.source.str(value).map_err(EncodeFault::Source)?)?,
            Kind::Bytes => writer.bytes(flexible, self.source.bytes(value).map_err(EncodeFault::Source)?)?,
            Kind::Int8 => writer.i8(self.int(value)?),
            Kind::Int16 => writer.i16(self.int(value)?),
            Kind::Uint16 => writer.u16(self.int(value)?),
            Kind::Int32 => writer.i32(self.int(value)?),
            Kind::Uint32 => writer.u32(self.int(value)?),
            Kind::Int64 => writer.i64(self.int(value)?),
            // Every caller has taken the structs out.
            Kind::Nested(_) => {}
        }
        Ok(())
    }

    fn int<T: TryFrom<i64>>(&self, value: &S::Value) -> Result<T, Fault<S>> {
        let wide = self.source.int(value).map_err(EncodeFault::Source)?;
        T::try_from(wide).map_err(|_| EncodeFault::OutOfRange(wide))
    }

    /// Whether a value is what the field is where it is absent.
    fn is_default(&self, value: &S::Value, field: &'static Field) -> Result<bool, Fault<S>> {
        if self.source.is_null(value) {
            return Ok(field.default == Default::Null);
        }
        let source = self.source;
        let same = match (field.default, field.kind) {
            (Default::Null, _) => return Ok(false),
            _ if field.array => source.count(value).map(|count| count == 0),
            (_, Kind::Nested(inner)) => return self.is_all_default(value, inner),
            (default, Kind::Bool) => source.bool(value).map(|value| value == (default == Default::True)),
            (_, Kind::Float64) => source.float(value).map(|value| value.to_bits() == 0),
            (_, Kind::Uuid) => source.uuid(value).map(|value| value == [0; 16]),
            (Default::Str(text), Kind::Str) => source.str(value).map(|value| value == text),
            (_, Kind::Str) => source.str(value).map(str::is_empty),
            (_, Kind::Bytes) => source.bytes(value).map(<[u8]>::is_empty),
            (Default::Int(number), _) => source.int(value).map(|value| value == number),
            _ => source.int(value).map(|value| value == 0),
        };
        same.map_err(EncodeFault::Source)
    }

    fn is_all_default(&self, object: &S::Value, shape: &'static Struct) -> Result<bool, Fault<S>> {
        for (place, field) in shape.fields.iter().enumerate() {
            let value = self.source.field(object, shape, place).map_err(EncodeFault::Source)?;
            if !self.is_default(&value, field)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn error(&self, shape: &'static Struct, field: &'static Field, fault: Fault<S>) -> EncodeError<S::Error> {
        EncodeError { owner: shape.name, field: field.name, version: self.version, fault }
    }
}
