//! What must be there.

use super::*;
use ottla_log::batch::{BatchHeader, header};
use ottla_log::error::AppendError;
use ottla_log::partition::{AppendOptions, Origin, ReadUpTo};

use super::found::{batches, bytes_of, found_records};
use crate::model::{Aborted, Batch, Fate, Kind};

impl World {
    /// Right after a start: what was promised survived, and the model learns how far the rest did.
    pub(super) fn check_found(&mut self, name: &str) -> Step<()> {
        let Some(topic) = self.topics.get_mut(name) else { return Ok(()) };
        let Some(partition) = &topic.partition else { return Ok(()) };
        let offsets = partition.offsets();
        let (start, end) = (offsets.log_start, offsets.log_end);
        let model = &mut topic.model;
        // A truncation may have left the end in a gap, which no file tells.
        if end < model.durable && !model.is_nothing_between(end, model.durable) {
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
        let is_edge = |batch: &Batch| batch.base == end || batch.next == end;
        let whole = end == model.log_end || start == end || model.batches.iter().any(is_edge);
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
        let checks = [
            Self::check_bytes,
            Self::check_records,
            Self::check_lookups,
            Self::check_epochs,
            Self::check_transactions,
            Self::check_committed,
            Self::check_producers,
        ];
        for check in checks {
            let result = check(self, name, &partition);
            self.unless_cut(result, name)?;
        }
        Ok(())
    }

    fn model_of(&self, name: &str) -> Result<&Model, String> {
        self.topics.get(name).map(|topic| &topic.model).ok_or_else(|| format!("no topic {name}"))
    }

    /// Every batch from the log start on is there, one behind the other: byte for byte, but for those of which compaction may have taken
    /// records; and nothing else.
    fn check_bytes(&self, name: &str, partition: &Partition) -> Result<(), String> {
        let model = self.model_of(name)?;
        let offsets = partition.offsets();
        if offsets.log_end != model.log_end {
            return Err(format!("the log ends at {}, not {}", offsets.log_end, model.log_end));
        }
        let mut at = offsets.log_start;
        for found in found_batches(partition)? {
            let (header, stored) = (found.header, &found.bytes);
            let known = model.batches.iter().find(|batch| batch.base == header.base_offset);
            let known = known.ok_or_else(|| format!("no batch begins at {}", header.base_offset))?;
            let is_in_place = known.next > at && model.is_nothing_between(at, known.base);
            if !is_in_place || header.next_offset() != known.next {
                return Err(format!("{}..{} instead of {at}", header.base_offset, header.next_offset()));
            }
            let is_whole = header.record_count as usize == known.records.len() && header.delete_horizon_ms().is_none();
            let may_differ = !is_whole
                && (known.horizon.earliest_ms.is_some()
                    || known.records.iter().any(|record| record.fate != Fate::Stays));
            if !may_differ && known.stored.as_ref().is_some_and(|expected| expected != stored) {
                return Err(format!("the batch at {at} has other bytes"));
            }
            if header.is_control() != known.is_marker() || header.crc != header::checksum(stored) {
                return Err(format!("the batch at {at} is another"));
            }
            at = header.next_offset();
        }
        if model.is_nothing_between(at, offsets.log_end) {
            Ok(())
        } else {
            Err(format!("nothing from {at} on of {offsets:?}"))
        }
    }

    /// Of every batch those records that compaction had to leave, none that it has taken, each as it was written.
    fn check_records(&self, name: &str, partition: &Partition) -> Result<(), String> {
        let model = self.model_of(name)?;
        let start = partition.offsets().log_start;
        let found = found_records(partition, ReadUpTo::LogEnd)?;
        for batch in &model.batches {
            for (offset, record) in batch.numbered().filter(|(offset, _)| *offset >= start) {
                match (found.get(&offset), record.fate) {
                    (None, Fate::Stays) => return Err(format!("the record at {offset} is gone: {record:?}")),
                    (Some(_), Fate::Gone) => return Err(format!("the record at {offset} is back: {record:?}")),
                    (Some(found), _) if !batch.is_marker() => {
                        let is_same = found.timestamp_ms == record.timestamp_ms
                            && (&found.key, &found.value) == (&record.key, &record.value);
                        if !is_same {
                            return Err(format!("at {offset} {found:?} instead of {record:?}"));
                        }
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Indexes lead to the batch that holds an offset, or the one behind the gap it lies in, and to the first record of a time.
    fn check_lookups(&self, name: &str, partition: &Partition) -> Result<(), String> {
        let model = self.model_of(name)?;
        let offsets = partition.offsets();
        let found = found_batches(partition)?;
        for batch in model.batches.iter().filter(|batch| batch.base >= offsets.log_start) {
            for offset in [batch.base, batch.next - 1] {
                let read = partition.read(offset, 100, ReadUpTo::LogEnd, true).map_err(|error| error.to_string())?;
                let holding = found.iter().find(|found| found.header.next_offset() > offset);
                let expected = holding.map_or(offset, |found| found.header.base_offset);
                if read.first_offset != expected || read.slice.is_some() != holding.is_some() {
                    return Err(format!("a read at {offset} begins at {}, not {expected}", read.first_offset));
                }
            }
            // Markers have the time of the clock, which the model does not follow.
            if model.batches.iter().any(Batch::is_marker) {
                continue;
            }
            let timestamp_ms = batch.records[0].timestamp_ms;
            // What is not durable is not looked up.
            let expected = model.at_time(offsets.log_start, offsets.high_watermark, timestamp_ms);
            let found = partition.lookup_timestamp(timestamp_ms).map_err(|error| error.to_string())?;
            if offsets.high_watermark == offsets.log_end && !expected.contains(&found.map(|found| found.offset)) {
                return Err(format!("the first record from {timestamp_ms} on is one of {expected:?}, not {found:?}"));
            }
        }
        Ok(())
    }

    /// The leader epoch of every batch is known, and lasts up to the first batch of the next one.
    fn check_epochs(&self, _: &str, partition: &Partition) -> Result<(), String> {
        let found = found_batches(partition)?;
        for (place, batch) in found.iter().enumerate() {
            let (epoch, next) = (batch.header.leader_epoch, batch.header.next_offset());
            let later = found[place..].iter().map(|found| &found.header).find(|later| later.leader_epoch > epoch);
            let last = later.map_or(partition.offsets().log_end, |later| later.base_offset);
            let end = partition.end_offset_for_epoch(epoch);
            if end.epoch != epoch || !(next..=last).contains(&end.end_offset) {
                return Err(format!("leader epoch {epoch} ends between {next} and {last}, not as {end:?} says"));
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
        let found = found_batches(partition)?;
        let first_there = |of: &Aborted, range: std::ops::Range<i64>| {
            let is_part = |header: &&BatchHeader| {
                header.record_count > 0
                    && header.is_transactional()
                    && header.producer_id == of.producer
                    && (of.first..of.marker).contains(&header.base_offset)
                    && range.contains(&header.base_offset)
            };
            found.iter().map(|found| &found.header).find(is_part).map(|header| header.base_offset)
        };
        let mut at = start;
        let is_stable_at =
            |at, header: &BatchHeader| header.next_offset() > at && header.base_offset < offsets.last_stable;
        while at < offsets.last_stable && found.iter().any(|found| is_stable_at(at, &found.header)) {
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
            for needed in aborted.iter().filter(|known| known.first >= start) {
                // Where compaction took its first batches it may be said to begin later, and where it took all it need not be named.
                let Some(first) = first_there(needed, at..end) else { continue };
                let is_named = read.aborted.iter().any(|named| {
                    named.producer_id == needed.producer && (needed.first..=first).contains(&named.first_offset)
                });
                if !is_named {
                    return Err(format!("a read of {at}..{end} does not say that {needed:?} was aborted"));
                }
            }
            at = end;
        }
        Ok(())
    }

    /// What a read_committed client makes of it, by the aborted list: every record that was committed, and none of an aborted transaction.
    fn check_committed(&self, name: &str, partition: &Partition) -> Result<(), String> {
        let model = self.model_of(name)?;
        let offsets = partition.offsets();
        let seen = found_records(partition, ReadUpTo::LastStable)?;
        let (_, aborted) = model.transactions();
        for batch in model.batches.iter().filter(|batch| !batch.is_marker() && batch.next <= offsets.last_stable) {
            let of = aborted.iter().find(|known| known.has(batch));
            // Of a transaction whose begin was deleted the engine may not know that it was aborted.
            if of.is_some_and(|known| known.first < offsets.log_start) {
                continue;
            }
            for (offset, record) in batch.numbered().filter(|(offset, _)| *offset >= offsets.log_start) {
                let is_seen = seen.get(&offset).is_some_and(|found| found.is_committed);
                if is_seen && of.is_some() {
                    return Err(format!("the record at {offset} is of {of:?} and is read as committed"));
                }
                if !is_seen && of.is_none() && record.fate == Fate::Stays {
                    return Err(format!("the record at {offset} was committed and is not read: {record:?}"));
                }
            }
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
