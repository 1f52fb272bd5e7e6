//! The 61 bytes in front of a batch, big-endian:
//!
//! ```text
//!  0 base_offset i64            8 length i32 (of all that follows)   12 leader_epoch i32   16 magic i8 (2)
//! 17 crc u32 (CRC32C of 21..)  21 attributes i16                     23 last_offset_delta i32
//! 27 base_timestamp i64        35 max_timestamp i64                  43 producer_id i64
//! 51 producer_epoch i16        53 base_sequence i32                  57 record_count i32   61 records
//! ```
//!
//! attributes: bits 0-2 codec, 3 timestamps are LogAppendTime, 4 transactional, 5 control, 6 base_timestamp is a delete horizon.
//! Offset, length, epoch and magic lie outside the checksum, so that the broker can place a batch without touching what the producer
//! signed.

use std::ops::Range;

use super::Compression;
use crate::Offset;

/// Bytes in front of the records.
pub const HEADER_BYTES: usize = 61;
/// Offset and length: what must be there to know how long a batch is.
pub const FRAMING_BYTES: usize = 12;
/// Where the checksummed part begins.
pub const CHECKSUMMED_FROM: usize = 21;
/// The only magic served.
pub const MAGIC: i8 = 2;

const BASE_OFFSET: Range<usize> = 0..8;
const LENGTH: Range<usize> = 8..12;
const LEADER_EPOCH: Range<usize> = 12..16;
pub(crate) const MAGIC_AT: usize = 16;
const CRC: Range<usize> = 17..21;
const ATTRIBUTES: Range<usize> = 21..23;
const LAST_OFFSET_DELTA: Range<usize> = 23..27;
const BASE_TIMESTAMP: Range<usize> = 27..35;
const MAX_TIMESTAMP: Range<usize> = 35..43;
const PRODUCER_ID: Range<usize> = 43..51;
const PRODUCER_EPOCH: Range<usize> = 51..53;
const BASE_SEQUENCE: Range<usize> = 53..57;
const RECORD_COUNT: Range<usize> = 57..61;
const _: () =
    assert!(RECORD_COUNT.end == HEADER_BYTES && ATTRIBUTES.start == CHECKSUMMED_FROM && LENGTH.end == FRAMING_BYTES);

const COMPRESSION_BITS: i16 = 0b111;
pub const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
pub const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub const CONTROL_BIT: i16 = 1 << 5;
pub const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// The fields, decoded. Nothing in it has been checked but that 61 bytes were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Of everything after itself; see [`BatchHeader::total_bytes`].
    pub length: i32,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

fn array<const N: usize>(bytes: &[u8], range: Range<usize>) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[range]);
    value
}

impl BatchHeader {
    /// None when fewer than 61 bytes are there.
    pub fn read(bytes: &[u8]) -> Option<BatchHeader> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        Some(BatchHeader {
            base_offset: i64::from_be_bytes(array(bytes, BASE_OFFSET)),
            length: i32::from_be_bytes(array(bytes, LENGTH)),
            leader_epoch: i32::from_be_bytes(array(bytes, LEADER_EPOCH)),
            magic: bytes[MAGIC_AT] as i8,
            crc: u32::from_be_bytes(array(bytes, CRC)),
            attributes: i16::from_be_bytes(array(bytes, ATTRIBUTES)),
            last_offset_delta: i32::from_be_bytes(array(bytes, LAST_OFFSET_DELTA)),
            base_timestamp_ms: i64::from_be_bytes(array(bytes, BASE_TIMESTAMP)),
            max_timestamp_ms: i64::from_be_bytes(array(bytes, MAX_TIMESTAMP)),
            producer_id: i64::from_be_bytes(array(bytes, PRODUCER_ID)),
            producer_epoch: i16::from_be_bytes(array(bytes, PRODUCER_EPOCH)),
            base_sequence: i32::from_be_bytes(array(bytes, BASE_SEQUENCE)),
            record_count: i32::from_be_bytes(array(bytes, RECORD_COUNT)),
        })
    }

    /// Writes all fields into the first 61 bytes, the checksum as it stands.
    pub fn write(&self, bytes: &mut [u8]) {
        bytes[BASE_OFFSET].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[LENGTH].copy_from_slice(&self.length.to_be_bytes());
        bytes[LEADER_EPOCH].copy_from_slice(&self.leader_epoch.to_be_bytes());
        bytes[MAGIC_AT] = self.magic as u8;
        bytes[CRC].copy_from_slice(&self.crc.to_be_bytes());
        bytes[ATTRIBUTES].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[LAST_OFFSET_DELTA].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[BASE_TIMESTAMP].copy_from_slice(&self.base_timestamp_ms.to_be_bytes());
        bytes[MAX_TIMESTAMP].copy_from_slice(&self.max_timestamp_ms.to_be_bytes());
        bytes[PRODUCER_ID].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[PRODUCER_EPOCH].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[BASE_SEQUENCE].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[RECORD_COUNT].copy_from_slice(&self.record_count.to_be_bytes());
    }

    /// Bytes of the whole batch as its length field says; None when the field cannot be right.
    pub fn total_bytes(&self) -> Option<u32> {
        let total = u32::try_from(self.length).ok()?.checked_add(FRAMING_BYTES as u32)?;
        (total >= HEADER_BYTES as u32).then_some(total)
    }

    /// None for the three codes nobody has defined.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_bits(self.attributes & COMPRESSION_BITS)
    }

    pub fn last_offset(&self) -> Offset {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    pub fn next_offset(&self) -> Offset {
        self.last_offset().wrapping_add(1)
    }

    /// Any negative id is none, as in Kafka.
    pub fn has_producer(&self) -> bool {
        self.producer_id > super::NO_PRODUCER_ID
    }

    /// The sequence of the last record; sequences wrap to 0 after `i32::MAX`.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == super::NO_SEQUENCE {
            return super::NO_SEQUENCE;
        }
        add_sequence(self.base_sequence, self.last_offset_delta)
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME_BIT != 0
    }

    /// When the tombstones or the marker in this batch may go (KIP-534): it then stands where the base timestamp was.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp_ms)
    }
}

/// `sequence + by`, wrapping from `i32::MAX` to 0 (Kafka's `DefaultRecordBatch.incrementSequence`).
pub fn add_sequence(sequence: i32, by: i32) -> i32 {
    ((i64::from(sequence) + i64::from(by)) & i64::from(i32::MAX)) as i32
}

/// CRC32C of the checksummed part of a whole batch.
pub fn checksum(batch: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(&batch[CHECKSUMMED_FROM..])
}

/// Places a batch: neither field is checksummed.
pub fn place(batch: &mut [u8], base_offset: Offset, leader_epoch: i32) {
    batch[BASE_OFFSET].copy_from_slice(&base_offset.to_be_bytes());
    batch[LEADER_EPOCH].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Replaces attributes and max timestamp, and signs the batch again.
pub fn restamp(batch: &mut [u8], attributes: i16, max_timestamp_ms: i64) -> u32 {
    batch[ATTRIBUTES].copy_from_slice(&attributes.to_be_bytes());
    batch[MAX_TIMESTAMP].copy_from_slice(&max_timestamp_ms.to_be_bytes());
    seal(batch)
}

/// Writes the checksum over the batch as it is now.
pub fn seal(batch: &mut [u8]) -> u32 {
    let crc = checksum(batch);
    batch[CRC].copy_from_slice(&crc.to_be_bytes());
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field lands in its own bytes and comes back.
    #[test]
    fn round_trip() {
        let header = BatchHeader {
            base_offset: 0x0102_0304_0506_0708,
            length: 100,
            leader_epoch: 7,
            magic: 2,
            crc: 0xdead_beef,
            attributes: 0b11_1010,
            last_offset_delta: 9,
            base_timestamp_ms: -5,
            max_timestamp_ms: 1 << 40,
            producer_id: 11,
            producer_epoch: 12,
            base_sequence: 13,
            record_count: 10,
        };
        let mut bytes = [0xaa; HEADER_BYTES];
        header.write(&mut bytes);
        assert_eq!(BatchHeader::read(&bytes), Some(header));
        assert_eq!(BatchHeader::read(&bytes[..60]), None);
        assert_eq!(header.compression(), Some(Compression::Snappy));
        assert!(header.is_log_append_time() && header.is_transactional() && header.is_control());
    }

    /// Lengths that cannot hold a header are no lengths.
    #[test]
    fn impossible_lengths() {
        let mut header = BatchHeader::read(&[0; HEADER_BYTES]).unwrap();
        for length in [-1, i32::MIN, 0, 48] {
            header.length = length;
            assert_eq!(header.total_bytes(), None);
        }
        header.length = 49;
        assert_eq!(header.total_bytes(), Some(61));
        header.length = i32::MAX;
        assert_eq!(header.total_bytes(), Some(i32::MAX as u32 + 12));
    }

    /// Our CRC32C is the one another implementation computes.
    #[test]
    fn checksum_agrees_with_an_oracle() {
        let batch: Vec<u8> = (0..5000u32).map(|byte| (byte * 7) as u8).collect();
        for length in [21, 22, 61, 64, 1000, 5000] {
            assert_eq!(checksum(&batch[..length]), crc32c::crc32c(&batch[21..length]));
        }
    }

    /// Sequences wrap as Kafka's do.
    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(add_sequence(i32::MAX, 1), 0);
        assert_eq!(add_sequence(i32::MAX - 1, 3), 1);
        assert_eq!(add_sequence(5, 4), 9);
    }
}
