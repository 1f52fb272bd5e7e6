//! Deleting partitions: out of service, out of sight under another name, and gone after `file.delete.delay.ms`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Partition;
use crate::commit::Host;
use crate::error::{IoContext, StorageError};
use crate::segment::names;

impl Partition {
    /// Takes the partition out of service and its directory out of sight; the files go after `file.delete.delay.ms`.
    pub fn delete(&self) -> Result<(), StorageError> {
        let Some(target) = self.take_away()? else { return Ok(()) };
        if let Some(parent) = self.path.parent() {
            self.disk().sync_dir(parent).at("sync", parent)?;
        }
        self.host.remove_later(vec![target], true, self.config.load().file_delete_delay_ms);
        Ok(())
    }

    /// The same for many, with one sync of each directory they lie in; what went wrong with which.
    pub fn delete_all<'a>(host: &Host, deletions: &'a [Deletion]) -> Vec<(&'a Path, StorageError)> {
        let mut failed = Vec::new();
        let mut taken: BTreeMap<&Path, Vec<(&'a Deletion, PathBuf)>> = BTreeMap::new();
        for deletion in deletions {
            match (deletion.take_away(host), deletion.path().parent()) {
                (Ok(Some(target)), Some(parent)) => taken.entry(parent).or_default().push((deletion, target)),
                (Ok(_), _) => {}
                (Err(error), _) => failed.push((deletion.path(), error)),
            }
        }
        for (parent, taken) in taken {
            let synced = host.env().disk().sync_dir(parent).at("sync", parent);
            for (deletion, target) in taken {
                match &synced {
                    Ok(()) => host.remove_later(vec![target], true, deletion.delay_ms()),
                    // The names may come back with a power cut: then the files should be there.
                    Err(error) => failed.push((deletion.path(), error.clone())),
                }
            }
        }
        failed
    }

    /// Out of service, and under another name, if it has a directory. That name is not synced.
    fn take_away(&self) -> Result<Option<PathBuf>, StorageError> {
        let _trim = self.trim.lock();
        let mut state = self.state.write();
        state.closed = true;
        self.recount_unsynced(&mut state);
        for segment in state.segments.iter() {
            segment.mark_removed();
        }
        if !state.made {
            return Ok(None);
        }
        let target = hide(&self.host, &self.path)?;
        state.made = false;
        Ok(Some(target))
    }
}

/// What of a partition is to be deleted.
pub enum Deletion {
    Opened(Arc<Partition>),
    /// A directory that nobody has opened, nor will.
    Unopened {
        path: PathBuf,
        delay_ms: i64,
    },
}

impl Deletion {
    fn path(&self) -> &Path {
        match self {
            Deletion::Opened(partition) => &partition.path,
            Deletion::Unopened { path, .. } => path,
        }
    }

    fn delay_ms(&self) -> i64 {
        match self {
            Deletion::Opened(partition) => partition.config.load().file_delete_delay_ms,
            Deletion::Unopened { delay_ms, .. } => *delay_ms,
        }
    }

    fn take_away(&self, host: &Host) -> Result<Option<PathBuf>, StorageError> {
        match self {
            Deletion::Opened(partition) => partition.take_away(),
            Deletion::Unopened { path, .. } => hide(host, path).map(Some),
        }
    }
}

/// Gives a partition's directory a name that nobody looks for.
fn hide(host: &Host, path: &Path) -> Result<PathBuf, StorageError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let target = path.with_file_name(deleted_name(&name, &host.unique()));
    host.env().disk().rename(path, &target).at("rename", path)?;
    Ok(target)
}

/// Kafka's name of a deleted partition's directory, never longer than a file name may be.
fn deleted_name(name: &str, unique: &str) -> String {
    const NAME_MAX: usize = 255;
    let suffix = format!(".{unique}{}", names::DELETE_DIR_SUFFIX);
    let keep = NAME_MAX.saturating_sub(suffix.len()).min(name.len());
    format!("{}{suffix}", &name[..keep])
}
