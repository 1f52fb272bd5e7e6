//! Where tests keep what they write: in memory, or, with `OTTLA_DISK=portable`, in files of the portable disk under a folder that goes with
//! the value. So the same tests hold for both.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::memory::MemoryDisk;
use super::portable::PortableDisk;
use super::{Choice, DirEntry, DirLock, Disk, File, OpenMode};

/// One whose names and bytes can be counted.
pub trait Counted: Disk {
    /// Paths of all files.
    fn files(&self) -> Vec<PathBuf>;
    /// Files that have a name, and their bytes.
    fn used(&self) -> (usize, u64);
}

impl Counted for MemoryDisk {
    fn files(&self) -> Vec<PathBuf> {
        MemoryDisk::files(self)
    }

    fn used(&self) -> (usize, u64) {
        MemoryDisk::used(self)
    }
}

/// An empty disk for a test.
pub fn scratch_disk() -> Arc<dyn Counted> {
    match Choice::of_process() {
        Choice::Native => Arc::new(MemoryDisk::new()),
        Choice::Portable => Arc::new(Rooted::new()),
    }
}

/// Every path lies in a folder of this value's own.
#[derive(Debug)]
struct Rooted {
    root: PathBuf,
    inner: PortableDisk,
}

impl Rooted {
    fn new() -> Rooted {
        let root = std::env::temp_dir().join(format!("ottla-scratch-{}-{}", std::process::id(), number()));
        let inner = PortableDisk;
        if let Err(error) = inner.create_dir_all(&root) {
            tracing::error!(root = %root.display(), %error, "a test has nowhere to write");
        }
        Rooted { root, inner }
    }

    fn place(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Counted for Rooted {
    fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut folders) = (Vec::new(), vec![PathBuf::from("/")]);
        while let Some(folder) = folders.pop() {
            for entry in self.list(&folder).unwrap_or_default() {
                let path = folder.join(&entry.name);
                if entry.is_dir { folders.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }

    fn used(&self) -> (usize, u64) {
        let files = self.files();
        let length = |path: &PathBuf| std::fs::metadata(self.place(path)).map_or(0, |metadata| metadata.len());
        (files.len(), files.iter().map(length).sum())
    }
}

/// Another one each time.
fn number() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

impl Drop for Rooted {
    fn drop(&mut self) {
        // What cannot be removed lies in the folder for what is temporary.
        let _ = self.inner.remove_dir_all(&self.root);
    }
}

impl Disk for Rooted {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.inner.open(&self.place(path), mode)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.inner.exists(&self.place(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(&self.place(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.inner.list(&self.place(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(&self.place(from), &self.place(to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(&self.place(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir_all(&self.place(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_dir(&self.place(path))
    }

    fn space(&self, path: &Path) -> io::Result<Option<(u64, u64)>> {
        self.inner.space(&self.place(path))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.inner.reserve(&self.place(path), bytes)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.inner.lock(&self.place(path))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.inner.is_locked(&self.place(path))
    }
}
