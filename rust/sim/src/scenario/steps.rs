//! What is done.

use super::*;
use ottla_log::batch::builder::{BatchBuilder, BatchShape};
use ottla_log::batch::{Marker, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NewRecord, header};
use ottla_log::error::AppendError;
use ottla_log::partition::{AppendOptions, Origin};

use crate::model::{Batch, Fate, Horizon, Kind, Record};

const TOPICS: [&str; 2] = ["a", "b"];

impl World {
    pub(super) fn step(&mut self) -> Step<()> {
        let name = TOPICS[self.random.below(TOPICS.len())];
        if !self.topics.contains_key(name) {
            self.create(name)?;
        }
        match self.random.below(46) {
            0..12 => self.append(name, false),
            12..19 => self.append(name, true),
            19..22 => self.end_transaction(name),
            22 | 23 => self.plain(name, "roll", |partition| partition.roll()),
            24 | 25 => self.flush(name),
            26 => self.plain(name, "index flush", |partition| partition.flush_indexes()),
            27 => {
                let partition = self.partition(name);
                partition.release_idle_files();
                partition.release_idle_files();
                Ok(())
            }
            28 => self.checkpoint(),
            29 => self.retention(name),
            30 => self.delete_records(name),
            31 => self.truncate(name),
            32 => self.new_epoch(name),
            33 => self.delete_topic(name),
            34 => self.change_metadata(),
            35 => self.snapshot_metadata(),
            36 => self.stop(),
            37 => {
                self.outcome.kills += 1;
                self.note("the process is killed".into());
                self.die();
                self.start()?;
                Ok(())
            }
            38 | 39 => {
                self.clock.turn(2000);
                self.host.remove_due();
                Ok(())
            }
            40..45 => self.compact(name),
            _ => Err(Failed::Power),
        }?;
        let is_open = self.topics.get(name).is_some_and(|topic| topic.partition.is_some());
        if is_open && self.random.one_in(4) { self.check_all(name) } else { Ok(()) }
    }

    pub(super) fn partition(&self, name: &str) -> Arc<Partition> {
        let topic = self.topics.get(name).and_then(|topic| topic.partition.clone());
        // `step` opens what it works on.
        topic.unwrap_or_else(|| unreachable!("{name} is not open"))
    }

    pub(super) fn model(&mut self, name: &str) -> &mut Model {
        self.topics.get_mut(name).map(|topic| &mut topic.model).unwrap_or_else(|| unreachable!("no topic {name}"))
    }

    fn create(&mut self, name: &'static str) -> Step<()> {
        self.topics_made += 1;
        let topic = Topic {
            id: [100 + self.topics_made; 16],
            config: self.config(),
            epoch: 0,
            model: Model::default(),
            partition: None,
        };
        self.note(format!("create {name}, {:?}", topic.config.durability));
        self.topics.insert(name, topic);
        self.open_topic(name)
    }

    /// What the engine says is durable is a promise, also when the operation failed.
    pub(super) fn note_durable(&mut self, name: &str) {
        let durable = self.partition(name).offsets().durable;
        let model = self.model(name);
        model.durable = model.durable.max(durable);
    }

    fn append(&mut self, name: &str, transactional: bool) -> Step<()> {
        let producer = if transactional { 10 + self.random.below(3) as i64 } else { self.random.below(3) as i64 };
        let id = if producer == 0 { NO_PRODUCER_ID } else { producer };
        let partition = self.partition(name);
        let sequence = if id < 0 { NO_SEQUENCE } else { self.model(name).next_sequence(id) };
        let count = 1 + self.random.below(4);
        let codec = self.random.below(CODECS.len());
        let mut builder = BatchBuilder::new(BatchShape {
            compression: CODECS[codec],
            level: -1,
            attributes: if transactional { header::TRANSACTIONAL_BIT } else { 0 },
            producer_id: id,
            producer_epoch: if id < 0 { NO_PRODUCER_EPOCH } else { 0 },
            base_sequence: sequence,
        });
        let mut records = Vec::new();
        for _ in 0..count {
            self.written += 1;
            let timestamp_ms = T0 + 3 * self.written as i64 - self.random.below(20) as i64;
            let length = [1, 40, 150, 350][self.random.below(4)];
            // Not to be compressed away, and different everywhere.
            let value: Vec<u8> = (0..length).map(|_| self.random.draw() as u8).collect();
            let has_key = self.topics.get(name).is_some_and(|topic| topic.config.cleanup_policy.compact);
            let key = has_key.then(|| format!("key-{}", self.random.below(6)).into_bytes());
            let value = (!has_key || !self.random.one_in(5)).then_some(value);
            builder.push(&NewRecord { timestamp_ms, key: key.as_deref(), value: value.as_deref(), headers: &[] });
            records.push(Record { timestamp_ms, key, value, fate: Fate::Stays });
        }
        let Some(mut frame) = builder.finish() else { return Ok(()) };
        let sent = frame.clone();
        let epoch = partition.leader_epoch();
        let base = self.model(name).log_end;
        let mut stored = frame.clone();
        header::place(&mut stored, base, epoch);
        self.note(format!("append to {name} at {base}: {count} of {id}, {:?}, {} bytes", CODECS[codec], frame.len()));
        let guard = transactional.then(|| partition.start_verification(id, 0, sequence)).flatten();
        let options = AppendOptions { guard, ..AppendOptions::default() };
        let result = partition.append(&mut frame, Origin::Client, options);
        // Of a producer whose last batch was deleted only a marker may be known, and that asks for sequence 0, as in Kafka.
        let start = partition.offsets().log_start;
        let is_forgotten = self.model(name).last_batches().get(&id).is_some_and(|last| last.base < start);
        let kind = if transactional { Kind::Transactional } else { Kind::Plain };
        let next = base + count as i64;
        // Whether it got there is open until the next start.
        let stored = Some(stored);
        let horizon = Horizon::default();
        self.model(name).push(Batch { base, next, stored, sent, records, producer: id, sequence, kind, horizon });
        self.outcome.batches += 1;
        self.note_durable(name);
        if let (Err(AppendError::OutOfOrderSequence(what)), true) = (&result, is_forgotten)
            && what.ends_with("-1 (current end sequence number)")
        {
            self.model(name).pop();
            return Ok(());
        }
        let appended = self.unless_cut(result, "append")?;
        if (appended.base_offset, appended.last_offset, appended.duplicate) != (base, next - 1, false) {
            return Err(Failed::Broken(format!("{appended:?} instead of {base}..{next}")));
        }
        Ok(())
    }

    fn end_transaction(&mut self, name: &str) -> Step<()> {
        let producer = 10 + self.random.below(3) as i64;
        self.end_transaction_of(name, producer)
    }

    pub(super) fn end_transaction_of(&mut self, name: &str, producer: i64) -> Step<()> {
        let kind = if self.random.flip() { Kind::Commit } else { Kind::Abort };
        let marker = if kind == Kind::Commit { Marker::Commit } else { Marker::Abort };
        let base = self.model(name).log_end;
        self.note(format!("{kind:?} of {producer} in {name} at {base}"));
        let result = self.partition(name).append_marker(producer, 0, marker, 0, 0);
        let records = vec![Record { timestamp_ms: T0, key: None, value: None, fate: Fate::Stays }];
        let (next, stored, sent, sequence, horizon) = (base + 1, None, Vec::new(), NO_SEQUENCE, Horizon::default());
        self.model(name).push(Batch { base, next, stored, sent, records, producer, sequence, kind, horizon });
        self.note_durable(name);
        self.unless_cut(result, "marker")?;
        Ok(())
    }

    pub(super) fn plain<T, E: std::fmt::Display>(
        &mut self,
        name: &str,
        what: &str,
        work: impl FnOnce(&Partition) -> Result<T, E>,
    ) -> Step<()> {
        self.note(format!("{what} of {name}"));
        let result = work(&self.partition(name));
        self.note_durable(name);
        self.unless_cut(result, what).map(|_| ())
    }

    fn flush(&mut self, name: &str) -> Step<()> {
        self.plain(name, "flush", |partition| partition.flush())?;
        let end = self.model(name).log_end;
        let durable = self.partition(name).offsets().durable;
        if durable == end {
            Ok(())
        } else {
            Err(Failed::Broken(format!("durable up to {durable} of {end} after a flush")))
        }
    }

    fn checkpoint(&mut self) -> Step<()> {
        self.note("checkpoint".into());
        let partitions: Vec<Arc<Partition>> =
            self.topics.values().filter_map(|topic| topic.partition.clone()).collect();
        let Some(directory) = &self.directory else { return Ok(()) };
        self.unless_cut(directory.checkpoint(&partitions), "checkpoint")?;
        // The directory of a partition that was never written to is not there: its start says nothing.
        for topic in self.topics.values_mut() {
            if let Some(partition) = &topic.partition
                && directory_exists(&self.disk, partition.path())
            {
                topic.model.start_promised = partition.offsets().log_start;
            }
        }
        Ok(())
    }

    fn retention(&mut self, name: &str) -> Step<()> {
        let now_ms = T0;
        let partition = self.partition(name);
        // At most everything goes.
        let before = self.model(name).start_max;
        let end = self.model(name).log_end;
        self.model(name).start_max = end;
        self.plain(name, "retention", |partition| partition.enforce_retention(now_ms))?;
        let start = partition.offsets().log_start;
        self.model(name).start_max = start.max(before);
        Ok(())
    }

    /// As the broker serves it: answered once the new start is written down.
    fn delete_records(&mut self, name: &str) -> Step<()> {
        let offsets = self.partition(name).offsets();
        let room = (offsets.high_watermark - offsets.log_start) as usize;
        let target = offsets.log_start + self.random.below(room + 1) as i64;
        let model = self.model(name);
        model.start_max = model.start_max.max(target);
        self.plain(name, &format!("delete records before {target}"), |partition| {
            partition.delete_records_before(target)
        })?;
        self.checkpoint()
    }

    fn truncate(&mut self, name: &str) -> Step<()> {
        let offsets = self.partition(name).offsets();
        let room = (offsets.log_end - offsets.log_start).min(15) as usize;
        // What is compacted was committed, and what was committed is not truncated.
        let target = (offsets.log_end - self.random.below(room + 1) as i64).max(self.model(name).compacted_by);
        if target >= offsets.log_end {
            return Ok(());
        }
        // Batches are whole; where compaction left a gap the log ends in it.
        let partition = self.partition(name);
        let found = self.unless_cut(found_batches(&partition), "reading what is to be cut")?;
        let reaches_past = found.iter().find(|found| found.header.next_offset() > target);
        let end = reaches_past.map_or(target, |found| found.header.base_offset.min(target)).max(offsets.log_start);
        self.note(format!("truncate {name} to {target}: {end}"));
        let model = self.model(name);
        model.durable = model.durable.min(end);
        let Some(directory) = &self.directory else { return Ok(()) };
        let result = directory.truncate(&self.partition(name), target);
        self.unless_cut(result, "truncate")?;
        self.model(name).cut(end);
        self.note_durable(name);
        Ok(())
    }

    fn new_epoch(&mut self, name: &str) -> Step<()> {
        let Some(topic) = self.topics.get_mut(name) else { return Ok(()) };
        topic.epoch += 1;
        let epoch = topic.epoch;
        self.plain(name, &format!("epoch {epoch}"), |partition| partition.set_leader_epoch(epoch))
    }

    /// As the engine does it once the metadata says that the topic is gone.
    fn delete_topic(&mut self, name: &str) -> Step<()> {
        self.note(format!("delete {name}"));
        let Some(topic) = self.topics.remove(name) else { return Ok(()) };
        let Some(directory) = &self.directory else { return Ok(()) };
        self.unless_cut(directory.forget(&[(name, 0)]), "forget")?;
        if let Some(partition) = &topic.partition {
            self.unless_cut(partition.delete(), "delete")?;
        }
        self.unless_cut(directory.forget(&[(name, 0)]), "forget")
    }

    fn change_metadata(&mut self) -> Step<()> {
        let Some(log) = &self.metadata_log else { return Ok(()) };
        let texts: Vec<String> = (0..1 + self.written as usize % 3)
            .map(|more| format!("change {}", self.metadata.appended + more))
            .collect();
        let values: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        self.metadata.appended += values.len();
        let result = log.append(&values, T0).map(|_| ());
        self.unless_cut(result, "metadata append")?;
        self.unless_cut(log.sync(), "metadata sync")?;
        self.metadata.promised = self.metadata.appended;
        self.note(format!("{} changes of the metadata", self.metadata.promised));
        Ok(())
    }

    fn snapshot_metadata(&mut self) -> Step<()> {
        let Some(log) = &self.metadata_log else { return Ok(()) };
        let texts: Vec<String> = (0..self.metadata.promised).map(|number| format!("change {number}")).collect();
        let values: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let end = log.partition().offsets().high_watermark;
        let result = log.write_snapshot(end, log.leader_epoch(), &values, T0);
        self.trace.push(format!("        snapshot of the metadata at {end}"));
        self.unless_cut(result, "metadata snapshot")
    }

    fn stop(&mut self) -> Step<()> {
        self.note("clean stop".into());
        self.outcome.clean_stops += 1;
        let mut partitions: Vec<Arc<Partition>> =
            self.topics.values().filter_map(|topic| topic.partition.clone()).collect();
        let names: Vec<&'static str> = self.topics.keys().copied().collect();
        for name in names {
            self.plain(name, "close", |partition| partition.close())?;
        }
        if let Some(log) = &self.metadata_log {
            self.unless_cut(log.close(), "closing the metadata log")?;
            partitions.push(log.partition().clone());
        }
        if let Some(directory) = self.directory.take() {
            let starts: Vec<_> = self.topics.iter().map(|(name, topic)| (*name, topic.partition.clone())).collect();
            let closed = directory.close(&partitions);
            self.unless_cut(closed, "closing the directory")?;
            for (name, partition) in starts {
                if let Some(partition) = partition.filter(|partition| directory_exists(&self.disk, partition.path())) {
                    self.model(name).start_promised = partition.offsets().log_start;
                }
            }
        }
        self.die();
        if self.random.flip() {
            self.outcome.cuts += 1;
            self.note("the power goes while everything is closed".into());
            self.disk.power_on();
        }
        self.start()?;
        Ok(())
    }
}
