//! Reads primitives from a frame, in place.

use super::{Error, ErrorKind, Result, STRING_BYTES_MAX};

/// A cursor over one frame (or a part of one).
///
/// Strings and bytes are slices of the frame: nothing is copied and nothing allocated, whatever lengths the frame claims.
/// Each method takes the name of the value it reads, for the error. After an error the position is unspecified; a frame
/// with an error in it is given up.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    frame: &'a [u8],
    at: usize,
    /// Where `frame` begins in the whole frame, so that errors inside a tagged field name the true position.
    origin: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the beginning of `frame`.
    #[must_use]
    pub const fn new(frame: &'a [u8]) -> Self {
        Self { frame, at: 0, origin: 0 }
    }

    /// How many bytes of the whole frame lie before the next one.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.origin + self.at
    }

    /// How many bytes are left.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.frame.len() - self.at
    }

    /// Everything that is left, without moving.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.frame.get(self.at..).unwrap_or_default()
    }

    /// An error at the present position.
    #[must_use]
    pub const fn error(&self, reading: &'static str, kind: ErrorKind) -> Error {
        Error { at: self.position(), reading, kind }
    }

    /// Refuses bytes that nothing has read. Kafka ignores them behind a request, so requests are not checked for them.
    pub fn finish(self, reading: &'static str) -> Result<()> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(reading, ErrorKind::TrailingBytes(left))),
        }
    }

    /// The next `length` bytes.
    pub fn take(&mut self, length: usize, reading: &'static str) -> Result<&'a [u8]> {
        match self.rest().get(..length) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => Err(self.error(reading, ErrorKind::Truncated { needed: length, remaining: self.remaining() })),
        }
    }

    fn fixed<const N: usize>(&mut self, reading: &'static str) -> Result<[u8; N]> {
        match self.rest().first_chunk::<N>() {
            Some(bytes) => {
                self.at += N;
                Ok(*bytes)
            }
            None => Err(self.error(reading, ErrorKind::Truncated { needed: N, remaining: self.remaining() })),
        }
    }

    /// One byte; everything but 0 is true, as in Kafka.
    pub fn bool(&mut self, reading: &'static str) -> Result<bool> {
        Ok(self.i8(reading)? != 0)
    }

    /// int8
    pub fn i8(&mut self, reading: &'static str) -> Result<i8> {
        Ok(i8::from_be_bytes(self.fixed(reading)?))
    }

    /// int16
    pub fn i16(&mut self, reading: &'static str) -> Result<i16> {
        Ok(i16::from_be_bytes(self.fixed(reading)?))
    }

    /// uint16
    pub fn u16(&mut self, reading: &'static str) -> Result<u16> {
        Ok(u16::from_be_bytes(self.fixed(reading)?))
    }

    /// int32
    pub fn i32(&mut self, reading: &'static str) -> Result<i32> {
        Ok(i32::from_be_bytes(self.fixed(reading)?))
    }

    /// uint32
    pub fn u32(&mut self, reading: &'static str) -> Result<u32> {
        Ok(u32::from_be_bytes(self.fixed(reading)?))
    }

    /// int64
    pub fn i64(&mut self, reading: &'static str) -> Result<i64> {
        Ok(i64::from_be_bytes(self.fixed(reading)?))
    }

    /// float64
    pub fn f64(&mut self, reading: &'static str) -> Result<f64> {
        Ok(f64::from_be_bytes(self.fixed(reading)?))
    }

    /// uuid, most significant byte first; all zeros stands for none.
    pub fn uuid(&mut self, reading: &'static str) -> Result<[u8; 16]> {
        self.fixed(reading)
    }

    /// An unsigned integer in groups of seven bits, the lowest first.
    pub fn uvarint(&mut self, reading: &'static str) -> Result<u32> {
        let wide = self.variable(5, reading)?;
        u32::try_from(wide).map_err(|_| self.error(reading, ErrorKind::VarintTooWide))
    }

    /// The same for 64 bits.
    pub fn uvarlong(&mut self, reading: &'static str) -> Result<u64> {
        self.variable(10, reading)
    }

    /// A signed integer, zigzag: 0, -1, 1, -2, ... are 0, 1, 2, 3, ...
    pub fn varint(&mut self, reading: &'static str) -> Result<i32> {
        let zigzag = self.uvarint(reading)?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    /// The same for 64 bits.
    pub fn varlong(&mut self, reading: &'static str) -> Result<i64> {
        let zigzag = self.uvarlong(reading)?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn variable(&mut self, bytes_max: usize, reading: &'static str) -> Result<u64> {
        let rest = self.rest();
        let mut value = 0_u64;
        for (count, byte) in rest.iter().take(bytes_max).enumerate() {
            // The tenth byte of a 64-bit integer has room for one bit only.
            if count == 9 && byte & 0x7f > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * count);
            if byte & 0x80 == 0 {
                self.at += count + 1;
                return Ok(value);
            }
        }
        let kind = if rest.len() < bytes_max {
            ErrorKind::Truncated { needed: rest.len() + 1, remaining: rest.len() }
        } else {
            ErrorKind::VarintTooWide
        };
        Err(self.error(reading, kind))
    }

    /// A length or count: `None` is null.
    fn length(&mut self, flexible: bool, reading: &'static str) -> Result<Option<usize>> {
        if flexible {
            return Ok((self.uvarint(reading)? as usize).checked_sub(1));
        }
        let before = self.clone();
        match self.i32(reading)? {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| before.error(reading, ErrorKind::NegativeLength(length.into()))),
        }
    }

    /// A string, or null.
    pub fn nullable_string(&mut self, flexible: bool, reading: &'static str) -> Result<Option<&'a str>> {
        let before = self.clone();
        let length = if flexible {
            self.length(true, reading)?
        } else {
            match self.i16(reading)? {
                -1 => None,
                length => Some(
                    usize::try_from(length)
                        .map_err(|_| before.error(reading, ErrorKind::NegativeLength(length.into())))?,
                ),
            }
        };
        let Some(length) = length else {
            return Ok(None);
        };
        if length > STRING_BYTES_MAX {
            return Err(before.error(reading, ErrorKind::StringTooLong(length)));
        }
        let bytes = self.take(length, reading)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| before.error(reading, ErrorKind::NotUtf8))
    }

    /// A string.
    pub fn string(&mut self, flexible: bool, reading: &'static str) -> Result<&'a str> {
        let before = self.clone();
        self.nullable_string(flexible, reading)?.ok_or_else(|| before.error(reading, ErrorKind::UnexpectedNull))
    }

    /// Bytes (or records), or null.
    pub fn nullable_bytes(&mut self, flexible: bool, reading: &'static str) -> Result<Option<&'a [u8]>> {
        match self.length(flexible, reading)? {
            Some(length) => self.take(length, reading).map(Some),
            None => Ok(None),
        }
    }

    /// Bytes (or records).
    pub fn bytes(&mut self, flexible: bool, reading: &'static str) -> Result<&'a [u8]> {
        let before = self.clone();
        self.nullable_bytes(flexible, reading)?.ok_or_else(|| before.error(reading, ErrorKind::UnexpectedNull))
    }

    /// The count of an array, or null. `element_bytes_min` is the smallest size one element can have: a count that cannot
    /// fit into what is left is refused here, before anybody allocates for it.
    pub fn nullable_array(
        &mut self,
        flexible: bool,
        element_bytes_min: usize,
        reading: &'static str,
    ) -> Result<Option<usize>> {
        let before = self.clone();
        match self.length(flexible, reading)? {
            Some(count) if count > self.remaining() / element_bytes_min.max(1) => {
                Err(before.error(reading, ErrorKind::TooManyElements { count, remaining: self.remaining() }))
            }
            count => Ok(count),
        }
    }

    /// The count of an array that may not be null.
    pub fn array(&mut self, flexible: bool, element_bytes_min: usize, reading: &'static str) -> Result<usize> {
        let before = self.clone();
        self.nullable_array(flexible, element_bytes_min, reading)?
            .ok_or_else(|| before.error(reading, ErrorKind::UnexpectedNull))
    }

    /// Whether a struct that may be null follows; any prefix below 0 is null, as in Kafka.
    pub fn struct_follows(&mut self, reading: &'static str) -> Result<bool> {
        Ok(self.i8(reading)? >= 0)
    }

    /// The tagged fields at the end of a flexible struct. The reader stands behind them once `next` has returned `None`.
    pub fn tags(&mut self) -> Result<Tags<'_, 'a>> {
        let left = self.uvarint("count of tagged fields")?;
        Ok(Tags { reader: self, left })
    }

    /// Steps over the tagged fields of a struct, if the message is flexible.
    pub fn skip_tags(&mut self, flexible: bool) -> Result<()> {
        if flexible {
            let mut tags = self.tags()?;
            while tags.next()?.is_some() {}
        }
        Ok(())
    }
}

/// The tagged fields of one struct, one after the other.
#[derive(Debug)]
pub struct Tags<'r, 'a> {
    reader: &'r mut Reader<'a>,
    left: u32,
}

impl<'a> Tags<'_, 'a> {
    /// The next field: its tag and a reader over its bytes and no others.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator of results is clumsier to use than `while let Some(..) = tags.next()?`"
    )]
    pub fn next(&mut self) -> Result<Option<(u32, Reader<'a>)>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let tag = self.reader.uvarint("tag")?;
        let size = self.reader.uvarint("size of a tagged field")? as usize;
        let origin = self.reader.position();
        let frame = self.reader.take(size, "tagged field")?;
        Ok(Some((tag, Reader { frame, at: 0, origin })))
    }
}
