//! What the engine knows of the disks under it: which failed, which are full, and whether they keep up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::StorageError;
use ottla_log::commit::Host;
use ottla_log::directory::META_PROPERTIES;
use ottla_log::partition::OpenHint;
use tracing::{info, warn};

use crate::engine::{Engine, Inner};
use crate::readers::Readers;
use crate::replica::{Place, off_the_network};
use crate::until::until;

/// What is told of the disks that data lies on.
pub struct Disks {
    /// Partitions that a failing disk took out of service since the start.
    pub failures: u64,
    pub directories_offline: Vec<PathBuf>,
    /// Those whose reserve is out: no records are taken there.
    pub directories_full: Vec<PathBuf>,
    /// Past the durable offsets, in all partitions.
    pub unsynced_bytes: u64,
}

/// Tries the kernel's short cuts in each directory, and says which are used.
pub(crate) fn try_fast_paths(host: &Host, directories: &[PathBuf]) {
    let disk = host.env().disk();
    for path in directories {
        if let Err(failure) = disk.try_fast_paths(&path.join(META_PROPERTIES)) {
            warn!("the kernel's short cuts were not tried in {}: {failure}", path.display());
        }
    }
    let fast_paths = disk.fast_paths();
    if !fast_paths.is_empty() {
        let words: Vec<String> = fast_paths.iter().map(|(path, state)| format!("{} {state}", path.name())).collect();
        info!("the kernel's short cuts: {}", words.join(", "));
    }
}

/// What the log does on a thread of the network and waits for.
pub(crate) fn aside(work: &mut dyn FnMut()) {
    off_the_network(work);
}

/// When a directory goes offline so does everything in it, opened or not, and everybody who waits is told.
pub(crate) fn watch_directories(inner: &Arc<Inner>) {
    for directory in &*inner.directories.lock() {
        let (path, inner) = (directory.path().to_owned(), Arc::downgrade(inner));
        directory.health().set_observer(Box::new(move |reason| {
            let Some(inner) = inner.upgrade() else { return };
            let image = inner.image.load();
            for state in image.by_name.values().flat_map(|topic| &topic.partitions) {
                if state.replica.path().parent() == Some(&path) {
                    state.replica.take_offline(reason);
                }
            }
            if inner.metadata.partition().path().parent() == Some(&path) {
                inner.metadata.partition().take_offline(reason);
            }
        }));
    }
}

impl Engine {
    /// Whether appends should wait: there is too much that the disk has not taken yet (`ottla.flush.wait.bytes`).
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.host.is_over()
    }

    /// Returns once appends need not wait.
    pub async fn relieved(&self) {
        until(&self.relief, || !self.is_over()).await;
    }

    /// Who waits for the disks in the place of the network's threads.
    #[must_use]
    pub fn readers(&self) -> &[Arc<Readers>] {
        &self.readers
    }

    /// A place in one of the data directories.
    pub(crate) fn placed(&self, directory: usize, path: PathBuf, hint: OpenHint, has_files: bool) -> Place {
        let readers = self.readers.get(directory).cloned().unwrap_or_default();
        Place { host: Arc::clone(&self.host), readers, path, hint, has_files }
    }

    /// What `status()` tells of the disks.
    #[must_use]
    pub fn disks(&self) -> Disks {
        let directories = self.inner.directories.lock();
        let offline = directories.iter().filter(|directory| directory.health().offline().is_some());
        Disks {
            failures: self.host.failures(),
            directories_offline: offline.map(|directory| directory.path().to_owned()).collect(),
            directories_full: directories
                .iter()
                .filter(|directory| directory.health().is_short())
                .map(|directory| directory.path().to_owned())
                .collect(),
            unsynced_bytes: self.host.unsynced_bytes(),
        }
    }

    /// Why nothing in a data directory is served, if nothing is.
    #[must_use]
    pub fn directory_failure(&self, path: &Path) -> Option<Arc<StorageError>> {
        self.inner.directories.lock().iter().find(|directory| directory.path() == path)?.health().offline()
    }
}
