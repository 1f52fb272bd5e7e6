//! Batches as a producer makes them. What does not change is made once: records, codec and their checksum. Each send writes a header
//! with its own time, producer and sequence, and combines the header's checksum with that of the records ([`Checksummed`]), so that it
//! is a batch of its own at the price of 61 bytes.

mod checksummed;

use checksummed::Checksummed;
use crc_fast::CrcAlgorithm::Crc32Iscsi;
use crc_fast::Digest;
use ottla_log::batch::builder::{BatchBuilder, BatchShape};
use ottla_log::batch::header::{CHECKSUMMED_FROM, FRAMING_BYTES, HEADER_BYTES};
use ottla_log::batch::{BatchHeader, Compression, NewRecord};

use crate::Outcome;
use crate::payload::Payload;

/// A producer id and its epoch; the first sequence goes with each batch.
pub const NO_PRODUCER: (i64, i16) = (-1, -1);

/// Records, ready but for their header.
#[derive(Debug)]
pub struct Body {
    pub bytes: Vec<u8>,
    /// None where the batch is sent once.
    checksummed: Option<Checksummed>,
    pub records: i32,
    /// Of keys and values.
    pub value_bytes: u64,
    attributes: i16,
}

/// In front of the value of a record that says when it was due; the monotonic clock's ns follow.
const STAMP: [u8; 8] = *b"ottla-ns";
const STAMP_BYTES: usize = 16;

/// When a record was due, if it says so.
pub fn stamp_ns(value: &[u8]) -> Option<u64> {
    let time = value.strip_prefix(&STAMP)?.first_chunk::<8>()?;
    Some(u64::from_be_bytes(*time))
}

/// How batches are cut.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub compression: Compression,
    pub level: i32,
    /// Before compression.
    pub bytes: usize,
    pub records: usize,
}

impl Body {
    /// Takes values from `next` on until the batch is full; at least one. Keys go round.
    pub fn make(payload: &Payload, keys: &[Vec<u8>], next: &mut usize, cut: &Cut) -> Outcome<Body> {
        let mut builder = BatchBuilder::new(BatchShape::plain(cut.compression, cut.level));
        let (mut records, mut value_bytes) = (0, 0);
        while records == 0 || (records < cut.records && builder.bytes() < cut.bytes) {
            let value = payload.value(*next);
            let key = if keys.is_empty() { None } else { Some(keys[*next % keys.len()].as_slice()) };
            // A record may end past the mark, but for the first never a whole one.
            if records > 0 && builder.bytes() + value.len() + key.map_or(0, <[u8]>::len) > cut.bytes {
                break;
            }
            builder.push(&NewRecord { timestamp_ms: 0, key, value: Some(value), headers: &[] });
            *next += 1;
            records += 1;
            value_bytes += (value.len() + key.map_or(0, <[u8]>::len)) as u64;
        }
        let mut body = Body::of(builder, value_bytes)?;
        body.checksummed = Some(Checksummed::new(&body.bytes));
        Ok(body)
    }

    /// A record for each time it was due, the time in front of its value.
    pub fn stamped(payload: &Payload, due_ns: impl Iterator<Item = u64>, cut: &Cut) -> Outcome<Body> {
        let mut builder = BatchBuilder::new(BatchShape::plain(cut.compression, cut.level));
        let (mut value, mut value_bytes) = (Vec::new(), 0);
        for (number, due_ns) in due_ns.enumerate() {
            value.clear();
            value.extend_from_slice(payload.value(number));
            value.resize(value.len().max(STAMP_BYTES), 0);
            value[..8].copy_from_slice(&STAMP);
            value[8..STAMP_BYTES].copy_from_slice(&due_ns.to_be_bytes());
            value_bytes += value.len() as u64;
            builder.push(&NewRecord { timestamp_ms: 0, key: None, value: Some(&value), headers: &[] });
        }
        Body::of(builder, value_bytes)
    }

    fn of(builder: BatchBuilder, value_bytes: u64) -> Outcome<Body> {
        let whole = builder.finish().ok_or("a batch past 2 GiB")?;
        let header = BatchHeader::read(&whole).ok_or("a batch without a header")?;
        let bytes = whole[HEADER_BYTES..].to_vec();
        Ok(Body { bytes, checksummed: None, records: header.record_count, value_bytes, attributes: header.attributes })
    }

    /// Header and records.
    pub fn batch_bytes(&self) -> usize {
        HEADER_BYTES + self.bytes.len()
    }

    /// Appends the header of one send.
    pub fn write_header(&self, to: &mut Vec<u8>, timestamp_ms: i64, producer: (i64, i16), sequence: i32) {
        let begun = to.len();
        to.resize(begun + HEADER_BYTES, 0);
        let mut header = BatchHeader {
            base_offset: 0,
            length: (self.batch_bytes() - FRAMING_BYTES) as i32,
            leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes: self.attributes,
            last_offset_delta: self.records - 1,
            base_timestamp_ms: timestamp_ms,
            max_timestamp_ms: timestamp_ms,
            producer_id: producer.0,
            producer_epoch: producer.1,
            base_sequence: sequence,
            record_count: self.records,
        };
        header.write(&mut to[begun..]);
        let mut front = Digest::new(Crc32Iscsi);
        front.update(&to[begun + CHECKSUMMED_FROM..]);
        header.crc = match &self.checksummed {
            Some(rest) => rest.behind(front.finalize() as u32),
            None => {
                front.update(&self.bytes);
                front.finalize() as u32
            }
        };
        header.write(&mut to[begun..]);
    }
}

/// Java's partitioner: murmur2 of the key, its sign bit dropped, modulo the partitions (Utils.murmur2).
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) as i32 % partitions
}

fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(M);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(M) ^ mixed.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (at, &byte) in rest.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// `count` keys, dealt to the partitions they belong to.
pub fn keys_by_partition(count: usize, partitions: i32) -> Vec<Vec<Vec<u8>>> {
    let mut dealt = vec![Vec::new(); partitions as usize];
    for number in 0..count {
        let key = format!("key-{number}").into_bytes();
        let partition = partition_of(&key, partitions);
        dealt[partition as usize].push(key);
    }
    dealt
}

#[cfg(test)]
mod tests {
    use ottla_log::batch::compression::decompress;
    use ottla_log::batch::header;
    use ottla_log::batch::records::Records;

    use super::*;
    use crate::flags::Flags;

    fn payload() -> Payload {
        Payload::from_flags(&mut Flags::read(Vec::new()).unwrap(), 100).unwrap()
    }

    /// What a send makes is a whole batch: length, checksum, count, and the records that went in.
    #[test]
    fn a_send_is_a_whole_batch() {
        let payload = payload();
        let keys = [b"a".to_vec(), b"bc".to_vec()];
        for compression in
            [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd]
        {
            let cut = Cut { compression, level: -1, bytes: 4096, records: 1000 };
            let mut next = 3;
            let body = Body::make(&payload, &keys, &mut next, &cut).unwrap();
            let mut batch = vec![7];
            body.write_header(&mut batch, 1_700_000_000_000, (9, 2), 40);
            batch.extend_from_slice(&body.bytes);
            let batch = &batch[1..];
            let told = BatchHeader::read(batch).unwrap();
            assert_eq!(told.total_bytes(), Some(batch.len() as u32));
            assert_eq!(told.crc, header::checksum(batch));
            assert!(body.checksummed.is_some(), "{compression:?}: hashed anew for each send");
            assert_eq!((told.compression(), told.record_count), (Some(compression), body.records));
            assert_eq!((told.producer_id, told.producer_epoch, told.base_sequence), (9, 2, 40));
            assert_eq!((told.base_timestamp_ms, told.max_timestamp_ms), (1_700_000_000_000, 1_700_000_000_000));
            let mut plain = Vec::new();
            decompress(compression, &batch[HEADER_BYTES..], 1 << 20, &mut plain).unwrap();
            let records: Vec<_> = Records::new(&plain, told.record_count).collect::<Result<_, _>>().unwrap();
            assert_eq!(records.len(), next - 3);
            let mut value_bytes = 0;
            for (at, record) in records.iter().enumerate() {
                assert_eq!(record.value, Some(payload.value(3 + at)));
                assert_eq!(record.key, Some(keys[(3 + at) % 2].as_slice()));
                value_bytes += record.value.unwrap().len() + record.key.unwrap().len();
            }
            assert_eq!(body.value_bytes, value_bytes as u64);
            assert!(plain.len() + HEADER_BYTES <= 4096 + 120, "{}", plain.len());
        }
    }

    /// A batch has one record at least, and no more than asked for.
    #[test]
    fn batches_are_cut() {
        let payload = payload();
        for (bytes, records, expected) in [(1, 10, 1), (1 << 20, 3, 3), (61 + 2 * 120, 10, 2)] {
            let cut = Cut { compression: Compression::None, level: -1, bytes, records };
            assert_eq!(Body::make(&payload, &[], &mut 0, &cut).unwrap().records, expected, "{bytes} {records}");
        }
    }

    /// The time a record was due comes back from its value, whatever the value's length; other values say none.
    #[test]
    fn stamps_come_back() {
        let payload = Payload::from_flags(&mut Flags::read(Vec::new()).unwrap(), 5).unwrap();
        let cut = Cut { compression: Compression::Lz4, level: -1, bytes: 1, records: 1 };
        let times = [0, 7, u64::MAX];
        let body = Body::stamped(&payload, times.into_iter(), &cut).unwrap();
        let mut batch = Vec::new();
        body.write_header(&mut batch, 1, NO_PRODUCER, -1);
        batch.extend_from_slice(&body.bytes);
        assert_eq!(BatchHeader::read(&batch).unwrap().crc, header::checksum(&batch));
        let mut plain = Vec::new();
        decompress(Compression::Lz4, &body.bytes, 1 << 20, &mut plain).unwrap();
        let found: Vec<_> = Records::new(&plain, 3).map(|record| stamp_ns(record.unwrap().value.unwrap())).collect();
        assert_eq!(found, times.map(Some));
        assert_eq!((stamp_ns(b"ottla-ns1234567"), stamp_ns(b"anything at all.")), (None, None));
    }

    /// The hashes that Kafka's own test of Utils.murmur2 expects.
    #[test]
    fn keys_go_where_java_sends_them() {
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
        let dealt = keys_by_partition(1000, 7);
        assert_eq!(dealt.iter().map(Vec::len).sum::<usize>(), 1000);
        assert!(dealt.iter().enumerate().all(|(at, keys)| keys.iter().all(|key| partition_of(key, 7) == at as i32)));
    }
}
