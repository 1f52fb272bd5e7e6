//! What lies in the records of an answer: whole batches, and at the end maybe a part of one.

use ottla_log::batch::compression::decompress;
use ottla_log::batch::header::{self, HEADER_BYTES};
use ottla_log::batch::records::Records;
use ottla_log::batch::{BatchHeader, Compression};

use crate::Outcome;
use crate::batch::stamp_ns;
use crate::latency::Latency;
use crate::report::now_ns;

const UNPACKED_BYTES_MAX: usize = 256 << 20;

/// What has been read so far.
#[derive(Debug)]
pub struct Tally {
    pub requests: u64,
    pub records: u64,
    pub batches: u64,
    pub batch_bytes: u64,
    pub received_bytes: u64,
    /// Batches that do not follow on the one before: a compacted log has them.
    pub gaps: u64,
    /// When the last records came.
    pub last_ns: u64,
    pub latency: Option<Latency>,
    check: bool,
    now_ns: u64,
    unpacked: Vec<u8>,
}

impl Tally {
    pub fn new(check: bool, latency: bool) -> Outcome<Tally> {
        Ok(Tally {
            requests: 0,
            records: 0,
            batches: 0,
            batch_bytes: 0,
            received_bytes: 0,
            gaps: 0,
            last_ns: 0,
            latency: if latency { Some(Latency::new()?) } else { None },
            check,
            now_ns: 0,
            unpacked: Vec::new(),
        })
    }

    pub fn begin_answer(&mut self, bytes: usize) {
        self.requests += 1;
        self.received_bytes += bytes as u64;
        self.now_ns = now_ns();
    }
}

/// Counts the records from `next` on and moves it past them.
pub fn walk(mut bytes: &[u8], next: &mut i64, tally: &mut Tally) -> Outcome<()> {
    let (begun, was_empty) = (*next, bytes.is_empty());
    while let Some(told) = BatchHeader::read(bytes) {
        let total = told.total_bytes().ok_or("a batch of an impossible length")? as usize;
        let Some(batch) = bytes.get(..total) else { break };
        if told.magic != header::MAGIC || told.last_offset() < told.base_offset {
            return Err(format!("batch {}: magic {}, up to {}", told.base_offset, told.magic, told.last_offset()));
        }
        // A fetch inside a batch begins with that batch.
        if told.last_offset() >= *next {
            let before = (*next - told.base_offset).max(0);
            tally.gaps += u64::from(told.base_offset > *next);
            *next = told.next_offset();
            tally.records += u64::try_from(i64::from(told.record_count) - before).unwrap_or(0);
            tally.batches += 1;
            tally.batch_bytes += total as u64;
            if tally.check || tally.latency.is_some() {
                look_into(&told, batch, tally).map_err(|error| format!("batch {}: {error}", told.base_offset))?;
            }
        }
        bytes = &bytes[total..];
    }
    if *next != begun {
        tally.last_ns = tally.now_ns;
    } else if !was_empty {
        return Err("records without a whole batch that was asked for".to_owned());
    }
    Ok(())
}

fn look_into(told: &BatchHeader, batch: &[u8], tally: &mut Tally) -> Outcome<()> {
    if tally.check && told.crc != header::checksum(batch) {
        return Err("its checksum is wrong".to_owned());
    }
    let compression = told.compression().ok_or("an unknown codec")?;
    let records = if compression == Compression::None {
        &batch[HEADER_BYTES..]
    } else {
        decompress(compression, &batch[HEADER_BYTES..], UNPACKED_BYTES_MAX, &mut tally.unpacked)
            .map_err(|error| error.to_string())?;
        &tally.unpacked
    };
    for record in Records::new(records, told.record_count) {
        let value = record?.value.unwrap_or_default();
        if let (Some(latency), Some(due_ns)) = (&mut tally.latency, stamp_ns(value)) {
            latency.record(due_ns, tally.now_ns);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ottla_log::batch::NewRecord;
    use ottla_log::batch::builder::{BatchShape, build};

    use super::*;

    fn batches(counts: &[usize], compression: Compression) -> Vec<Vec<u8>> {
        let mut next = 0;
        let record = NewRecord { timestamp_ms: 1, key: None, value: Some(b"a value of some length"), headers: &[] };
        counts
            .iter()
            .map(|&count| {
                let mut batch = build(BatchShape::plain(compression, -1), &vec![record; count]).unwrap();
                header::place(&mut batch, next, 0);
                next += count as i64;
                batch
            })
            .collect()
    }

    fn walked(bytes: &[u8], from: i64) -> Outcome<(i64, u64, u64, u64)> {
        let mut tally = Tally::new(true, false)?;
        let mut next = from;
        walk(bytes, &mut next, &mut tally)?;
        Ok((next, tally.records, tally.batches, tally.gaps))
    }

    /// Whole batches count, a part of one does not; a fetch inside a batch counts from its offset on.
    #[test]
    fn records_are_counted_once() {
        for compression in [Compression::None, Compression::Zstd] {
            let made = batches(&[3, 1, 5], compression);
            let all = made.concat();
            assert_eq!(walked(&all, 0), Ok((9, 9, 3, 0)));
            assert_eq!(walked(&all[..all.len() - 1], 0), Ok((4, 4, 2, 0)));
            assert_eq!(walked(&all, 2), Ok((9, 7, 3, 0)));
            assert_eq!(walked(&all, 3), Ok((9, 6, 2, 0)));
            assert_eq!(walked(&[], 4), Ok((4, 0, 0, 0)));
            assert_eq!(walked(&[made[0].clone(), made[2].clone()].concat(), 0), Ok((9, 8, 2, 1)));
            assert!(walked(&all[..50], 0).is_err() && walked(&all, 9).is_err());
        }
    }

    /// A flipped bit anywhere behind the place of the checksum is found.
    #[test]
    fn damage_is_found() {
        let made = batches(&[3], Compression::None).concat();
        for at in 17..made.len() {
            let mut damaged = made.clone();
            damaged[at] ^= 4;
            assert!(walked(&damaged, 0).is_err(), "{at}");
        }
    }
}
