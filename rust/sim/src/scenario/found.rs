//! What is in a partition, as a reader finds it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_log::batch::BatchHeader;
use ottla_log::env::read_exact_at;
use ottla_log::partition::{ReadUpTo, Slice};
use ottla_log::{Offset, Partition};

const READ_BYTES: u32 = 2000;

#[derive(Debug)]
pub struct FoundBatch {
    pub header: BatchHeader,
    pub bytes: Vec<u8>,
}

#[derive(Debug)]
pub struct FoundRecord {
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// By what the read said of aborted transactions; for reads up to the last stable offset.
    pub is_committed: bool,
}

pub fn bytes_of(slice: &Slice) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; slice.length as usize];
    read_exact_at(slice.file.as_ref(), &mut bytes, slice.position).map_err(|error| format!("cannot read: {error}"))?;
    Ok(bytes)
}

/// The batches in a slice; the last may be cut.
pub fn batches(bytes: &[u8]) -> Vec<(BatchHeader, &[u8])> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(header) = bytes.get(at..).and_then(BatchHeader::read) {
        let Some(batch) = header.total_bytes().and_then(|total| bytes.get(at..at + total as usize)) else { break };
        found.push((header, batch));
        at += batch.len();
    }
    found
}

/// All batches from the log start to the log end.
pub fn found_batches(partition: &Partition) -> Result<Vec<FoundBatch>, String> {
    let mut found = Vec::new();
    let mut at = partition.offsets().log_start;
    loop {
        let read = partition
            .read(at, READ_BYTES, ReadUpTo::LogEnd, true)
            .map_err(|error| format!("a read at {at}: {error}"))?;
        let Some(slice) = read.slice else { return Ok(found) };
        let before = at;
        for (header, batch) in batches(&bytes_of(&slice)?) {
            at = header.next_offset();
            found.push(FoundBatch { header, bytes: batch.to_vec() });
        }
        if at <= before {
            return Err(format!("a read at {before} leads to {at}"));
        }
    }
}

/// All records from the log start on, control records too.
pub fn found_records(partition: &Partition, up_to: ReadUpTo) -> Result<BTreeMap<Offset, FoundRecord>, String> {
    let mut found = BTreeMap::new();
    let mut at = partition.offsets().log_start;
    let mut aborting = BTreeSet::new();
    loop {
        let read = partition.read(at, READ_BYTES, up_to, true).map_err(|error| format!("a read at {at}: {error}"))?;
        let mut coming = read.aborted;
        let next = partition
            .for_each_record(at, READ_BYTES, up_to, |record| {
                coming.retain(|entry| {
                    let begins = entry.first_offset <= record.offset;
                    if begins {
                        aborting.insert(entry.producer_id);
                    }
                    !begins
                });
                if record.is_control {
                    aborting.remove(&record.producer_id);
                }
                found.insert(
                    record.offset,
                    FoundRecord {
                        timestamp_ms: record.timestamp_ms,
                        key: record.key.map(<[u8]>::to_vec),
                        value: record.value.map(<[u8]>::to_vec),
                        is_committed: !(record.is_transactional && aborting.contains(&record.producer_id)),
                    },
                );
            })
            .map_err(|error| format!("records from {at} on: {error}"))?;
        if next == at {
            return Ok(found);
        }
        at = next;
    }
}
