//! A data directory: who owns it, what it is called, and what it remembers of its partitions between two starts.
//!
//! ```text
//! .lock                              held while open; pid and start time of the holder inside
//! meta.properties                    version=1, cluster.id, node.id, directory.id (Kafka's), ottla.format
//! .ottla_disk_state                  whether memory can be believed after a crash; .ottla_reserve: room for a full disk (`health.rs`)
//! .kafka_cleanshutdown               there: the last owner closed everything; taken away at the next start
//! recovery-point-offset-checkpoint   up to where each partition was synced
//! log-start-offset-checkpoint        where each partition starts, if not at its first segment
//! cleaner-offset-checkpoint          up to where each partition was compacted
//! <topic>-<partition>/               a partition; <...>-delete/ one that is being removed
//! ```
//!
//! Apache Kafka keeps the same files; each keeps the other out by the lock.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::checkpoint::{self, Offsets};
use crate::commit::Host;
use crate::env::{DirLock, Disk, read_file, replace_file};
use crate::error::{IoContext, StorageError};
use crate::health::{Health, Trust};
use crate::partition::{OpenHint, Partition};
use crate::segment::names;
use crate::{Offset, TopicId};

pub(crate) use meta::read_meta;
pub use meta::{FORMAT_VERSION, META_PROPERTIES, check_format};
use meta::{Meta, TOGETHER, check_meta, new_id, write_meta};

mod meta;

pub(crate) const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Kafka's JSON, with "no broker epoch known".
const CLEAN_SHUTDOWN_TEXT: &str = "{\"version\":0,\"brokerEpoch\":-1}";
/// Of the lock.
const OWNER_BYTES_MAX: u64 = 64 * 1024;

/// A partition directory found on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    pub topic: String,
    pub partition: i32,
    /// From `partition.metadata`; None when that file is missing or damaged.
    pub topic_id: Option<TopicId>,
    pub path: PathBuf,
}

/// An open data directory. Dropping it lets go of the lock, without the mark of a clean stop.
#[derive(Debug)]
pub struct DataDirectory {
    host: Arc<Host>,
    path: PathBuf,
    meta: Mutex<Meta>,
    cluster_id: String,
    directory_id: TopicId,
    was_clean: bool,
    health: Arc<Health>,
    recovery_points: Mutex<Offsets>,
    log_starts: Mutex<Offsets>,
    cleaned: Mutex<Offsets>,
    _lock: Box<dyn DirLock>,
}

impl DataDirectory {
    /// Makes the directory when it is missing, takes its lock, reads or writes `meta.properties`, and removes what earlier deletions
    /// left. A cluster or node id other than the one on disk is refused. `random` makes the ids a new directory needs.
    pub fn open(
        host: &Arc<Host>,
        path: &Path,
        node_id: i32,
        cluster_id: Option<&str>,
        random: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<DataDirectory, StorageError> {
        let disk = host.env().disk().as_ref();
        let made = make_directories(disk, path)?;
        let lock = take_lock(host, path)?;
        let stored = read_meta(disk, path)?;
        let is_new = stored.is_none() && is_empty(disk, path)?;
        let clean_path = path.join(CLEAN_SHUTDOWN);
        let was_clean = disk.exists(&clean_path).at("look for", &clean_path)?;
        let (health, trust) = Health::open(host.env(), path, host.settings().reserve_bytes, was_clean, is_new)?;
        host.add_health(&health);
        if trust == Trust::Disk {
            tracing::warn!(path = %path.display(), "memory may show what is not on the disk: tails are read from the disk");
        }
        // Names that are not in a synced directory are not there after a power cut, and all that was acknowledged with them.
        sync_names(disk, path, &made, stored.is_none())?;
        let meta = match stored {
            Some(meta) => check_meta(disk, path, meta, node_id, cluster_id, random)?,
            None => {
                let cluster_id = cluster_id.map_or_else(|| checkpoint::format_id(&random()), str::to_owned);
                let meta = Meta { cluster_id, node_id, directory_id: new_id(random), together: Vec::new() };
                health.with_reserve(|| write_meta(disk, path, &meta))?;
                meta
            }
        };
        let directory = DataDirectory {
            host: host.clone(),
            path: path.to_path_buf(),
            cluster_id: meta.cluster_id.clone(),
            directory_id: meta.directory_id,
            meta: Mutex::new(meta),
            was_clean,
            health,
            recovery_points: Mutex::new(checkpoint::read_offsets(disk, &path.join(checkpoint::RECOVERY_POINTS))?),
            log_starts: Mutex::new(checkpoint::read_offsets(disk, &path.join(checkpoint::LOG_STARTS))?),
            cleaned: Mutex::new(checkpoint::read_offsets(disk, &path.join(checkpoint::CLEANED))?),
            _lock: lock,
        };
        if was_clean {
            // From now on a crash is a crash.
            disk.remove_file(&clean_path).at("remove", &clean_path)?;
        }
        // Partitions that the last owner made, and was killed before it could sync that, are about to be opened and read.
        disk.sync_dir(path).at("sync", path)?;
        directory.remove_deleted()?;
        directory.forget_absent()?;
        Ok(directory)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        self.host.env().disk().as_ref()
    }

    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub fn node_id(&self) -> i32 {
        self.meta.lock().node_id
    }

    pub fn directory_id(&self) -> TopicId {
        self.directory_id
    }

    /// All its owner's directories, by their ids, this one among them. One that was there before and is not now is an error: what lies in
    /// it would be made again, empty, in another. (Kafka does not start with a directory that was not formatted.)
    pub fn check_together(&self, ids: &[TopicId]) -> Result<(), StorageError> {
        let meta = self.meta.lock();
        let Some(missing) = meta.together.iter().find(|id| !ids.contains(*id)) else { return Ok(()) };
        let what = format!(
            "names a data directory that is not there, {}: is its disk mounted, and log.dirs as it was? Its partitions would begin again, empty. To give them up take it out of {TOGETHER}",
            checkpoint::format_id(missing)
        );
        Err(StorageError::invalid(&self.path.join(META_PROPERTIES), what))
    }

    /// Notes them for the next start.
    pub fn keep_together(&self, ids: &[TopicId]) -> Result<(), StorageError> {
        let mut meta = self.meta.lock();
        let together = if ids.len() > 1 { ids.to_vec() } else { Vec::new() };
        if meta.together == together {
            return Ok(());
        }
        meta.together = together;
        self.health.with_reserve(|| write_meta(self.host.env().disk().as_ref(), &self.path, &meta))
    }

    /// The last owner stopped cleanly.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Partitions that have a directory, the metadata log among them.
    pub fn found(&self) -> Result<Vec<FoundPartition>, StorageError> {
        let disk = self.host.env().disk().as_ref();
        let mut found = Vec::new();
        for entry in disk.list(&self.path).at("list", &self.path)? {
            if let Some((topic, partition)) = names::parse_partition_directory(&entry.name).filter(|_| entry.is_dir) {
                let path = self.path.join(&entry.name);
                let topic_id = checkpoint::read_topic_id(disk, &path.join(names::PARTITION_METADATA))?;
                found.push(FoundPartition { topic: topic.to_owned(), partition, topic_id, path });
            }
        }
        Ok(found)
    }

    pub fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        self.path.join(names::partition_directory(topic, partition))
    }

    /// What is known of a partition before it is opened.
    pub fn hint(&self, topic: &str, partition: i32) -> OpenHint {
        let key = (topic.to_owned(), partition);
        let known = |offsets: &Mutex<Offsets>| offsets.lock().get(&key).copied().unwrap_or(0).max(0);
        OpenHint {
            clean: self.was_clean,
            recovery_point: known(&self.recovery_points),
            log_start: known(&self.log_starts),
            cleaned: self.cleaned.lock().get(&key).copied(),
        }
    }

    /// Writes recovery points and log starts. Partitions not among `partitions` keep what was known of them.
    pub fn checkpoint(&self, partitions: &[Arc<Partition>]) -> Result<(), StorageError> {
        {
            let (mut points, mut starts) = (self.recovery_points.lock(), self.log_starts.lock());
            let mut cleaned = self.cleaned.lock();
            for partition in partitions {
                let Some(facts) = partition.checkpoint_facts() else { continue };
                let identity = partition.identity();
                let key = (identity.topic.to_string(), identity.partition);
                points.insert(key.clone(), facts.recovery_point);
                match facts.cleaned {
                    Some(offset) => cleaned.insert(key.clone(), offset),
                    None => cleaned.remove(&key),
                };
                // Kafka notes only starts that the first segment's name does not tell. But that name may not survive a power cut, nor
                // may the removal of those before it.
                if facts.log_start > 0 {
                    starts.insert(key, facts.log_start);
                } else {
                    starts.remove(&key);
                }
            }
        }
        self.write_checkpoints()
    }

    /// Truncates a partition ([`Partition::truncate_to`]). Its recovery point is lowered first: what is written behind the cut is not synced,
    /// whatever was known of these offsets before. (Kafka writes it after the cut.) It is lowered to less than the new end: a log that ends
    /// right at it passes for synced, and after a kill the cut may not be. Where nothing will be left the log start is noted too. How far it was
    /// compacted is lowered behind the cut: until then gaps are none of a power cut.
    pub fn truncate(&self, partition: &Partition, offset: Offset) -> Result<(), StorageError> {
        let Some(after) = partition.if_truncated(offset)? else { return partition.truncate_to(offset) };
        let identity = partition.identity();
        let key = (identity.topic.to_string(), identity.partition);
        let is_lowered = self.recovery_points.lock().get_mut(&key).is_some_and(|point| {
            let lowered = after.synced.min(*point);
            std::mem::replace(point, lowered) > lowered
        });
        let is_start =
            after.only_start.is_some_and(|start| self.log_starts.lock().insert(key.clone(), start) != Some(start));
        if is_lowered || is_start {
            self.write_checkpoints()?;
        }
        partition.truncate_to(offset)?;
        // What is appended from here on was never compacted: where it is missing a power cut has torn it off.
        let was_cleaned = self.cleaned.lock().get_mut(&key).is_some_and(|cleaned| {
            let lowered = after.end.min(*cleaned);
            std::mem::replace(cleaned, lowered) > lowered
        });
        if was_cleaned && let Err(error) = self.write_checkpoints() {
            partition.take_offline(&error);
            return Err(error);
        }
        Ok(())
    }

    /// These partitions are being deleted: what was known of them must not be taken for a successor's after a crash. Call before
    /// [`Partition::delete`], and again after it: a checkpoint may have been written in between.
    pub fn forget(&self, partitions: &[(&str, i32)]) -> Result<(), StorageError> {
        let mut known = false;
        for (topic, partition) in partitions {
            let key = ((*topic).to_owned(), *partition);
            known |= self.recovery_points.lock().remove(&key).is_some();
            known |= self.log_starts.lock().remove(&key).is_some();
            known |= self.cleaned.lock().remove(&key).is_some();
        }
        if known { self.write_checkpoints() } else { Ok(()) }
    }

    fn write_checkpoints(&self) -> Result<(), StorageError> {
        self.health.check_online()?;
        let disk = self.host.env().disk().as_ref();
        let points = self.recovery_points.lock();
        let starts = self.log_starts.lock();
        let cleaned = self.cleaned.lock();
        self.health.with_reserve(|| {
            checkpoint::write_offsets(disk, &self.path.join(checkpoint::RECOVERY_POINTS), &points)?;
            checkpoint::write_offsets(disk, &self.path.join(checkpoint::LOG_STARTS), &starts)?;
            checkpoint::write_offsets_if_any(disk, &self.path.join(checkpoint::CLEANED), &cleaned)
        })
    }

    /// After every partition was closed: checkpoints, then the mark of a clean stop. The lock is let go when nobody has the directory
    /// any more.
    pub fn close(&self, partitions: &[Arc<Partition>]) -> Result<(), StorageError> {
        self.checkpoint(partitions)?;
        let path = self.path.join(CLEAN_SHUTDOWN);
        let disk = self.host.env().disk().as_ref();
        self.health.with_reserve(|| replace_file(disk, &path, CLEAN_SHUTDOWN_TEXT.as_bytes()).at("write", &path))
    }

    /// What the checkpoints know of partitions that are not there was written while these were being deleted.
    fn forget_absent(&self) -> Result<(), StorageError> {
        let entries = self.host.env().disk().list(&self.path).at("list", &self.path)?;
        let there: HashSet<(&str, i32)> =
            entries.iter().filter_map(|entry| names::parse_partition_directory(&entry.name)).collect();
        let keep = |offsets: &Mutex<Offsets>| {
            let mut offsets = offsets.lock();
            let before = offsets.len();
            offsets.retain(|(topic, partition), _| there.contains(&(topic.as_str(), *partition)));
            offsets.len() == before
        };
        let unchanged = keep(&self.recovery_points) & keep(&self.log_starts) & keep(&self.cleaned);
        if !unchanged && let Err(error) = self.write_checkpoints() {
            // Memory knows; the next checkpoint tells the disk.
            tracing::warn!(%error, "checkpoints still name partitions that are gone");
        }
        Ok(())
    }

    fn remove_deleted(&self) -> Result<(), StorageError> {
        let disk = self.host.env().disk().as_ref();
        for entry in disk.list(&self.path).at("list", &self.path)? {
            if entry.is_dir && entry.name.ends_with(names::DELETE_DIR_SUFFIX) {
                let path = self.path.join(&entry.name);
                disk.remove_dir_all(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }
}

/// What a checkpoint says of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointFacts {
    pub recovery_point: Offset,
    pub log_start: Offset,
    pub cleaned: Option<Offset>,
}

/// Nothing but what opening makes itself.
fn is_empty(disk: &dyn Disk, path: &Path) -> Result<bool, StorageError> {
    Ok(disk.list(path).at("list", path)?.iter().all(|entry| entry.name.starts_with('.') && !entry.is_dir))
}

/// Makes the directory and what is missing on the way; what was made.
fn make_directories(disk: &dyn Disk, path: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let mut made = Vec::new();
    for ancestor in path.ancestors().filter(|ancestor| !ancestor.as_os_str().is_empty()) {
        if disk.exists(ancestor).at("look for", ancestor)? {
            break;
        }
        made.push(ancestor.to_path_buf());
    }
    disk.create_dir_all(path).at("create", path)?;
    Ok(made)
}

/// Syncs the directories that name what was made. A directory without properties counts: who made it may have been killed right then.
fn sync_names(disk: &dyn Disk, path: &Path, made: &[PathBuf], is_new: bool) -> Result<(), StorageError> {
    let new = Some(path).filter(|_| is_new && made.is_empty());
    for name in made.iter().map(PathBuf::as_path).chain(new) {
        let Some(parent) = name.parent() else { continue };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        match disk.sync_dir(parent) {
            // Somebody else's, and not ours to read: then it was not made here.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && made.is_empty() => {}
            result => result.at("sync", parent)?,
        }
    }
    Ok(())
}

fn take_lock(host: &Host, path: &Path) -> Result<Box<dyn DirLock>, StorageError> {
    let disk = host.env().disk().as_ref();
    let lock_path = path.join(LOCK);
    match disk.lock(&lock_path) {
        Ok(lock) => {
            let text = format!("pid={}\nstarted_ms={}\n", std::process::id(), host.env().clock().now_ms());
            match lock.write_owner(&text).at("write", &lock_path) {
                // It is for people: a full disk is no reason not to start.
                Err(error) if error.is_no_room() => tracing::warn!(%error, "who holds the directory is not noted"),
                result => result?,
            }
            Ok(lock)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let text = read_file(disk, &lock_path, OWNER_BYTES_MAX)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .unwrap_or_default();
            let words = text.split_whitespace().collect::<Vec<_>>().join(", ");
            // Apache Kafka leaves the file empty.
            let owner = if words.is_empty() { String::new() } else { format!(" ({words})") };
            Err(StorageError::DirectoryInUse { path: path.to_path_buf(), owner })
        }
        Err(error) => Err(StorageError::io("lock", &lock_path, error)),
    }
}

#[cfg(test)]
mod tests;
