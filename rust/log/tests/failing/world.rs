//! A whole life of a data directory over a disk that may fail, what it was told, and what must be found afterwards.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ottla_log::commit::{Host, HostSettings};
use ottla_log::directory::DataDirectory;
use ottla_log::env::faulty::{Faults, FaultyDisk};
use ottla_log::env::{Disk, Env, VirtualClock, read_file};
use ottla_log::metadata_log::MetadataLog;
use ottla_log::{CleanupPolicy, Durability, Identity, Partition, PartitionConfig, ReadError, StorageError};

use crate::life::{Life, T0, TOPICS, Told, key_of, records, send};

const DATA: &str = "/data";

pub struct World {
    pub disk: Arc<FaultyDisk>,
    pub faults: Arc<Faults>,
    clock: Arc<VirtualClock>,
    reserve_bytes: u64,
    peak: std::sync::atomic::AtomicU64,
}

impl World {
    pub fn new(reserve_bytes: u64) -> World {
        let disk = FaultyDisk::scratch();
        let faults = disk.faults();
        faults.track();
        World {
            disk: Arc::new(disk),
            faults,
            clock: Arc::new(VirtualClock::new(T0)),
            reserve_bytes,
            peak: std::sync::atomic::AtomicU64::new(0),
        }
    }

    pub fn used(&self) -> u64 {
        self.disk.used().unwrap()
    }

    /// The most that was used at the end of a step.
    pub fn peak(&self) -> u64 {
        self.peak.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Memory is gone; names stay.
    pub fn reboot(&self) {
        self.disk.lose_memory().unwrap();
    }

    pub fn remove(&self, path: &Path) {
        self.disk.remove_file(path).unwrap();
    }

    fn config(topic: &str) -> Arc<PartitionConfig> {
        Arc::new(PartitionConfig {
            segment_bytes: 500,
            index_interval_bytes: 150,
            file_delete_delay_ms: 0,
            durability: if topic == "o" { Durability::Os } else { Durability::Fsync },
            cleanup_policy: CleanupPolicy { delete: topic != "c", compact: topic == "c" },
            ..PartitionConfig::default()
        })
    }

    pub fn open(&self) -> Result<Life, String> {
        let env = Env::new(self.disk.clone() as Arc<dyn Disk>, self.clock.clone());
        let settings = HostSettings { commit_threads: 0, reserve_bytes: self.reserve_bytes, ..HostSettings::default() };
        let host = Host::with(env, settings);
        let words = |what: &'static str| move |error: StorageError| format!("{what}: {error}");
        let directory = DataDirectory::open(&host, Path::new(DATA), 1, Some("cluster"), &mut || [3; 16])
            .map_err(words("open directory"))?;
        let metadata = MetadataLog::open(&host, Path::new(DATA), 1, directory.was_clean())
            .map_err(|error| format!("open metadata: {error}"))?;
        let mut partitions = BTreeMap::new();
        for topic in TOPICS {
            let identity = Identity { topic: topic.into(), topic_id: [9; 16], partition: 0 };
            let (path, hint) = (directory.partition_path(topic, 0), directory.hint(topic, 0));
            let (partition, _) = Partition::open(&host, path, identity, World::config(topic), 0, hint)
                .map_err(words("open partition"))?;
            partitions.insert(topic, partition);
        }
        Ok(Life { host, directory, metadata, partitions, sequences: BTreeMap::new(), written: 0 })
    }

    /// From the first opening to a clean stop; what fails is noted, and life goes on.
    pub fn live(&self) -> Told {
        self.live_on(Told::default())
    }

    /// The same, after an earlier life.
    pub fn live_on(&self, mut told: Told) -> Told {
        told.directory_failed = false;
        told.stopped_cleanly = false;
        let mut life = match self.open() {
            Ok(life) => life,
            Err(error) => {
                told.refused.push(error);
                return told;
            }
        };
        self.work(&mut life, &mut told);
        told.directory_failed = life.directory.health().offline().is_some();
        self.stop(life, &mut told);
        told
    }

    pub fn live_and_crash(&self) -> Told {
        let mut told = Told::default();
        let mut life = self.open().unwrap();
        self.work(&mut life, &mut told);
        told.directory_failed = life.directory.health().offline().is_some();
        told
    }

    fn note_peak(&self) {
        self.peak.fetch_max(self.used(), std::sync::atomic::Ordering::SeqCst);
    }

    fn work(&self, life: &mut Life, told: &mut Told) {
        for round in 0..3 {
            self.metadata(life, told, &format!("change {round}"));
            for topic in TOPICS {
                for _ in 0..5 {
                    life.append(told, topic, "plain");
                    self.note_peak();
                }
            }
            life.transaction(told, "t");
            life.note(told, "set epoch", "t", |partition| partition.set_leader_epoch(round + 1));
            for topic in TOPICS {
                life.note(told, "flush", topic, Partition::flush);
                life.acknowledge(told, topic);
            }
            life.note(told, "index flush", "t", |partition| match partition.flush_indexes() {
                // Nobody is told: the log has it.
                Err(error) if error.is_no_room() => Ok(()),
                result => result,
            });
            self.delete_records(life, told, "t", i64::from(round) * 4);
            life.compact(told);
            if round == 1 {
                life.note(told, "roll", "u", Partition::roll);
                life.truncate(told, "o");
            }
            let partitions: Vec<Arc<Partition>> = life.partitions.values().cloned().collect();
            if let Err(error) = life.directory.checkpoint(&partitions) {
                told.refused.push(format!("checkpoint: {error}"));
            }
            for topic in TOPICS {
                life.note(told, "retention", topic, |partition| partition.enforce_retention(T0).map(|_| ()));
                life.partitions[topic].release_idle_files();
            }
            self.note_peak();
            self.clock.turn(2_000);
            life.host.retake_reserves();
        }
        // Its files go; what is left must not hurt.
        if life.directory.forget(&[("u", 0)]).is_ok() && life.partitions["u"].delete().is_ok() {
            told.deleted = true;
        } else {
            told.refused.push("delete".to_owned());
        }
        told.durable.remove("u");
        told.last_batch.remove("u");
        let _ = life.host.remove_due();
    }

    fn metadata(&self, life: &Life, told: &mut Told, value: &str) {
        match life.metadata.append(&[value.as_bytes()], T0) {
            Ok(_) if life.metadata.sync().is_ok() => told.metadata.push(value.to_owned()),
            Ok(_) => told.refused.push("sync metadata".to_owned()),
            Err(error) => told.refused.push(format!("metadata: {error}")),
        }
    }

    fn delete_records(&self, life: &Life, told: &mut Told, topic: &'static str, before: i64) {
        let partition = &life.partitions[topic];
        match partition.delete_records_before(before) {
            Ok(log_start) => match life.directory.checkpoint(std::slice::from_ref(partition)) {
                Ok(()) => {
                    told.log_starts.insert(topic.to_owned(), log_start);
                }
                Err(error) => told.refused.push(format!("checkpoint: {error}")),
            },
            // The append it waits for was refused.
            Err(ReadError::OffsetOutOfRange { .. }) => {}
            Err(error) => told.refused.push(format!("delete records: {error}")),
        }
    }

    fn stop(&self, life: Life, told: &mut Told) {
        let mut clean = true;
        for partition in life.partitions.values() {
            if let Err(error) = partition.close()
                && !matches!(error, StorageError::Closed { .. })
            {
                told.refused.push(format!("close: {error}"));
                clean = false;
            }
        }
        if let Err(error) = life.metadata.close() {
            told.refused.push(format!("close metadata: {error}"));
            clean = false;
        }
        if clean {
            let partitions: Vec<Arc<Partition>> = life.partitions.into_values().collect();
            match life.directory.close(&partitions) {
                Ok(()) => told.stopped_cleanly = true,
                Err(error) => told.refused.push(format!("close directory: {error}")),
            }
        }
    }

    /// Opened on a disk that is full: all can be read, the begin deleted, metadata changed, and a stop is clean.
    pub fn live_on_a_full_disk(&self, told: &Told, what: &str) -> Told {
        // A deleted topic has left some room; what the reserve gave back stays.
        let fill = || {
            if self.disk.exists(&Path::new(DATA).join(ottla_log::health::RESERVE)).unwrap() {
                self.disk.fill_up(0);
            }
        };
        fill();
        let mut told = told.clone();
        let mut life = self.open().unwrap_or_else(|error| panic!("{what}: {error}"));
        fill();
        self.find(&life, &told, what);
        let before = told.refused.len();
        life.append(&mut told, "t", &"x".repeat(200));
        assert!(told.refused.len() > before, "{what}: a record was taken on a full disk");
        told.refused.truncate(before);
        self.metadata(&life, &mut told, "on a full disk");
        let end = life.partitions["t"].offsets().high_watermark;
        self.delete_records(&life, &mut told, "t", end);
        self.stop(life, &mut told);
        assert_eq!(told.refused.len(), before, "{what}: {:?}", told.refused);
        told.durable.entry("t".to_owned()).or_default().retain(|offset, _| *offset >= end);
        told.last_batch.remove("t");
        told
    }

    /// After the disk works again: everything is found, twice, and life goes on.
    pub fn check(&self, told: &Told, what: &str) {
        let mut told = told.clone();
        for again in [false, true] {
            self.clock.turn(2_000);
            let mut life = self.open().unwrap_or_else(|error| panic!("{what}: again {again}: {error}"));
            self.find(&life, &told, what);
            for topic in TOPICS {
                let before = told.refused.len();
                life.go_on(&mut told, topic);
                assert_eq!(told.refused.len(), before, "{what}: {:?}", told.refused);
                life.partitions[topic].flush().unwrap();
                life.acknowledge(&mut told, topic);
            }
        }
    }

    fn find(&self, life: &Life, told: &Told, what: &str) {
        for (topic, partition) in &life.partitions {
            let offsets = partition.offsets();
            let found = records(partition);
            let tried = told.tried.get(*topic).cloned().unwrap_or_default();
            for (offset, value) in &found {
                let known = tried.get(offset).is_some_and(|values| values.contains(value));
                assert!(known, "{what}: {topic} has {value:?} at {offset}, tried {:?}", tried.get(offset));
            }
            let promised = told.durable.get(*topic).into_iter().flatten();
            for (offset, value) in promised.filter(|(offset, _)| **offset >= offsets.log_start) {
                if *topic == "c" {
                    // It, or a later one of its key.
                    let is_there = found.range(offset..).any(|(_, found)| key_of(found) == key_of(value));
                    assert!(is_there, "{what}: {value:?} at {offset} is gone, {found:?}");
                } else {
                    assert_eq!(found.get(offset), Some(value), "{what}: {topic} at {offset}, {offsets:?}");
                }
            }
            if let Some(log_start) = told.log_starts.get(*topic) {
                assert!(offsets.log_start >= *log_start, "{what}: {topic} begins at {}", offsets.log_start);
            }
            // A log start that was told, or one of retention: nothing else may hide what is durable.
            let first = told.durable.get(*topic).and_then(|durable| durable.keys().next().copied());
            let asked = told.tried.get(*topic).map_or(0, |_| 8.max(told.log_starts.get(*topic).copied().unwrap_or(0)));
            if let Some(first) = first {
                assert!(offsets.log_start <= asked.max(first), "{what}: {topic} begins at {}", offsets.log_start);
            }
            self.on_disk(partition, what);
            if let Some((sequence, offset, value)) = told.last_batch.get(*topic)
                && *offset >= offsets.log_start
                && !life.directory.health().is_short()
            {
                let repeated = send(partition, *sequence, value, false).unwrap();
                assert_eq!((repeated.0, repeated.1), (*offset, true), "{what}: {topic} took a batch twice");
            }
        }
        let (values, _) = life.metadata.read(life.metadata.partition().offsets().log_start, 1 << 20).unwrap();
        let values: Vec<String> = values.into_iter().map(|record| String::from_utf8(record.value).unwrap()).collect();
        for value in &told.metadata {
            assert!(values.contains(value), "{what}: metadata {value:?} is not in {values:?}");
        }
    }

    /// What is served is on the disk, byte for byte.
    fn on_disk(&self, partition: &Partition, what: &str) {
        for entry in self.disk.list(partition.path()).unwrap_or_default() {
            if entry.name.ends_with(".log") {
                let path = partition.path().join(&entry.name);
                let shown = read_file(self.disk.as_ref(), &path, u64::MAX).unwrap();
                let there = self.faults.on_disk(&path).unwrap_or_default();
                assert!(there == shown, "{what}: {} shows what is not on the disk", path.display());
            }
        }
    }
}
