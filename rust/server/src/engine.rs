//! The engine: one or more data directories, the partitions in them, and what the control plane has published.
//!
//! After an unclean stop every partition that has files is opened with the first publication, in parallel, so that its
//! tail is checked before anyone asks; after a clean one each is opened when it is first used, or by the first round of
//! retention (`log.retention.check.interval.ms` after the start), which concerns idle ones too.
//!
//! A stop is clean when everything that may have been torn has been looked at and everything opened was closed. Whatever
//! else happened, a failed start most of all, leaves the directories without the mark: the next start checks again.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use ottla_log::checkpoint;
use ottla_log::cleaner::{Cleaner, CleanerConfig};
use ottla_log::commit::{Host, HostSettings};
use ottla_log::directory::DataDirectory;
use ottla_log::env::Env;
use ottla_log::local::remove_published;
use ottla_log::maintenance::{Maintenance, MaintenanceConfig, PartitionSource};
use ottla_log::metadata_log::MetadataLog;
use ottla_log::partition::OpenHint;
use ottla_log::segment::names::PARTITION_METADATA;
use ottla_log::{AppendError, Identity, Partition, PartitionConfig, StorageError};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{error, warn};

use crate::coordination::Coordination;
use crate::disks;
use crate::found::{FoundPartitions, find_partitions};
use crate::image::{Image, PartitionState, PartitionUpdate, Topic, TopicUpdate, Update};
use crate::random::{hexadecimal, random_bytes};
use crate::readers::Readers;
use crate::recovery;
use crate::replica::{Place, Replica};
use crate::slow_stop::SlowStop;

/// How an engine is opened.
pub struct EngineOptions {
    pub env: Env,
    /// Kafka's `log.dirs`. A new partition goes where the fewest are; the metadata log lies in the first.
    pub data_dirs: Vec<PathBuf>,
    pub node_id: i32,
    /// `None`: what `meta.properties` says, or a new random id.
    pub cluster_id: Option<String>,
    pub host: HostSettings,
    pub maintenance: MaintenanceConfig,
    /// Its hash key is made anew at each opening.
    pub cleaner: CleanerConfig,
}

/// What publications change, one at a time.
struct Places {
    found: FoundPartitions,
    /// Partitions per data directory.
    counts: Vec<usize>,
}

/// The shared part, which the maintenance thread sees too.
pub(crate) struct Inner {
    /// Empty once closed. Locked to look, never while the disk works: whoever writes there has a share of its own.
    pub(crate) directories: Mutex<Vec<Arc<DataDirectory>>>,
    pub(crate) image: ArcSwap<Image>,
    pub(crate) metadata: MetadataLog,
}

pub struct Engine {
    pub(crate) host: Arc<Host>,
    pub(crate) inner: Arc<Inner>,
    cluster_id: String,
    node_id: i32,
    was_clean: bool,
    paths: Vec<PathBuf>,
    /// One for each of the paths.
    pub(crate) readers: Vec<Arc<Readers>>,
    places: Mutex<Places>,
    maintenance: Mutex<Option<Maintenance>>,
    cleaner: Mutex<Option<Cleaner>>,
    /// Told when appends that wait for the disk may go on.
    pub(crate) relief: Arc<Notify>,
    pub(crate) coordination: Coordination,
    is_closed: AtomicBool,
}

impl Inner {
    pub(crate) fn directories(&self) -> Vec<Arc<DataDirectory>> {
        self.directories.lock().clone()
    }

    fn list(&self, choose: impl Fn(&Replica) -> Option<Arc<Partition>>) -> Vec<Arc<Partition>> {
        let image = self.image.load();
        let states = image.by_name.values().flat_map(|topic| &topic.partitions);
        let mut partitions: Vec<Arc<Partition>> = states.filter_map(|state| choose(&state.replica)).collect();
        partitions.push(Arc::clone(self.metadata.partition()));
        partitions
    }
}

impl PartitionSource for Inner {
    fn partitions(&self) -> Vec<Arc<Partition>> {
        self.list(|replica| replica.opened().cloned())
    }

    fn with_idle(&self) -> Vec<Arc<Partition>> {
        // What cannot be opened has logged why.
        self.list(
            |replica| {
                if replica.has_files() { replica.partition().ok().cloned() } else { replica.opened().cloned() }
            },
        )
    }

    fn compacted(&self) -> Vec<Arc<Partition>> {
        let image = self.image.load();
        let states = image.by_name.values().flat_map(|topic| &topic.partitions);
        let replicas =
            states.map(|state| &state.replica).filter(|replica| replica.config.load().cleanup_policy.compact);
        replicas
            .filter_map(
                |replica| {
                    if replica.has_files() { replica.partition().ok().cloned() } else { replica.opened().cloned() }
                },
            )
            .collect()
    }

    fn checkpoint(&self, partitions: &[Arc<Partition>]) {
        for directory in self.directories() {
            let own = in_directory(directory.path(), partitions);
            if let Err(failure) = directory.checkpoint(&own) {
                error!("checkpoints of {} were not written: {failure}", directory.path().display());
            }
        }
    }
}

fn in_directory(path: &Path, partitions: &[Arc<Partition>]) -> Vec<Arc<Partition>> {
    partitions.iter().filter(|partition| partition.path().parent() == Some(path)).cloned().collect()
}

impl Engine {
    /// Takes the directories and opens the metadata log.
    ///
    /// # Errors
    /// A directory is in use, was written by a newer version, belongs to another node or cluster, or cannot be read.
    pub fn open(options: EngineOptions) -> Result<Self, AppendError> {
        let EngineOptions { env, data_dirs, node_id, mut cluster_id, host, maintenance, cleaner } = options;
        let host = Host::with(env, host);
        let mut directories: Vec<Arc<DataDirectory>> = Vec::with_capacity(data_dirs.len());
        for path in &data_dirs {
            let directory = DataDirectory::open(&host, path, node_id, cluster_id.as_deref(), &mut random_bytes)?;
            remove_published(host.env().disk().as_ref(), path)?;
            cluster_id.get_or_insert_with(|| directory.cluster_id().to_owned());
            directories.push(Arc::new(directory));
        }
        let Some(first) = directories.first() else {
            let what = "log.dirs names no directory".to_owned();
            return Err(StorageError::Invalid { path: PathBuf::new(), what }.into());
        };
        let ids: Vec<_> = directories.iter().map(|directory| directory.directory_id()).collect();
        for directory in &directories {
            directory.check_together(&ids)?;
        }
        let (found, counts) = find_partitions(&directories)?;
        for directory in &directories {
            directory.keep_together(&ids)?;
        }
        let was_clean = directories.iter().all(|directory| directory.was_clean());
        let metadata = MetadataLog::open(&host, first.path(), node_id, first.was_clean())?;
        let paths: Vec<PathBuf> = directories.iter().map(|directory| directory.path().to_owned()).collect();
        disks::try_fast_paths(&host, &paths);
        host.do_slow_work_by(disks::aside);
        let inner = Arc::new(Inner {
            directories: Mutex::new(directories),
            image: ArcSwap::from_pointee(Image { offset: -1, controller_id: -1, ..Image::default() }),
            metadata,
        });
        disks::watch_directories(&inner);
        let relief = Arc::new(Notify::new());
        let relieved = Arc::clone(&relief);
        host.on_relief(Box::new(move || relieved.notify_waiters()));
        let source = Arc::clone(&inner) as Arc<dyn PartitionSource>;
        let cleaner = Cleaner::start(&host, &source, &CleanerConfig { hash_key: random_bytes(), ..cleaner });
        let maintenance = Maintenance::start(&host, source, maintenance);
        Ok(Self {
            host,
            inner,
            cluster_id: cluster_id.unwrap_or_default(),
            node_id,
            was_clean,
            readers: paths.iter().map(|_| Arc::default()).collect(),
            paths,
            places: Mutex::new(Places { found, counts }),
            maintenance: Mutex::new(Some(maintenance)),
            relief,
            coordination: Coordination::default(),
            cleaner: Mutex::new(Some(cleaner)),
            is_closed: AtomicBool::new(false),
        })
    }

    #[must_use]
    pub fn env(&self) -> &Env {
        self.host.env()
    }

    #[must_use]
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    #[must_use]
    pub fn node_id(&self) -> i32 {
        self.node_id
    }

    #[must_use]
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    #[must_use]
    pub fn metadata(&self) -> &MetadataLog {
        &self.inner.metadata
    }

    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.inner.image.load_full()
    }

    /// The engine's clock that never goes back.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.env().clock().monotonic_ms()).unwrap_or(0))
    }

    /// Makes what changed visible to every request that starts from now on.
    pub fn publish(&self, update: Update) {
        let mut places = self.places.lock();
        let before = self.image();
        let (mut by_name, mut by_id) = (before.by_name.clone(), before.by_id.clone());
        // First: a topic of the same name may be made by the same publication. Requests that still work on the old image are
        // told that theirs is gone.
        let deleted: Vec<Arc<Topic>> = update.deleted.iter().filter_map(|id| by_id.remove(id)).collect();
        for topic in &deleted {
            by_name.remove(&*topic.name);
        }
        self.delete(&deleted);
        for state in deleted.iter().flat_map(|topic| &topic.partitions) {
            let directory = state.replica.path().parent();
            let place = self.paths.iter().position(|path| Some(path.as_path()) == directory);
            if let Some(count) = place.and_then(|place| places.counts.get_mut(place)) {
                *count = count.saturating_sub(1);
            }
        }
        let mut published = Vec::with_capacity(update.topics.len());
        for update in update.topics {
            let topic = Arc::new(self.topic(&mut places, &before, update));
            by_name.insert(Arc::clone(&topic.name), Arc::clone(&topic));
            by_id.insert(topic.id, Arc::clone(&topic));
            published.push(topic);
        }
        let image = Arc::new(Image {
            offset: update.offset,
            controller_id: update.controller_id,
            brokers: update.brokers,
            features: update.features,
            by_name,
            by_id,
        });
        let is_first = before.offset < 0;
        self.inner.image.store(Arc::clone(&image));
        before.tell_of_new_epochs(&published);
        if is_first && !self.was_clean {
            recovery::open_in_parallel(&image, &self.paths, self.host.settings().recovery_threads);
        }
    }

    fn topic(&self, places: &mut Places, before: &Image, update: TopicUpdate) -> Topic {
        let TopicUpdate { name, id, is_internal, config, min_insync_replicas, partitions } = update;
        let config = Arc::new(config);
        let known = before.topic_by_id(&id);
        let name: Arc<str> = known.map_or_else(|| name.into(), |topic| Arc::clone(&topic.name));
        let partitions = partitions
            .into_iter()
            .map(|update| {
                let PartitionUpdate { index, leader, leader_epoch, partition_epoch, replicas, isr } = update;
                let replica = match known.and_then(|topic| topic.partition(index)) {
                    Some(state) => {
                        if let Err(failure) = state.replica.update(Arc::clone(&config), leader_epoch) {
                            error!("leader epoch {leader_epoch} of {name}-{index} is not on disk: {failure}");
                        }
                        Arc::clone(&state.replica)
                    }
                    None => {
                        let identity = Identity { topic: Arc::clone(&name), topic_id: id, partition: index };
                        let place = self.place(places, &identity);
                        Arc::new(Replica::new(identity, place, Arc::clone(&config), leader_epoch))
                    }
                };
                PartitionState { index, leader, leader_epoch, partition_epoch, replicas, isr, replica }
            })
            .collect();
        Topic { name, id, is_internal, min_insync_replicas, partitions, described: OnceLock::new() }
    }

    /// Where a partition lies, or is to lie. Files of another topic of that name, whose deletion failed or was cut short by
    /// a crash, are moved out of the way under Kafka's name for such strays.
    fn place(&self, places: &mut Places, identity: &Identity) -> Place {
        let directories = self.inner.directories();
        let key = (identity.topic.to_string(), identity.partition);
        let mut found = places.found.remove(&key).unwrap_or_default();
        let own = found.iter().position(|found| found.partition.topic_id == Some(identity.topic_id));
        let own = own.or_else(|| found.iter().position(|found| found.partition.topic_id.is_none()));
        let own = own.map(|own| found.swap_remove(own));
        for stray in found {
            self.move_stray(&stray.partition.path);
            // Nor is what was known of them true of what will be there.
            if let Some(directory) = directories.get(stray.directory)
                && let Err(failure) = directory.forget(&[(&*identity.topic, identity.partition)])
            {
                error!("{} stays in the checkpoints of {}: {failure}", identity.topic, directory.path().display());
            }
        }
        if let Some(own) = own
            && let Some(directory) = directories.get(own.directory)
        {
            let hint = directory.hint(&identity.topic, identity.partition);
            return self.placed(own.directory, own.partition.path, hint, true);
        }
        // One that failed takes nothing new, unless all did: then whoever asks is told why.
        let is_online = |place: &usize| directories.get(*place).is_some_and(|one| one.health().offline().is_none());
        let fewest = |places: &Places, choose: &dyn Fn(&usize) -> bool| {
            (0..places.counts.len()).filter(|place| choose(place)).min_by_key(|place| places.counts[*place])
        };
        let fewest = fewest(places, &is_online).or_else(|| fewest(places, &|_| true)).unwrap_or(0);
        if let Some(count) = places.counts.get_mut(fewest) {
            *count += 1;
        }
        let path = directories
            .get(fewest)
            .map(|directory| directory.partition_path(&identity.topic, identity.partition))
            .unwrap_or_default();
        // What tells no owner stays where it is: opening the partition will say what is wrong with it.
        let owner =
            checkpoint::read_topic_id(self.env().disk().as_ref(), &path.join(PARTITION_METADATA)).ok().flatten();
        if owner.is_some_and(|owner| owner != identity.topic_id) {
            self.move_stray(&path);
        }
        self.placed(fewest, path, OpenHint::default(), false)
    }

    fn move_stray(&self, path: &Path) {
        let unique = hexadecimal(&random_bytes());
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{unique}-stray"));
        let aside = path.with_file_name(name);
        match self.env().disk().rename(path, &aside) {
            Ok(()) => warn!("{} holds another topic of that name; moved to {}", path.display(), aside.display()),
            Err(failure) => error!("{} holds another topic of that name and stays: {failure}", path.display()),
        }
    }

    /// Where data lies, for `status()` and error messages.
    #[must_use]
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Closes every partition, however long the disk takes, and marks the directories clean, unless something in them was never looked at that should
    /// have been. Idempotent.
    ///
    /// # Errors
    /// Something could not be written; the directories are then not marked clean and will be checked when next opened.
    pub fn close(&self) -> Result<(), StorageError> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let slow = SlowStop::begin(self.env());
        slow.waits_for("markers, loads of coordinators and reads from the disk that have begun".into());
        self.coordination.stop();
        self.readers.iter().for_each(|readers| readers.stop());
        if let Some(cleaner) = self.cleaner.lock().take() {
            slow.waits_for("a pass of compaction".into());
            cleaner.stop();
        }
        slow.waits_for("retention, flushes and checkpoints that have begun".into());
        if let Some(maintenance) = self.maintenance.lock().take() {
            maintenance.stop();
        }
        let image = self.image();
        let mut opened: Vec<Arc<Partition>> = image
            .by_name
            .values()
            .flat_map(|topic| &topic.partitions)
            .filter_map(|state| state.replica.opened().cloned())
            .collect();
        let mut first_failure = None;
        let mut failed: HashSet<PathBuf> = HashSet::new();
        for (partition, failure) in recovery::close_in_parallel(&opened, &slow) {
            let identity = partition.identity();
            error!("{}-{} was not closed cleanly: {failure}", identity.topic, identity.partition);
            failed.extend(partition.path().parent().map(Path::to_owned));
            first_failure.get_or_insert(failure);
        }
        opened.push(Arc::clone(self.inner.metadata.partition()));
        slow.waits_for(format!("{} to be on the disk", self.inner.metadata.partition().path().display()));
        if let Err(failure) = self.inner.metadata.close() {
            error!("the metadata log was not closed cleanly: {failure}");
            failed.extend(self.inner.metadata.partition().path().parent().map(Path::to_owned));
            first_failure.get_or_insert(failure);
        }
        self.host.stop();
        let is_checked = self.is_checked(&image);
        if !is_checked {
            warn!("not marked as stopped cleanly: what the last stop left behind has not all been checked yet");
        }
        for directory in std::mem::take(&mut *self.inner.directories.lock()) {
            if failed.contains(directory.path()) || !is_checked {
                // Dropped, the lock is let go without the clean marker.
                continue;
            }
            slow.waits_for(format!("the checkpoints of {}", directory.path().display()));
            let own = in_directory(directory.path(), &opened);
            if let Err(failure) = directory.close(&own) {
                first_failure.get_or_insert(failure);
            }
        }
        first_failure.map_or(Ok(()), Err)
    }

    /// True when no file is left that a crash may have torn and that nobody has opened since.
    fn is_checked(&self, image: &Image) -> bool {
        let replicas = || image.by_name.values().flat_map(|topic| &topic.partitions).map(|state| &state.replica);
        let has_failed = |replica: &Arc<Replica>| replica.opened().is_none() && replica.failure().is_some();
        if replicas().any(has_failed) {
            return false;
        }
        // Files of unknown owner that no topic has claimed would be taken over by one of that name.
        let has_unclaimed =
            || self.places.lock().found.values().flatten().any(|found| found.partition.topic_id.is_none());
        let has_unopened = || replicas().any(|replica| replica.has_files() && replica.opened().is_none());
        self.was_clean || (image.offset >= 0 && !has_unopened() && !has_unclaimed())
    }

    /// Writes recovery points and log starts of these partitions.
    ///
    /// # Errors
    /// A checkpoint could not be written.
    pub fn checkpoint(&self, partitions: &[Arc<Partition>]) -> Result<(), StorageError> {
        for directory in self.inner.directories() {
            let own = in_directory(directory.path(), partitions);
            if !own.is_empty() {
                directory.checkpoint(&own)?;
            }
        }
        Ok(())
    }

    /// A published partition.
    #[must_use]
    pub fn replica(&self, topic: &str, partition: i32) -> Option<Arc<Replica>> {
        self.image().topic(topic).and_then(|topic| topic.partition(partition)).map(|state| Arc::clone(&state.replica))
    }
}

/// Effective topic settings, by Kafka's names, as the log wants them.
///
/// # Errors
/// A value the log cannot read; names it has no use for are ignored.
pub fn partition_config<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<PartitionConfig, String> {
    let mut config = PartitionConfig::default();
    for (name, value) in settings {
        config.set(name, value)?;
    }
    Ok(config)
}
