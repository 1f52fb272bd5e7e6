//! `_core.Engine`: a data directory and what is published of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use ottla_log::cleaner::CleanerConfig;
use ottla_log::commit::HostSettings;
use ottla_log::env::{Clock, Env, FastPath, VirtualClock as NativeVirtualClock};
use ottla_log::maintenance::MaintenanceConfig;
use ottla_log::{AppendError, StorageError};
use ottla_protocol::native::api_versions::{Features, FinalizedFeature, SupportedFeature};
use ottla_server::coordination::Ending;
use ottla_server::engine::{Engine as NativeEngine, EngineOptions, partition_config};
use ottla_server::image::{Broker, PartitionUpdate, TopicId, TopicUpdate, Update};
use ottla_server::readers::Readers;
use ottla_server::upkeep::DirectoryUsage;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict};

use crate::bridge::{Bridge, Queue};
use crate::coordination::{MarkersWritten, ProducerTuple, marker, producers_of};
use crate::errors;
use crate::gil::released;
use crate::journal::{Journal, MetadataLog};

/// Threads that sync segment files; those of different partitions are synced at the same time.
const COMMIT_THREADS: usize = 4;
/// Where partitions lie in the in-memory file system.
const MEMORY_DIRECTORY: &str = "/ottla";

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct VirtualClock {
    clock: Arc<NativeVirtualClock>,
}

impl VirtualClock {
    pub fn native(&self) -> &Arc<NativeVirtualClock> {
        &self.clock
    }
}

#[pymethods]
impl VirtualClock {
    #[new]
    fn new(now_ms: i64) -> Self {
        Self { clock: Arc::new(NativeVirtualClock::new(now_ms)) }
    }

    fn turn(&self, py: Python<'_>, by_ms: i64) {
        released(py, || self.clock.turn(by_ms));
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct Engine {
    native: Arc<NativeEngine>,
    queue: Arc<Queue>,
}

impl Engine {
    pub fn native(&self) -> &Arc<NativeEngine> {
        &self.native
    }
}

/// What opening and closing can meet, as Python's classes.
pub fn storage_error(error: &StorageError) -> PyErr {
    match error {
        StorageError::DirectoryInUse { .. } => errors::in_use(error),
        StorageError::NewerFormat { .. } => errors::newer_format(error),
        _ => errors::storage(error),
    }
}

/// What appending can meet. A coordinator's batch that is refused is a storage failure to its caller, which built the batch; but for what
/// its producer is refused for.
pub fn append_error(error: &AppendError) -> PyErr {
    match error {
        AppendError::Storage(error) => storage_error(error),
        AppendError::InvalidProducerEpoch(_)
        | AppendError::InvalidTxnState(_)
        | AppendError::TransactionCoordinatorFenced(_) => errors::request(error.code(), error),
        other => errors::storage(other),
    }
}

pub fn topic_id(bytes: &[u8]) -> PyResult<TopicId> {
    bytes.try_into().map_err(|_| PyValueError::new_err(format!("a topic id has 16 bytes, this one {}", bytes.len())))
}

/// A setting's value as text, in Kafka's form.
fn text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if value.is_instance_of::<PyBool>() {
        return Ok(if value.extract()? { "true".to_owned() } else { "false".to_owned() });
    }
    if let Ok(list) = value.extract::<Vec<String>>() {
        return Ok(list.join(","));
    }
    Ok(value.str()?.to_string())
}

fn milliseconds(settings: &HashMap<String, String>, name: &str, default: i64) -> PyResult<i64> {
    settings.get(name).map_or(Ok(default), |value| {
        value.parse().map_err(|_| PyValueError::new_err(format!("{name} = {value:?} is not a number of milliseconds")))
    })
}

fn bytes(settings: &HashMap<String, String>, name: &str, default: u64) -> PyResult<u64> {
    settings.get(name).map_or(Ok(default), |value| {
        value.parse().map_err(|_| PyValueError::new_err(format!("{name} = {value:?} is not a number of bytes")))
    })
}

fn maintenance(settings: &HashMap<String, String>) -> PyResult<MaintenanceConfig> {
    let default = MaintenanceConfig::default();
    Ok(MaintenanceConfig {
        retention_interval_ms: milliseconds(
            settings,
            "log.retention.check.interval.ms",
            default.retention_interval_ms,
        )?,
        flush_interval_ms: milliseconds(settings, "ottla.flush.interval.ms", default.flush_interval_ms)?,
        checkpoint_interval_ms: milliseconds(
            settings,
            "log.flush.offset.checkpoint.interval.ms",
            default.checkpoint_interval_ms,
        )?,
        producer_expiry_interval_ms: milliseconds(
            settings,
            "producer.id.expiration.check.interval.ms",
            default.producer_expiry_interval_ms,
        )?,
        ..default
    })
}

fn host(settings: &HashMap<String, String>) -> PyResult<HostSettings> {
    let default = HostSettings::default();
    Ok(HostSettings {
        commit_threads: COMMIT_THREADS,
        recovery_threads: number(settings, "num.recovery.threads.per.data.dir", default.recovery_threads)?,
        reserve_bytes: bytes(settings, "ottla.disk.reserve.bytes", default.reserve_bytes)?,
        flush_start_bytes: bytes(settings, "ottla.flush.start.bytes", default.flush_start_bytes)?,
        flush_wait_bytes: bytes(settings, "ottla.flush.wait.bytes", default.flush_wait_bytes)?,
    })
}

fn number<T: std::str::FromStr>(settings: &HashMap<String, String>, name: &str, default: T) -> PyResult<T> {
    settings.get(name).map_or(Ok(default), |value| {
        value.parse().map_err(|_| PyValueError::new_err(format!("{name} = {value:?} is not a number in range")))
    })
}

/// The kernel's short cuts that may be used.
fn fast_paths(settings: &HashMap<String, String>) -> PyResult<Vec<FastPath>> {
    let Some(names) = settings.get("ottla.fast.paths") else { return Ok(FastPath::ALL.to_vec()) };
    let known = |name: &str| {
        name.parse::<FastPath>().map_err(|error| PyValueError::new_err(format!("ottla.fast.paths: {error}")))
    };
    names.split(',').filter(|name| !name.is_empty()).map(known).collect()
}

fn cleaner(settings: &HashMap<String, String>) -> PyResult<CleanerConfig> {
    let default = CleanerConfig::default();
    let is_enabled = settings.get("log.cleaner.enable").is_none_or(|value| value != "false");
    Ok(CleanerConfig {
        threads: if is_enabled { number(settings, "log.cleaner.threads", default.threads)? } else { 0 },
        map_bytes_max: number(settings, "log.cleaner.dedupe.buffer.size", default.map_bytes_max)?,
        map_load_factor: number(settings, "log.cleaner.io.buffer.load.factor", default.map_load_factor)?,
        bytes_per_second_max: number(settings, "log.cleaner.io.max.bytes.per.second", default.bytes_per_second_max)?,
        backoff_ms: milliseconds(settings, "log.cleaner.backoff.ms", default.backoff_ms)?,
        ..default
    })
}

type DirectoryTuple = (String, i16, Option<(u64, u64)>, Vec<(String, i32, u64)>);
type PartitionTuple = (i32, i32, i32, i32, Vec<i32>, Vec<i32>);
type TopicTuple<'py> = (String, Vec<u8>, bool, HashMap<String, Bound<'py, PyAny>>, Vec<PartitionTuple>);
type BrokerTuple = (i32, Option<String>, Vec<(String, String, i32)>);

fn topic_update(topic: TopicTuple<'_>) -> PyResult<TopicUpdate> {
    let (name, id, is_internal, settings, partitions) = topic;
    let settings: Vec<(String, String)> =
        settings.iter().map(|(name, value)| Ok((name.clone(), text(value)?))).collect::<PyResult<_>>()?;
    let config = partition_config(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
        .map_err(|error| PyValueError::new_err(format!("topic {name}: {error}")))?;
    let mut updates = Vec::with_capacity(partitions.len());
    for (place, (index, leader, leader_epoch, partition_epoch, replicas, isr)) in partitions.into_iter().enumerate() {
        if usize::try_from(index) != Ok(place) {
            return Err(PyValueError::new_err(format!("topic {name}: partition {index} stands at place {place}")));
        }
        updates.push(PartitionUpdate { index, leader, leader_epoch, partition_epoch, replicas, isr });
    }
    let min_insync_replicas = match settings.iter().find(|(name, _)| name == "min.insync.replicas") {
        None => 1,
        Some((_, value)) => value.parse().map_err(|_| {
            PyValueError::new_err(format!("topic {name}: min.insync.replicas = {value:?} is not a number"))
        })?,
    };
    Ok(TopicUpdate { name, id: topic_id(&id)?, is_internal, config, min_insync_replicas, partitions: updates })
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (data_dirs, *, bridge, node_id, cluster_id, settings, virtual_clock=None))]
    fn new(
        py: Python<'_>,
        data_dirs: Option<Vec<PathBuf>>,
        bridge: &Bridge,
        node_id: i32,
        cluster_id: Option<String>,
        settings: &Bound<'_, PyDict>,
        virtual_clock: Option<&VirtualClock>,
    ) -> PyResult<Self> {
        let mut values = HashMap::with_capacity(settings.len());
        for (name, value) in settings {
            if !value.is_none() {
                values.insert(name.extract::<String>()?, text(&value)?);
            }
        }
        let env = if data_dirs.is_none() { Env::memory() } else { Env::system_with(&fast_paths(&values)?) };
        let env = match virtual_clock {
            Some(clock) => env.with_clock(Arc::clone(&clock.clock) as Arc<dyn Clock>),
            None => env,
        };
        let options = EngineOptions {
            env,
            data_dirs: data_dirs.unwrap_or_else(|| vec![PathBuf::from(MEMORY_DIRECTORY)]),
            node_id,
            cluster_id,
            host: host(&values)?,
            maintenance: maintenance(&values)?,
            cleaner: cleaner(&values)?,
        };
        let native = released(py, || NativeEngine::open(options)).map_err(|error| append_error(&error))?;
        Ok(Self { native: Arc::new(native), queue: Arc::clone(bridge.queue()) })
    }

    #[getter]
    fn cluster_id(&self) -> &str {
        self.native.cluster_id()
    }

    #[getter]
    fn node_id(&self) -> i32 {
        self.native.node_id()
    }

    #[getter]
    fn clean_shutdown(&self) -> bool {
        self.native.was_clean()
    }

    fn now_ms(&self) -> i64 {
        self.native.env().clock().now_ms()
    }

    fn monotonic_ms(&self) -> i64 {
        self.native.env().clock().monotonic_ms()
    }

    fn metadata_log(&self, py: Python<'_>) -> MetadataLog {
        released(py, || MetadataLog::new(Arc::clone(&self.native), Arc::clone(&self.queue)))
    }

    #[pyo3(signature = (
        *, offset, controller_id, brokers, topics, deleted,
        supported_features=vec![], finalized_features=vec![], finalized_epoch=-1,
    ))]
    #[expect(clippy::too_many_arguments, reason = "one keyword for each part of an image")]
    fn publish(
        &self,
        py: Python<'_>,
        offset: i64,
        controller_id: i32,
        brokers: Vec<BrokerTuple>,
        topics: Vec<TopicTuple<'_>>,
        deleted: Vec<Vec<u8>>,
        supported_features: Vec<(String, i16, i16)>,
        finalized_features: Vec<(String, i16)>,
        finalized_epoch: i64,
    ) -> PyResult<()> {
        let brokers = brokers
            .into_iter()
            .map(|(id, rack, endpoints)| Broker {
                id,
                rack,
                endpoints: endpoints.into_iter().map(|(name, host, port)| (name, (host, port))).collect(),
            })
            .collect();
        let features = Features {
            supported: supported_features
                .into_iter()
                .map(|(name, min, max)| SupportedFeature { name, min, max })
                .collect(),
            finalized: finalized_features.into_iter().map(|(name, level)| FinalizedFeature { name, level }).collect(),
            finalized_epoch,
        };
        let update = Update {
            offset,
            controller_id,
            brokers,
            features,
            topics: topics.into_iter().map(topic_update).collect::<PyResult<_>>()?,
            deleted: deleted.iter().map(|id| topic_id(id)).collect::<PyResult<_>>()?,
        };
        released(py, || self.native.publish(update));
        Ok(())
    }

    fn journal(&self, py: Python<'_>, topic: &str, partition: i32) -> PyResult<Journal> {
        released(py, || {
            let replica = self
                .native
                .replica(topic, partition)
                .ok_or_else(|| errors::storage(format!("partition {topic}-{partition} is not published")))?;
            // Opened here, so that a damaged partition is known before anybody relies on it.
            replica.partition().map_err(|error| storage_error(&error))?;
            Ok(Journal::new(Arc::clone(&self.native), replica, Arc::clone(&self.queue)))
        })
    }

    #[expect(clippy::too_many_arguments, reason = "one for each part of a marker")]
    fn write_markers(
        &self,
        py: Python<'_>,
        producer_id: i64,
        producer_epoch: i16,
        committed: bool,
        coordinator_epoch: i32,
        transaction_version: i16,
        partitions: Vec<(String, i32)>,
        token: u64,
    ) -> MarkersWritten {
        let marker = marker(committed);
        let ending = Ending { producer_id, producer_epoch, marker, coordinator_epoch, transaction_version };
        released(py, || MarkersWritten::begin(&self.native, &self.queue, ending, partitions, token))
    }

    fn producers(&self, py: Python<'_>, partitions: Vec<(String, i32)>) -> Vec<(i16, Vec<ProducerTuple>)> {
        released(py, || self.native.producers(&partitions).into_iter().map(producers_of).collect())
    }

    fn delete_records(&self, py: Python<'_>, partitions: Vec<(String, i32, i64)>) -> Vec<(i16, i64)> {
        released(py, || {
            self.native.delete_records(&partitions).into_iter().map(|(code, log_start)| (code.0, log_start)).collect()
        })
    }

    fn usage(&self, py: Python<'_>) -> Vec<DirectoryTuple> {
        released(py, || {
            let described = |usage: DirectoryUsage| {
                let partitions = usage.partitions.into_iter();
                let partitions = partitions.map(|(topic, index, bytes)| (topic.to_string(), index, bytes)).collect();
                (usage.path.display().to_string(), usage.code.0, usage.space, partitions)
            };
            self.native.usage().into_iter().map(described).collect()
        })
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (topics, partitions, opened, offline) = released(py, || {
            let image = self.native.image();
            let mut counts = (image.by_name.len(), 0_usize, 0_usize, 0_usize);
            for state in image.by_name.values().flat_map(|topic| &topic.partitions) {
                counts.1 += 1;
                counts.2 += usize::from(state.replica.opened().is_some());
                counts.3 += usize::from(state.replica.failure().is_some());
            }
            counts
        });
        let status = PyDict::new(py);
        let directories: Vec<String> = self.native.paths().iter().map(|path| path.display().to_string()).collect();
        status.set_item("directories", directories)?;
        status.set_item("cluster_id", self.native.cluster_id())?;
        status.set_item("clean_shutdown", self.native.was_clean())?;
        status.set_item("metadata_offset", self.native.image().offset)?;
        status.set_item("topics", topics)?;
        status.set_item("partitions", partitions)?;
        status.set_item("partitions_opened", opened)?;
        status.set_item("partitions_offline", offline)?;
        let disks = self.native.disks();
        let words =
            |paths: Vec<PathBuf>| paths.into_iter().map(|path| path.display().to_string()).collect::<Vec<String>>();
        status.set_item("disk_failures", disks.failures)?;
        status.set_item("directories_offline", words(disks.directories_offline))?;
        status.set_item("directories_full", words(disks.directories_full))?;
        status.set_item("unsynced_bytes", disks.unsynced_bytes)?;
        let fast_paths: HashMap<&str, String> = self
            .native
            .env()
            .disk()
            .fast_paths()
            .iter()
            .map(|(path, state)| (path.name(), state.to_string()))
            .collect();
        status.set_item("fast_paths", fast_paths)?;
        let readers = self.native.readers();
        let total = |count: fn(&Readers) -> u64| readers.iter().map(|one| count(one)).sum::<u64>();
        status.set_item("disk_reads_waited_for", total(|readers| readers.waits.get()))?;
        status.set_item("disk_reads_ahead", total(|readers| readers.aheads.get()))?;
        status.set_item("disk_lookups", total(|readers| readers.lookups.get()))?;
        Ok(status)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        released(py, || self.native.close()).map_err(|error| storage_error(&error))
    }
}
