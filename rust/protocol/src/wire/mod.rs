//! The primitives of Kafka's protocol, in both of its dialects.
//!
//! | type | classic | flexible ("compact") |
//! |---|---|---|
//! | int8..int64, uint16, uint32, float64 | big endian | the same |
//! | bool | one byte, not 0 is true | the same |
//! | uuid | 16 bytes | the same |
//! | string | int16 length, UTF-8; null is -1 | uvarint length + 1, UTF-8; null is 0 |
//! | bytes, records | int32 length; null is -1 | uvarint length + 1; null is 0 |
//! | array | int32 count; null is -1 | uvarint count + 1; null is 0 |
//! | struct that may be null | int8: -1 null, 1 follows | the same; in a tagged field uvarint: 0 null, 1 follows |
//! | end of a struct | nothing | uvarint count, then per tagged field: uvarint tag, uvarint size, the bytes |
//!
//! A string is at most 32,767 bytes in both dialects. Which dialect a message is in follows from its version, so the
//! methods take `flexible: bool`.

mod error;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use error::{Error, ErrorKind, Result, WriteError};
pub use reader::{Reader, Tags};
pub use writer::{Buffer, Slot, Writer};

/// The longest string Kafka writes or accepts, in bytes.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;
