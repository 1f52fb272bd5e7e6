//! What the partitions of one engine share: the door to disk and clock, the threads that commit, and the files waiting to be removed.
//!
//! A commit thread takes a partition off the queue and syncs it ([`Partition`]'s group commit); several threads issue syncs of
//! different partitions at once, so that the file system can merge them. A partition is queued at most once: whoever appends while its
//! commit runs is covered by the next round, which the thread queues itself, behind the others.
//!
//! Each data directory has a pool of its own: a disk that is slow, or answers no more, holds up no commit on another.
//!
//! What is past the durable offsets is counted here for all partitions: from `flush_start_bytes` on the flusher (`maintenance.rs`) has the
//! pool sync those with most of it, whatever their durability; from `flush_wait_bytes` on appenders are asked to wait.

mod turns;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use self::turns::{Turn, Turns};
use crate::env::Env;
use crate::error::StorageError;
use crate::health::Health;
use crate::open_files::OpenFiles;
use crate::partition::Partition;

/// What all partitions share beside the disk.
#[derive(Clone, Debug)]
pub struct HostSettings {
    /// For each data directory.
    pub commit_threads: usize,
    /// `num.recovery.threads.per.data.dir`: so many open the partitions of a data directory after a crash.
    pub recovery_threads: usize,
    /// `ottla.disk.reserve.bytes`: kept in each data directory for what must be written on a full disk; 0: nothing.
    pub reserve_bytes: u64,
    /// `ottla.flush.start.bytes`: with so many bytes past the durable offsets of all partitions the flusher begins.
    pub flush_start_bytes: u64,
    /// `ottla.flush.wait.bytes`: with so many appenders wait.
    pub flush_wait_bytes: u64,
}

impl Default for HostSettings {
    fn default() -> HostSettings {
        HostSettings {
            commit_threads: 4,
            recovery_threads: 2,
            reserve_bytes: 4 << 20,
            flush_start_bytes: 1 << 30,
            flush_wait_bytes: 2 << 30,
        }
    }
}

type Hook = Box<dyn Fn() + Send + Sync>;

/// Does the work it is handed, once, where it holds up nobody else.
pub type Aside = fn(&mut dyn FnMut());

/// How much there is to sync, and who wants to know.
#[derive(Default)]
struct Unsynced {
    bytes: AtomicU64,
    waiting: Mutex<()>,
    relieved: Condvar,
    pressure: Mutex<Option<Hook>>,
    relief: Mutex<Option<Hook>>,
}

impl std::fmt::Debug for Unsynced {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Unsynced({:?})", self.bytes)
    }
}

fn call(hook: &Mutex<Option<Hook>>) {
    if let Some(hook) = hook.lock().as_ref() {
        hook();
    }
}

/// See the module.
#[derive(Debug)]
pub struct Host {
    env: Env,
    /// The first is for partitions outside of data directories too.
    lanes: Mutex<Vec<Lane>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    doomed: Mutex<Vec<Doomed>>,
    commits: Arc<AtomicU64>,
    names_given: AtomicU64,
    settings: HostSettings,
    /// Of the data directories that are open.
    healths: Mutex<Vec<Weak<Health>>>,
    failures: AtomicU64,
    unsynced: Unsynced,
    open_files: OpenFiles,
    aside: OnceLock<Aside>,
}

/// The commits of one data directory.
#[derive(Debug)]
struct Lane {
    /// None until the first one is opened.
    directory: Option<PathBuf>,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    turns: Mutex<Turns<Arc<Partition>>>,
    wake: Condvar,
    has_threads: OnceLock<()>,
}

/// Files or a directory to be removed once `due_ms` (monotonic) has come.
#[derive(Debug)]
struct Doomed {
    due_ms: i64,
    paths: Vec<PathBuf>,
    is_dir: bool,
}

impl Host {
    /// `threads` commit threads; 0: every append in `fsync` mode syncs before it returns.
    pub fn new(env: Env, threads: usize) -> Arc<Host> {
        Host::with(env, HostSettings { commit_threads: threads, ..HostSettings::default() })
    }

    pub fn with(env: Env, settings: HostSettings) -> Arc<Host> {
        let host = Arc::new(Host {
            env,
            lanes: Mutex::default(),
            threads: Mutex::default(),
            doomed: Mutex::new(Vec::new()),
            commits: Arc::default(),
            names_given: AtomicU64::new(0),
            settings,
            healths: Mutex::new(Vec::new()),
            failures: AtomicU64::new(0),
            unsynced: Unsynced::default(),
            open_files: OpenFiles::for_this_process(),
            aside: OnceLock::new(),
        });
        host.add_lane(&mut host.lanes.lock(), None);
        host
    }

    fn add_lane(&self, lanes: &mut Vec<Lane>, directory: Option<&Path>) {
        let queue = Arc::new(Queue::default());
        let mut threads = self.threads.lock();
        let before = threads.len();
        for index in before..before + self.settings.commit_threads {
            let (queue, commits) = (queue.clone(), self.commits.clone());
            let thread = std::thread::Builder::new().name(format!("ottla-commit-{index}"));
            match thread.spawn(move || serve(&queue, &commits)) {
                Ok(handle) => threads.push(handle),
                // Fewer threads commit more slowly; with none, appenders commit themselves.
                Err(error) => tracing::error!(%error, "cannot start a commit thread"),
            }
        }
        if threads.len() > before {
            let _ = queue.has_threads.set(());
        }
        lanes.push(Lane { directory: directory.map(Path::to_path_buf), queue });
    }

    fn queues(&self) -> Vec<Arc<Queue>> {
        self.lanes.lock().iter().map(|lane| lane.queue.clone()).collect()
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    pub fn settings(&self) -> &HostSettings {
        &self.settings
    }

    /// A data directory was opened.
    pub(crate) fn add_health(&self, health: &Arc<Health>) {
        let mut healths = self.healths.lock();
        healths.retain(|known| known.strong_count() > 0);
        healths.push(Arc::downgrade(health));
        let mut lanes = self.lanes.lock();
        if lanes.iter().any(|lane| lane.directory.as_deref() == Some(health.path())) {
            return;
        }
        match lanes.iter_mut().find(|lane| lane.directory.is_none()) {
            Some(lane) => lane.directory = Some(health.path().to_path_buf()),
            None => self.add_lane(&mut lanes, Some(health.path())),
        }
    }

    pub(crate) fn health_of(&self, directory: &Path) -> Option<Arc<Health>> {
        // The newest first: one that was closed may be held by its partitions still.
        self.healths.lock().iter().rev().filter_map(Weak::upgrade).find(|health| health.path() == directory)
    }

    /// Partitions that went offline since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes past the durable offsets of all partitions: what a power cut would take of what is not promised.
    pub fn unsynced_bytes(&self) -> u64 {
        self.unsynced.bytes.load(Ordering::Acquire)
    }

    /// Appenders should wait: the disk does not keep up.
    pub fn is_over(&self) -> bool {
        self.unsynced_bytes() >= self.settings.flush_wait_bytes
    }

    /// Waits until appenders need not; false when that took too long.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        let mut guard = self.unsynced.waiting.lock();
        !self.unsynced.relieved.wait_while_for(&mut guard, |()| self.is_over(), timeout).timed_out()
    }

    /// `hook` is called when the flusher should look. It must not block nor ask a partition anything.
    pub(crate) fn on_pressure(&self, hook: Hook) {
        *self.unsynced.pressure.lock() = Some(hook);
    }

    /// `hook` is called when appenders need not wait any more. It must not block nor ask a partition anything.
    pub fn on_relief(&self, hook: Hook) {
        *self.unsynced.relief.lock() = Some(hook);
    }

    /// A partition has `now` bytes to sync, and had `before`.
    pub(crate) fn count_unsynced(&self, before: u64, now: u64) {
        let (start, wait) = (self.settings.flush_start_bytes, self.settings.flush_wait_bytes);
        if now >= before {
            let total = self.unsynced.bytes.fetch_add(now - before, Ordering::AcqRel);
            if total < start && total + (now - before) >= start {
                call(&self.unsynced.pressure);
            }
            return;
        }
        let total = self.unsynced.bytes.fetch_sub(before - now, Ordering::AcqRel);
        let left = total - (before - now);
        if left >= start {
            call(&self.unsynced.pressure);
        }
        if total >= wait && left < wait {
            drop(self.unsynced.waiting.lock());
            self.unsynced.relieved.notify_all();
            call(&self.unsynced.relief);
        }
    }

    /// Data directories whose reserve is out ask for it again.
    pub fn retake_reserves(&self) {
        let healths: Vec<Arc<Health>> = self.healths.lock().iter().filter_map(Weak::upgrade).collect();
        for health in healths.iter().filter(|health| health.is_short()) {
            health.retake();
        }
    }

    /// From now on an append that comes upon slow work (a new segment) has it done by `aside`. The first one set counts.
    pub fn do_slow_work_by(&self, aside: Aside) {
        let _ = self.aside.set(aside);
    }

    /// Does `work`, which waits for the disk, on this thread, which may have others to serve.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        let Some(aside) = self.aside.get() else { return work() };
        let (mut work, mut result) = (Some(work), None);
        aside(&mut || {
            if let Some(work) = work.take() {
                result = Some(work());
            }
        });
        match (result, work) {
            (Some(result), _) => result,
            (None, Some(work)) => work(),
            (None, None) => unreachable!("work that was done has a result"),
        }
    }

    /// Which segments of these partitions keep their files open.
    pub(crate) fn open_files(&self) -> &OpenFiles {
        &self.open_files
    }

    /// Does `work`, and once more with some segments closed if there was no descriptor left for it.
    pub fn with_descriptors<T>(&self, mut work: impl FnMut() -> Result<T, StorageError>) -> Result<T, StorageError> {
        match work() {
            Err(error) if error.is_no_descriptor() => {
                self.open_files.make_room();
                work()
            }
            result => result,
        }
    }

    /// 32 hexadecimal digits that no other name in these directories has: wall clock, process and a count.
    pub(crate) fn unique(&self) -> String {
        let count = self.names_given.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}{:08x}{:08x}", self.env.clock().now_ms(), std::process::id(), count as u32)
    }

    /// How many group commits the threads have done.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// False: there is no thread to do it.
    pub(crate) fn queue_commit(&self, partition: &Arc<Partition>) -> bool {
        self.queue(partition, Turns::commit)
    }

    /// A commit that nobody waits for. False: there is no thread to spare for it.
    pub(crate) fn queue_write_out(&self, partition: &Arc<Partition>) -> bool {
        self.settings.commit_threads > 1 && self.queue(partition, Turns::write_out)
    }

    fn queue(&self, partition: &Arc<Partition>, place: fn(&mut Turns<Arc<Partition>>, Arc<Partition>)) -> bool {
        let queue = {
            let lanes = self.lanes.lock();
            let own = lanes.iter().find(|lane| lane.directory.as_deref() == partition.path().parent());
            let Some(lane) = own.or(lanes.first()) else { return false };
            lane.queue.clone()
        };
        let mut turns = queue.turns.lock();
        if queue.has_threads.get().is_none() || turns.stopping {
            return false;
        }
        place(&mut turns, partition.clone());
        drop(turns);
        queue.wake.notify_one();
        true
    }

    /// Removes `paths` once `delay_ms` have passed; at once for 0.
    pub(crate) fn remove_later(&self, paths: Vec<PathBuf>, is_dir: bool, delay_ms: i64) {
        if paths.is_empty() {
            return;
        }
        let due_ms = self.env.clock().monotonic_ms().saturating_add(delay_ms.max(0));
        self.doomed.lock().push(Doomed { due_ms, paths, is_dir });
        if delay_ms <= 0 {
            self.remove_due();
        }
    }

    /// Removes what is due; how many files and directories went.
    pub fn remove_due(&self) -> usize {
        let now_ms = self.env.clock().monotonic_ms();
        let due: Vec<Doomed> = {
            let mut doomed = self.doomed.lock();
            let (due, rest) = std::mem::take(&mut *doomed).into_iter().partition(|doomed| doomed.due_ms <= now_ms);
            *doomed = rest;
            due
        };
        let mut removed = 0;
        for doomed in due {
            for path in doomed.paths {
                let result = if doomed.is_dir {
                    self.env.disk().remove_dir_all(&path)
                } else {
                    self.env.disk().remove_file(&path)
                };
                match result {
                    Ok(()) => removed += 1,
                    // What is not removed now goes when the directory is opened the next time.
                    Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove"),
                }
            }
        }
        removed
    }

    /// Finishes the commits that are queued and ends the threads. Appends in `fsync` mode then sync themselves.
    pub fn stop(&self) {
        for queue in self.queues() {
            queue.stop();
        }
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a commit thread panicked");
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Not joined: the last reference may be dropped by a commit thread itself.
        for queue in self.queues() {
            queue.stop();
        }
    }
}

impl Queue {
    fn stop(&self) {
        self.turns.lock().stopping = true;
        self.wake.notify_all();
    }
}

fn serve(queue: &Queue, commits: &AtomicU64) {
    loop {
        let turn = {
            let mut turns = queue.turns.lock();
            loop {
                if let Some(turn) = turns.next() {
                    break turn;
                }
                if turns.stopping {
                    return;
                }
                queue.wake.wait(&mut turns);
            }
        };
        match turn {
            Turn::Commit(partition) => {
                partition.gather();
                let again = partition.commit_once();
                commits.fetch_add(1, Ordering::Relaxed);
                if !again {
                    continue;
                }
                queue.turns.lock().commit(partition);
            }
            Turn::WriteOut(partition) => {
                partition.write_out();
                queue.turns.lock().written_out(partition);
            }
        }
        queue.wake.notify_one();
    }
}
