//! A disk in memory whose power can go: then it keeps what was synced, and any legal part of what was not.
//!
//! ```text
//! bytes of a file      each sector of 512 bytes as it was at some time since the last sync of the file; the length likewise, with zeroes
//!                      where no data came ([`content`])
//! names of a directory those changes since its last sync that came first, however many; other directories, and the bytes of the files,
//!                      have fates of their own
//! ```
//!
//! Names change in order within a directory, as in every journalling file system (ext4, XFS, btrfs); POSIX promises less. A power cut
//! comes when [`PowerDisk::cut_after`] says so, in the middle of an operation: from then on everything fails, until
//! [`PowerDisk::power_on`] decides what was kept. If it was the process that died there and not the power, everything is where it was
//! left: [`PowerDisk::start_again`].

pub mod content;
mod handle;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use ottla_log::env::{DirEntry, DirLock, Disk, File, OpenMode};
use parking_lot::Mutex;

use crate::random::Random;
use content::Content;
use handle::{Handle, HeldLock};

type Inode = u64;
const ROOT: Inode = 0;

#[derive(Debug)]
enum Node {
    File(Content),
    Directory(Directory),
}

#[derive(Debug, Default)]
struct Directory {
    live: BTreeMap<String, Inode>,
    synced: BTreeMap<String, Inode>,
    changes: Vec<NameChange>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(String, Inode),
    Unlink(String),
    Rename(String, String),
}

#[derive(Debug)]
struct State {
    nodes: HashMap<Inode, Node>,
    next: Inode,
    is_on: bool,
    /// Changing operations left before the power goes.
    left: Option<u64>,
    /// Counts processes: descriptors of one that died are dead.
    life: u64,
    /// Counts kernels.
    boot: u64,
    /// Changing operations so far.
    operations: u64,
    locks: HashSet<PathBuf>,
    random: Random,
    modified_ms: i64,
}

#[derive(Clone, Debug)]
pub struct PowerDisk {
    state: Arc<Mutex<State>>,
}

/// What a disk without power answers.
fn no_power() -> io::Error {
    io::Error::from(rustix::io::Errno::IO)
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{} does not exist", path.display()))
}

fn apply(names: &mut BTreeMap<String, Inode>, change: &NameChange) {
    match change {
        NameChange::Link(name, inode) => {
            names.insert(name.clone(), *inode);
        }
        NameChange::Unlink(name) => {
            names.remove(name);
        }
        NameChange::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
    }
}

impl Directory {
    fn change(&mut self, change: NameChange) {
        apply(&mut self.live, &change);
        self.changes.push(change);
    }

    fn sync(&mut self) {
        self.synced.clone_from(&self.live);
        self.changes.clear();
    }

    fn cut(&mut self, fate: Fate, random: &mut Random) {
        let kept = match fate.or(random) {
            Fate::Nothing => 0,
            Fate::Everything => self.changes.len(),
            Fate::Chance => random.below(self.changes.len() + 1),
        };
        for change in self.changes.drain(..kept) {
            apply(&mut self.synced, &change);
        }
        self.changes.clear();
        self.live.clone_from(&self.synced);
    }
}

/// What becomes of a change that was not synced when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Each has its own.
    Chance,
    Nothing,
    Everything,
}

impl Fate {
    /// For one file or directory: often everything or nothing of it got there.
    fn or(self, random: &mut Random) -> Fate {
        match (self, random.below(4)) {
            (Fate::Chance, 0) => Fate::Nothing,
            (Fate::Chance, 1) => Fate::Everything,
            (fate, _) => fate,
        }
    }
}

/// What one changing operation may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    Stays,
    /// It goes now, and what was asked for is still begun.
    GoesAfter,
    /// It goes now, before anything was done.
    GoesBefore,
}

impl State {
    fn check(&self) -> io::Result<()> {
        if self.is_on { Ok(()) } else { Err(no_power()) }
    }

    /// Every changing operation asks here first.
    fn spend(&mut self) -> io::Result<Power> {
        self.check()?;
        self.operations += 1;
        match &mut self.left {
            None => Ok(Power::Stays),
            Some(0) => {
                self.is_on = false;
                self.left = None;
                Ok(if self.random.flip() { Power::GoesAfter } else { Power::GoesBefore })
            }
            Some(left) => {
                *left -= 1;
                Ok(Power::Stays)
            }
        }
    }

    /// Does a changing operation, or part of the way to it.
    fn doing<T>(&mut self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        match self.spend()? {
            Power::Stays => work(self),
            Power::GoesBefore => Err(no_power()),
            Power::GoesAfter => {
                let _ = work(self);
                Err(no_power())
            }
        }
    }

    fn start_again(&mut self) {
        self.locks.clear();
        self.left = None;
        self.is_on = true;
        self.life += 1;
    }

    /// What each file and directory is called now.
    fn names(&self) -> HashMap<Inode, String> {
        let of = |node: &Node| match node {
            Node::Directory(directory) => directory.live.iter().map(|(name, inode)| (*inode, name.clone())).collect(),
            Node::File(_) => Vec::new(),
        };
        self.nodes.values().flat_map(of).collect()
    }

    fn find(&self, path: &Path) -> io::Result<Inode> {
        let mut at = ROOT;
        for component in path.components() {
            if let Component::Normal(name) = component {
                let name = name.to_str().unwrap_or_default();
                at = *self.directory(at, path)?.live.get(name).ok_or_else(|| not_found(path))?;
            }
        }
        Ok(at)
    }

    fn directory(&self, inode: Inode, path: &Path) -> io::Result<&Directory> {
        match self.nodes.get(&inode) {
            Some(Node::Directory(directory)) => Ok(directory),
            _ => Err(not_found(path)),
        }
    }

    fn directory_mut(&mut self, inode: Inode, path: &Path) -> io::Result<&mut Directory> {
        match self.nodes.get_mut(&inode) {
            Some(Node::Directory(directory)) => Ok(directory),
            _ => Err(not_found(path)),
        }
    }

    fn file_mut(&mut self, inode: Inode) -> io::Result<&mut Content> {
        match self.nodes.get_mut(&inode) {
            Some(Node::File(content)) => Ok(content),
            _ => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        }
    }

    /// The directory that names `path`, and the name.
    fn parent(&self, path: &Path) -> io::Result<(Inode, String)> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| not_found(path))?;
        Ok((self.find(path.parent().unwrap_or(Path::new("/")))?, name.to_owned()))
    }

    fn make(&mut self, path: &Path, node: Node) -> io::Result<Inode> {
        let (parent, name) = self.parent(path)?;
        self.next += 1;
        let inode = self.next;
        self.directory_mut(parent, path)?.change(NameChange::Link(name, inode));
        self.nodes.insert(inode, node);
        Ok(inode)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let directory = self.directory_mut(parent, path)?;
        if !directory.live.contains_key(&name) {
            return Err(not_found(path));
        }
        directory.change(NameChange::Unlink(name));
        Ok(())
    }
}

impl PowerDisk {
    #[must_use]
    pub fn new(seed: u64, modified_ms: i64) -> PowerDisk {
        let nodes = HashMap::from([(ROOT, Node::Directory(Directory::default()))]);
        let state = State {
            nodes,
            next: ROOT,
            is_on: true,
            left: None,
            life: 0,
            boot: 0,
            operations: 0,
            locks: HashSet::new(),
            random: Random::new(seed),
            modified_ms,
        };
        PowerDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// The power goes, or the process dies, in the middle of the changing operation after the next `operations`. None: it stays.
    pub fn cut_after(&self, operations: Option<u64>) {
        self.state.lock().left = operations;
    }

    #[must_use]
    pub fn is_on(&self) -> bool {
        self.state.lock().is_on
    }

    /// Changing operations so far: writes, syncs, and everything that makes or changes a name.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// The power is cut, if it was not yet, and comes back: what was kept is decided now. Locks are free.
    pub fn power_on(&self) {
        self.power_on_with(Fate::Chance);
    }

    /// The same, with the fate of what was not synced decided.
    pub fn power_on_with(&self, fate: Fate) {
        self.power_on_by(|_| fate);
    }

    /// The same, decided for each file and directory by its name.
    pub fn power_on_by(&self, fate_of: impl Fn(&str) -> Fate) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let names = state.names();
        let mut inodes: Vec<Inode> = state.nodes.keys().copied().collect();
        // The order of a hash map is no part of the seed.
        inodes.sort_unstable();
        for inode in inodes {
            let fate = fate_of(names.get(&inode).map_or("", String::as_str));
            match state.nodes.get_mut(&inode) {
                Some(Node::File(content)) => content.cut(fate, &mut state.random),
                Some(Node::Directory(directory)) => directory.cut(fate, &mut state.random),
                None => {}
            }
        }
        state.boot += 1;
        state.start_again();
    }

    /// The process died, if it did not yet, and nothing else: what it did is there, locks are free.
    pub fn start_again(&self) {
        self.state.lock().start_again();
    }
}

impl Disk for PowerDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.check()?;
        let inode = match (state.find(path), mode) {
            (Ok(inode), OpenMode::Truncate) => {
                if state.file_mut(inode)?.length() > 0 {
                    state.doing(|state| {
                        state.file_mut(inode)?.set_length(0);
                        Ok(())
                    })?;
                }
                inode
            }
            (Ok(inode), _) => inode,
            (Err(_), OpenMode::Create | OpenMode::Truncate) => {
                state.doing(|state| state.make(path, Node::File(Content::default())))?
            }
            (Err(error), OpenMode::Read | OpenMode::Write) => return Err(error),
        };
        let handle = Handle { disk: self.clone(), inode, life: state.life, writable: mode != OpenMode::Read };
        Ok(Arc::new(handle))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        state.check()?;
        Ok(state.find(path).is_ok())
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check()?;
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            if state.find(ancestor).is_err() {
                state.doing(|state| state.make(ancestor, Node::Directory(Directory::default())))?;
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state.lock();
        state.check()?;
        let directory = state.directory(state.find(path)?, path)?;
        let entry = |(name, inode): (&String, &Inode)| {
            let (is_dir, length) = match state.nodes.get(inode) {
                Some(Node::File(content)) => (false, content.length() as u64),
                _ => (true, 0),
            };
            DirEntry { name: name.clone(), is_dir, length, modified_ms: state.modified_ms }
        };
        Ok(directory.live.iter().map(entry).collect())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from.parent() != to.parent() {
            return Err(io::Error::from(io::ErrorKind::Unsupported));
        }
        let mut state = self.state.lock();
        state.check()?;
        state.find(from)?;
        state.doing(|state| {
            let (parent, name) = state.parent(from)?;
            let (_, target) = state.parent(to)?;
            state.directory_mut(parent, from)?.change(NameChange::Rename(name, target));
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check()?;
        state.find(path)?;
        state.doing(|state| state.unlink(path))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        for entry in self.list(path)? {
            let child = path.join(&entry.name);
            if entry.is_dir { self.remove_dir_all(&child)? } else { self.remove_file(&child)? }
        }
        self.state.lock().doing(|state| state.unlink(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.check()?;
        let inode = state.find(path)?;
        state.doing(|state| {
            state.directory_mut(inode, path)?.sync();
            Ok(())
        })
    }

    fn space(&self, _path: &Path) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }

    fn boot_id(&self) -> Option<String> {
        Some(self.state.lock().boot.to_string())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let file = self.open(path, OpenMode::Create)?;
        let mut state = self.state.lock();
        if !state.locks.insert(path.to_path_buf()) {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let held = HeldLock { disk: self.clone(), path: path.to_path_buf(), life: state.life, file };
        Ok(Box::new(held))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        state.check()?;
        Ok(state.locks.contains(path))
    }
}
