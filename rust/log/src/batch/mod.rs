//! Record batch v2 (magic 2): the unit that is sent, checked, stored and served, byte for byte the same in all four places.
//!
//! [`header`] is the 61 bytes in front; [`records`] walks what follows without allocating; [`compression`] opens and closes the five
//! codecs with a cap on what may come out; [`validate`] is everything a batch must pass before it is appended; [`builder`] makes
//! batches from plain records; [`control`] knows the records that are not data. FORMAT.md draws the layout.

pub mod builder;
pub mod compression;
pub mod control;
pub mod header;
pub mod records;
pub mod validate;
pub mod varint;

pub use compression::Compression;
pub use control::Marker;
pub use header::BatchHeader;

/// "No producer": the batch is not idempotent.
pub const NO_PRODUCER_ID: i64 = -1;
pub const NO_PRODUCER_EPOCH: i16 = -1;
pub const NO_SEQUENCE: i32 = -1;
/// A record without a time of its own.
pub const NO_TIMESTAMP: i64 = -1;

/// A record to be written: what a coordinator, the metadata log or the embedded log hands over.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}
