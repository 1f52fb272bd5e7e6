//! A data directory before its log is opened: the caller reads in the metadata log what topic there is, or makes one.

use std::path::Path;
use std::sync::Arc;

use super::log::LocalLog;
use crate::commit::{Host, HostSettings};
use crate::directory::{DataDirectory, read_meta};
use crate::env::{DirEntry, Env};
use crate::error::{AppendError, IoContext, StorageError};
use crate::metadata_log::{self, MetadataLog};
use crate::{PartitionConfig, TopicId};

/// What a start that was killed leaves of `meta.properties`.
const UNFINISHED_META: &str = "meta.properties.tmp";
/// Of a directory that nobody has numbered: the broker's default.
const NODE_ID: i32 = 1;

/// See the module.
#[derive(Debug)]
pub struct LocalDirectory {
    pub(super) host: Arc<Host>,
    pub(super) directory: DataDirectory,
    pub(super) metadata: MetadataLog,
    /// It may not be marked clean: after an unclean stop there are partitions here that this opening does not look at.
    pub(super) leaves_unchecked: bool,
    /// There are partitions here beside the metadata log.
    has_partitions: bool,
}

impl LocalDirectory {
    /// Takes the directory, which is made when it is missing, and opens its metadata log. One that holds something else is refused
    /// before anything is written.
    pub fn open(
        env: Env,
        path: &Path,
        settings: HostSettings,
        random: &mut dyn FnMut() -> [u8; 16],
    ) -> Result<LocalDirectory, AppendError> {
        let node_id = check_is_log(&env, path)?;
        let host = Host::with(env, settings);
        let directory = DataDirectory::open(&host, path, node_id, None, random)?;
        // One of several belongs to a broker: what is in the others may be this topic's.
        directory.check_together(&[directory.directory_id()])?;
        let count = directory.found()?.into_iter().filter(|found| found.topic != metadata_log::TOPIC).count();
        let metadata = MetadataLog::open(&host, path, node_id, directory.was_clean())?;
        let leaves_unchecked = !directory.was_clean() && count > 1;
        Ok(LocalDirectory { host, directory, metadata, leaves_unchecked, has_partitions: count > 0 })
    }

    pub fn metadata(&self) -> &MetadataLog {
        &self.metadata
    }

    pub fn env(&self) -> &Env {
        self.host.env()
    }

    pub fn node_id(&self) -> i32 {
        self.directory.node_id()
    }

    pub fn was_clean(&self) -> bool {
        self.directory.was_clean()
    }

    /// Lets go of it without opening a log: as clean as it was found.
    pub fn close(&self) -> Result<(), StorageError> {
        self.metadata.close()?;
        self.host.stop();
        if self.was_clean() || !self.has_partitions {
            self.directory.close(&[self.metadata.partition().clone()])?;
        }
        Ok(())
    }

    /// Opens partition 0 of a topic, as the metadata log knows it.
    pub fn open_log(
        self: Arc<LocalDirectory>,
        topic: &str,
        topic_id: TopicId,
        leader_epoch: i32,
        config: PartitionConfig,
        hash_key: [u8; 16],
    ) -> Result<LocalLog, AppendError> {
        LocalLog::open(self, topic, topic_id, leader_epoch, config, hash_key)
    }
}

/// The node it belongs to. A directory with files and no `meta.properties` is somebody else's.
fn check_is_log(env: &Env, path: &Path) -> Result<i32, StorageError> {
    let disk = env.disk().as_ref();
    if !disk.exists(path).at("look for", path)? {
        return Ok(NODE_ID);
    }
    let entries = disk.list(path).at("list", path)?;
    if let Some(properties) = read_meta(disk, path)? {
        let stored = properties.get("node.id").or_else(|| properties.get("broker.id"));
        return Ok(stored.and_then(|text| text.parse().ok()).unwrap_or(NODE_ID));
    }
    // What an opening that was killed leaves begins with a dot, or was to become the file that is missing.
    let is_ours = |entry: &DirEntry| !entry.is_dir && (entry.name.starts_with('.') || entry.name == UNFINISHED_META);
    match entries.iter().find(|entry| !is_ours(entry)) {
        Some(entry) => {
            let what =
                format!("is no log: it holds {:?} and no meta.properties; name a directory of its own", entry.name);
            Err(StorageError::invalid(path, what))
        }
        None => Ok(NODE_ID),
    }
}
