//! A file system in memory: for tests, and for a broker without a data directory.
//!
//! Files keep their bytes in 64 KiB chunks so that an append never copies what is there. A removed file lives on for those who have it
//! open, as on a real disk. Locks work between all users of one `MemoryDisk`.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};

use super::{DirEntry, DirLock, Disk, File, OpenMode};

const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Names {
    files: BTreeMap<PathBuf, Arc<MemoryFile>>,
    directories: HashSet<PathBuf>,
}

#[derive(Debug, Default)]
pub struct MemoryDisk {
    names: Mutex<Names>,
    locks: Arc<Mutex<HashSet<PathBuf>>>,
}

impl MemoryDisk {
    pub fn new() -> MemoryDisk {
        MemoryDisk::default()
    }

    /// Paths of all files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.names.lock().files.keys().cloned().collect()
    }

    /// Files that have a name, and their bytes.
    pub fn used(&self) -> (usize, u64) {
        let names = self.names.lock();
        (names.files.len(), names.files.values().map(|file| file.content.read().length).sum())
    }
}

#[derive(Debug, Default)]
struct Content {
    chunks: Vec<Box<[u8]>>,
    length: u64,
}

#[derive(Debug, Default)]
struct MemoryFile {
    content: RwLock<Content>,
    modified_ms: AtomicI64,
}

/// One opening of a file; only [`OpenMode::Read`] refuses writes.
#[derive(Debug)]
struct Handle {
    file: Arc<MemoryFile>,
    writable: bool,
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut names = self.names.lock();
        let found = names.files.get(path).cloned();
        let file = match (found, mode) {
            (Some(file), OpenMode::Truncate) => {
                *file.content.write() = Content::default();
                file
            }
            (Some(file), _) => file,
            (None, OpenMode::Read | OpenMode::Write) => return Err(not_found(path)),
            (None, OpenMode::Create | OpenMode::Truncate) => {
                match path.parent() {
                    Some(parent) if !names.directories.contains(parent) => {
                        return Err(not_found(parent));
                    }
                    _ => {}
                }
                let file = Arc::new(MemoryFile::default());
                file.touch();
                names.files.insert(path.to_path_buf(), file.clone());
                file
            }
        };
        Ok(Arc::new(Handle { file, writable: mode != OpenMode::Read }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let names = self.names.lock();
        Ok(names.files.contains_key(path) || names.directories.contains(path))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        for ancestor in path.ancestors() {
            if !names.directories.insert(ancestor.to_path_buf()) {
                break;
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let names = self.names.lock();
        if !names.directories.contains(path) {
            return Err(not_found(path));
        }
        let name_of = |child: &Path| child.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let mut entries: Vec<DirEntry> = names
            .files
            .range(path.to_path_buf()..)
            .take_while(|(child, _)| child.starts_with(path))
            .filter(|(child, _)| child.parent() == Some(path))
            .map(|(child, file)| DirEntry {
                name: name_of(child),
                is_dir: false,
                length: file.content.read().length,
                modified_ms: file.modified_ms.load(Ordering::Relaxed),
            })
            .collect();
        entries.extend(names.directories.iter().filter(|child| child.parent() == Some(path)).map(|child| DirEntry {
            name: name_of(child),
            is_dir: true,
            length: 0,
            modified_ms: 0,
        }));
        entries.sort();
        Ok(entries)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        if let Some(file) = names.files.remove(from) {
            names.files.insert(to.to_path_buf(), file);
            return Ok(());
        }
        if !names.directories.contains(from) {
            return Err(not_found(from));
        }
        let moved = |path: &Path| {
            path.strip_prefix(from)
                .ok()
                .map(|rest| if rest.as_os_str().is_empty() { to.to_path_buf() } else { to.join(rest) })
        };
        names.directories = names.directories.iter().map(|path| moved(path).unwrap_or_else(|| path.clone())).collect();
        let files = std::mem::take(&mut names.files);
        names.files = files.into_iter().map(|(path, file)| (moved(&path).unwrap_or(path), file)).collect();
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.names.lock().files.remove(path).map(|_| ()).ok_or_else(|| not_found(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut names = self.names.lock();
        if !names.directories.contains(path) {
            return Err(not_found(path));
        }
        names.files.retain(|child, _| !child.starts_with(path));
        names.directories.retain(|child| !child.starts_with(path));
        Ok(())
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }

    fn open_direct(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        self.open(path, OpenMode::Read).map(Some)
    }

    /// Memory that is set aside is memory that is gone: there is nothing to give back.
    fn reserve(&self, _path: &Path, _bytes: u64) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        if !self.locks.lock().insert(path.to_path_buf()) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let held =
            HeldLock { path: path.to_path_buf(), locks: self.locks.clone(), file: self.open(path, OpenMode::Create)? };
        Ok(Box::new(held))
    }
}

#[derive(Debug)]
struct HeldLock {
    path: PathBuf,
    locks: Arc<Mutex<HashSet<PathBuf>>>,
    file: Arc<dyn File>,
}

impl DirLock for HeldLock {
    fn write_owner(&self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_at(&mut [IoSlice::new(text.as_bytes())], 0)
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.locks.lock().remove(&self.path);
    }
}

impl MemoryFile {
    fn touch(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.modified_ms.store(i64::try_from(now.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

impl Content {
    fn resize(&mut self, length: u64) {
        let chunks = usize::try_from(length).unwrap_or(usize::MAX).div_ceil(CHUNK_BYTES);
        if length < self.length && !length.is_multiple_of(CHUNK_BYTES as u64) {
            // What is cut must read as zero if the file grows again.
            let keep = (length % CHUNK_BYTES as u64) as usize;
            if let Some(last) = self.chunks.get_mut(chunks - 1) {
                last[keep..].fill(0);
            }
        }
        self.chunks.resize_with(chunks, || vec![0; CHUNK_BYTES].into_boxed_slice());
        self.length = length;
    }
}

impl File for Handle {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let content = self.file.content.read();
        let end = content.length.min(position.saturating_add(buffer.len() as u64));
        let mut done = 0;
        while position + (done as u64) < end {
            let at = (position + done as u64) as usize;
            let chunk = &content.chunks[at / CHUNK_BYTES][at % CHUNK_BYTES..];
            let length = chunk.len().min((end - at as u64) as usize);
            buffer[done..done + length].copy_from_slice(&chunk[..length]);
            done += length;
        }
        Ok(done)
    }

    fn write_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut content = self.file.content.write();
        let end = position + total as u64;
        if end > content.length {
            content.resize(end);
        }
        let mut at = position as usize;
        for slice in slices.iter() {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() {
                let chunk = &mut content.chunks[at / CHUNK_BYTES][at % CHUNK_BYTES..];
                let length = chunk.len().min(rest.len());
                chunk[..length].copy_from_slice(&rest[..length]);
                at += length;
                rest = &rest[length..];
            }
        }
        drop(content);
        self.file.touch();
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        self.file.content.write().resize(length);
        self.file.touch();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.file.content.read().length)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
