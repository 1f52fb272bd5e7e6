//! Writes primitives behind what a buffer already holds.

use super::{STRING_BYTES_MAX, WriteError};
use bytes::{BufMut, BytesMut};

/// A growing byte buffer: `Vec<u8>` or `BytesMut`.
pub trait Buffer: BufMut + AsRef<[u8]> + AsMut<[u8]> {}

impl Buffer for Vec<u8> {}
impl Buffer for BytesMut {}

/// A place kept free for an int32 that is known later, such as the size of the frame.
#[derive(Debug)]
#[must_use = "the place holds 0 until it is filled"]
pub struct Slot(usize);

/// Appends the protocol's primitives to a buffer. What can be too long for the protocol returns a `Result`; the buffer
/// then ends before the value.
#[derive(Debug)]
pub struct Writer<'b, B: Buffer = Vec<u8>> {
    buffer: &'b mut B,
}

impl<'b, B: Buffer> Writer<'b, B> {
    /// A writer behind what `buffer` holds.
    #[must_use]
    pub const fn new(buffer: &'b mut B) -> Self {
        Self { buffer }
    }

    /// The length of the buffer, with what it held before.
    #[must_use]
    pub fn position(&self) -> usize {
        self.buffer.as_ref().len()
    }

    /// The buffer, to append what is already encoded.
    pub const fn buffer(&mut self) -> &mut B {
        self.buffer
    }

    /// Appends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// bool
    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(u8::from(value));
    }

    /// int8
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// int16
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// uint16
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// int32
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// uint32
    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    /// int64
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// float64
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// uuid
    pub fn uuid(&mut self, value: &[u8; 16]) {
        self.raw(value);
    }

    /// An unsigned integer in groups of seven bits, the lowest first.
    pub fn uvarint(&mut self, value: u32) {
        self.uvarlong(value.into());
    }

    /// The same for 64 bits.
    pub fn uvarlong(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// A signed integer, zigzag.
    pub fn varint(&mut self, value: i32) {
        self.uvarint(((value << 1) ^ (value >> 31)).cast_unsigned());
    }

    /// The same for 64 bits.
    pub fn varlong(&mut self, value: i64) {
        self.uvarlong(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn length(&mut self, flexible: bool, length: Option<usize>) -> Result<(), WriteError> {
        let value = match length {
            None => -1,
            Some(length) => i32::try_from(length).ok().filter(|&n| n < i32::MAX).ok_or(WriteError::TooLong(length))?,
        };
        if flexible {
            self.uvarint((value + 1).cast_unsigned());
        } else {
            self.i32(value);
        }
        Ok(())
    }

    /// A string, or null.
    pub fn nullable_string(&mut self, flexible: bool, value: Option<&str>) -> Result<(), WriteError> {
        if let Some(text) = value
            && text.len() > STRING_BYTES_MAX
        {
            return Err(WriteError::StringTooLong(text.len()));
        }
        if flexible {
            self.length(true, value.map(str::len))?;
        } else {
            self.i16(value.map_or(-1, |text| text.len() as i16));
        }
        self.raw(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// A string.
    pub fn string(&mut self, flexible: bool, value: &str) -> Result<(), WriteError> {
        self.nullable_string(flexible, Some(value))
    }

    /// Bytes, or null.
    pub fn nullable_bytes(&mut self, flexible: bool, value: Option<&[u8]>) -> Result<(), WriteError> {
        self.length(flexible, value.map(<[u8]>::len))?;
        self.raw(value.unwrap_or_default());
        Ok(())
    }

    /// Bytes.
    pub fn bytes(&mut self, flexible: bool, value: &[u8]) -> Result<(), WriteError> {
        self.nullable_bytes(flexible, Some(value))
    }

    /// Only the length of bytes or records which go out by another way.
    pub fn bytes_length(&mut self, flexible: bool, length: Option<usize>) -> Result<(), WriteError> {
        self.length(flexible, length)
    }

    /// The count of an array; `None` is null. The elements follow.
    pub fn array(&mut self, flexible: bool, count: Option<usize>) -> Result<(), WriteError> {
        self.length(flexible, count)
    }

    /// The prefix of a struct that may be null.
    pub fn struct_follows(&mut self, follows: bool) {
        self.i8(if follows { 1 } else { -1 });
    }

    /// Ends a struct without tagged fields.
    pub fn no_tags(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0);
        }
    }

    /// Begins the tagged fields of a flexible struct; that many calls of [`Writer::tag`] follow, tags ascending.
    pub fn tags(&mut self, count: u32) {
        self.uvarint(count);
    }

    /// One tagged field, whose bytes `write` appends.
    pub fn tag<E>(&mut self, tag: u32, write: impl FnOnce(&mut Self) -> Result<(), E>) -> Result<(), E>
    where
        E: From<WriteError>,
    {
        self.uvarint(tag);
        let start = self.position();
        write(self)?;
        let end = self.position();
        let size = u32::try_from(end - start).map_err(|_| WriteError::TooLong(end - start))?;
        // The size goes in front of bytes that are already there: written behind them, then turned to the front.
        self.uvarint(size);
        let digits = self.position() - end;
        if let Some(field) = self.buffer.as_mut().get_mut(start..) {
            field.rotate_right(digits);
        }
        Ok(())
    }

    /// Keeps four bytes free.
    pub fn slot(&mut self) -> Slot {
        let slot = Slot(self.position());
        self.i32(0);
        slot
    }

    /// Fills a kept place.
    pub fn fill(&mut self, slot: Slot, value: i32) {
        if let Some(place) = self.buffer.as_mut().get_mut(slot.0..slot.0 + 4) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// Fills a kept place with the number of bytes that follow it: the size of a frame.
    pub fn fill_with_size(&mut self, slot: Slot) -> Result<(), WriteError> {
        let size = self.position() - slot.0 - 4;
        let value = i32::try_from(size).map_err(|_| WriteError::TooLong(size))?;
        self.fill(slot, value);
        Ok(())
    }
}
