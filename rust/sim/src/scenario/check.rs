//! What must be there.

use super::*;
use ottla_log::batch::BatchHeader;
use ottla_log::env::read_exact_at;
use ottla_log::error::AppendError;
use ottla_log::partition::{AppendOptions, Origin, ReadUpTo, Slice};

use crate::model::Kind;

fn bytes_of(slice: &Slice) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; slice.length as usize];
    read_exact_at(slice.file.as_ref(), &mut bytes, slice.position).map_err(|error| format!("cannot read: {error}"))?;
    Ok(bytes)
}

/// The batches in a slice; the last may be cut.
fn batches(bytes: &[u8]) -> Vec<(BatchHeader, &[u8])> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(header) = bytes.get(at..).and_then(BatchHeader::read) {
        let Some(batch) = header.total_bytes().and_then(|total| bytes.get(at..at + total as usize)) else { break };
        found.push((header, batch));
        at += batch.len();
    }
    found
}

impl World {
    /// Right after a start: what was promised survived, and the model learns how far the rest did.
    pub(super) fn check_found(&mut self, name: &str) -> Step<()> {
        let Some(topic) = self.topics.get_mut(name) else { return Ok(()) };
        let Some(partition) = &topic.partition else { return Ok(()) };
        let offsets = partition.offsets();
        let (start, end) = (offsets.log_start, offsets.log_end);
        let model = &mut topic.model;
        if end < model.durable {
            return Err(Failed::Broken(format!("{name} ends at {end}, durable was {}", model.durable)));
        }
        if end > model.log_end.max(model.start_max) {
            return Err(Failed::Broken(format!("{name} ends at {end}, only {} was appended", model.log_end)));
        }
        // A log that never reached the disk begins anew.
        let is_new = end == 0 && model.durable == 0;
        if (start < model.start_promised && !is_new) || start > model.start_max {
            let (promised, max) = (model.start_promised, model.start_max);
            return Err(Failed::Broken(format!("{name} starts at {start}, not within {promised}..={max}")));
        }
        let whole = end == model.log_end || start == end || model.batches.iter().any(|batch| batch.base == end);
        if !whole {
            return Err(Failed::Broken(format!("{name} ends at {end}, inside a batch")));
        }
        if is_new {
            model.start_promised = 0;
        }
        model.settle(start, end);
        if offsets.durable != end || offsets.high_watermark != end {
            return Err(Failed::Broken(format!("{offsets:?} after opening")));
        }
        Ok(())
    }

    /// Everything that can be seen of a partition, beside the model.
    pub(super) fn check_all(&mut self, name: &str) -> Step<()> {
        let partition = self.partition(name);
        let checks = [Self::check_bytes, Self::check_lookups, Self::check_transactions, Self::check_producers];
        for check in checks {
            let result = check(self, name, &partition);
            self.unless_cut(result, name)?;
        }
        Ok(())
    }

    fn model_of(&self, name: &str) -> Result<&Model, String> {
        self.topics.get(name).map(|topic| &topic.model).ok_or_else(|| format!("no topic {name}"))
    }

    /// Every batch from the log start on is there byte for byte, one behind the other, and nothing else.
    fn check_bytes(&self, name: &str, partition: &Partition) -> Result<(), String> {
        let model = self.model_of(name)?;
        let offsets = partition.offsets();
        if offsets.log_end != model.log_end {
            return Err(format!("the log ends at {}, not {}", offsets.log_end, model.log_end));
        }
        let mut at = offsets.log_start;
        while at < offsets.log_end {
            let read = partition.read(at, 2000, ReadUpTo::LogEnd, true).map_err(|error| format!("at {at}: {error}"))?;
            let bytes = bytes_of(&read.slice.ok_or_else(|| format!("nothing at {at} of {offsets:?}"))?)?;
            for (header, stored) in batches(&bytes) {
                let known = model.batches.iter().find(|batch| batch.base == header.base_offset);
                let known = known.ok_or_else(|| format!("no batch begins at {}", header.base_offset))?;
                if !(known.base..known.next).contains(&at) || header.next_offset() != known.next {
                    return Err(format!("{}..{} instead of {at}", header.base_offset, header.next_offset()));
                }
                if known.stored.as_deref().is_some_and(|expected| expected != stored) {
                    return Err(format!("the batch at {at} has other bytes"));
                }
                let is_marker = matches!(known.kind, Kind::Commit | Kind::Abort);
                if header.is_control() != is_marker || header.crc != ottla_log::batch::header::checksum(stored) {
                    return Err(format!("the batch at {at} is another"));
                }
                at = header.next_offset();
            }
        }
        Ok(())
    }

    /// Indexes lead to the batch that holds an offset, and to the first record of a time.
    fn check_lookups(&self, name: &str, partition: &Partition) -> Result<(), String> {
        let model = self.model_of(name)?;
        let offsets = partition.offsets();
        for batch in model.batches.iter().filter(|batch| batch.base >= offsets.log_start) {
            for offset in [batch.base, batch.next - 1] {
                let read = partition.read(offset, 100, ReadUpTo::LogEnd, true).map_err(|error| error.to_string())?;
                if read.first_offset != batch.base {
                    return Err(format!("a read at {offset} begins at {}, not {}", read.first_offset, batch.base));
                }
            }
            // Markers have the time of the clock, which the model does not follow.
            if model.batches.iter().any(|batch| matches!(batch.kind, Kind::Commit | Kind::Abort)) {
                continue;
            }
            let timestamp_ms = batch.timestamps_ms[0];
            // What is not durable is not looked up.
            let expected = model.at_time(offsets.log_start, timestamp_ms).filter(|at| *at < offsets.high_watermark);
            let found = partition.lookup_timestamp(timestamp_ms).map_err(|error| error.to_string())?;
            if offsets.high_watermark == offsets.log_end && found.map(|found| found.offset) != expected {
                return Err(format!("the first record from {timestamp_ms} on is {expected:?}, not {found:?}"));
            }
        }
        Ok(())
    }

    /// read_committed ends before the first open transaction and names the aborted ones. Of a transaction whose begin was deleted the
    /// engine may know more or less.
    fn check_transactions(&self, name: &str, partition: &Partition) -> Result<(), String> {
        let model = self.model_of(name)?;
        let offsets = partition.offsets();
        if offsets.high_watermark < offsets.log_end {
            return Ok(());
        }
        let start = offsets.log_start;
        let (open, aborted) = model.transactions();
        let (mut low, mut high) = (offsets.log_end, offsets.log_end);
        for batches in open.values() {
            low = low.min(batches[0].max(start));
            high = high.min(batches.iter().copied().find(|base| *base >= start).unwrap_or(high));
        }
        if !(low..=high).contains(&offsets.last_stable) {
            return Err(format!("last stable offset {}, not within {low}..={high}", offsets.last_stable));
        }
        let mut at = start;
        while at < offsets.last_stable {
            let read = partition.read(at, 500, ReadUpTo::LastStable, true).map_err(|error| error.to_string())?;
            let bytes = bytes_of(&read.slice.ok_or_else(|| format!("nothing stable at {at} of {offsets:?}"))?)?;
            let end = batches(&bytes).last().map_or(at, |(header, _)| header.next_offset());
            for named in &read.aborted {
                let known = aborted.iter().any(|known| {
                    known.producer == named.producer_id && (known.first..=known.marker).contains(&named.first_offset)
                });
                if !known {
                    return Err(format!("{named:?} was not aborted"));
                }
            }
            for needed in aborted.iter().filter(|known| known.first >= start && known.first < end && known.marker >= at)
            {
                let is_named = read
                    .aborted
                    .iter()
                    .any(|named| (named.producer_id, named.first_offset) == (needed.producer, needed.first));
                if !is_named {
                    return Err(format!("a read of {at}..{end} does not say that {needed:?} was aborted"));
                }
            }
            at = end;
        }
        Ok(())
    }

    /// A producer's last batch is known; one out of order is refused. Producers whose batches were deleted may be forgotten.
    fn check_producers(&self, name: &str, partition: &Partition) -> Result<(), String> {
        let model = self.model_of(name)?;
        let start = partition.offsets().log_start;
        for (producer, batch) in model.last_batches() {
            if batch.base < start {
                continue;
            }
            let mut again = batch.sent.clone();
            let result = partition.append(&mut again, Origin::Client, AppendOptions::default());
            match result {
                Ok(found) if found.duplicate && found.base_offset == batch.base => {}
                other => return Err(format!("the batch of {producer} at {} sent again: {other:?}", batch.base)),
            }
            if batch.kind == Kind::Transactional {
                continue;
            }
            let mut ahead = batch.sent.clone();
            let Some(mut header) = BatchHeader::read(&ahead) else { continue };
            header.base_sequence += 100;
            header.write(&mut ahead);
            ottla_log::batch::header::seal(&mut ahead);
            match partition.append(&mut ahead, Origin::Client, AppendOptions::default()) {
                Err(AppendError::OutOfOrderSequence(_)) => {}
                other => return Err(format!("a batch of {producer} far ahead: {other:?}")),
            }
        }
        Ok(())
    }

    pub(super) fn read_metadata(&self, log: &MetadataLog) -> Result<Vec<String>, String> {
        let snapshot = log.latest_snapshot().map_err(|error| error.to_string())?;
        let mut at = snapshot.as_ref().map_or(0, |snapshot| snapshot.end_offset);
        let mut values: Vec<Vec<u8>> = snapshot.map(|snapshot| snapshot.values).unwrap_or_default();
        loop {
            let (records, next) = log.read(at, 1 << 20).map_err(|error| error.to_string())?;
            values.extend(records.into_iter().map(|record| record.value));
            if next == at {
                break;
            }
            at = next;
        }
        Ok(values.into_iter().map(|value| String::from_utf8_lossy(&value).into_owned()).collect())
    }

    /// Every change that was synced, and perhaps the one after, whole.
    pub(super) fn check_metadata(&mut self, found: &[String]) -> Result<(), String> {
        let in_order = found.iter().enumerate().all(|(number, text)| *text == format!("change {number}"));
        let Metadata { appended, promised } = self.metadata;
        if !in_order || (found.len() != promised && found.len() != appended) {
            return Err(format!("metadata: {found:?}, {promised} promised of {appended}"));
        }
        self.metadata = Metadata { appended: found.len(), promised: found.len() };
        Ok(())
    }
}
