//! Compaction ends at every step it takes on the disk, by a crash or by a power cut that loses any part of what no sync covered: the
//! next start finds the old segments or the new one, every record that counts, and goes on.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::compact::{MAP, committed, compacted, contents, put, put_in};
use super::*;
use crate::batch::Marker;
use crate::compaction::Unhurried;
use crate::env::faulty::{EIO, ENOSPC, Fault, FaultyDisk};
use crate::env::memory::MemoryDisk;
use crate::env::{DirEntry, DirLock, Disk, File, OpenMode, read_file};

/// Names over numbered files in memory. After so many changes it is dead: every call fails.
#[derive(Debug, Default)]
struct Mortal {
    files: MemoryDisk,
    state: Mutex<Names>,
    next: AtomicU64,
    /// Changes left to live.
    life: AtomicI64,
}

#[derive(Clone, Debug, Default)]
struct Names {
    now: BTreeMap<PathBuf, u64>,
    synced: BTreeMap<PathBuf, u64>,
    /// Since the directory was synced, in order.
    pending: Vec<Change>,
    /// What a sync of the file covered.
    bytes: HashMap<u64, u64>,
}

#[derive(Clone, Debug)]
enum Change {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &Change) {
    match change {
        Change::Create(path, file) => {
            names.insert(path.clone(), *file);
        }
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Change::Remove(path) => {
            names.remove(path);
        }
    }
}

fn number(file: u64) -> PathBuf {
    PathBuf::from(format!("/files/{file}"))
}

#[derive(Debug)]
struct MortalFile {
    disk: Arc<Mortal>,
    number: u64,
    file: Arc<dyn File>,
}

/// The disk as the engine gets it.
#[derive(Debug)]
struct Handle(Arc<Mortal>);

impl Mortal {
    fn new() -> Arc<Mortal> {
        let disk = Mortal { life: AtomicI64::new(i64::MAX), ..Mortal::default() };
        disk.files.create_dir_all(Path::new("/files")).unwrap();
        Arc::new(disk)
    }

    fn alive(&self) -> io::Result<()> {
        if self.life.load(Ordering::SeqCst) > 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(5)) }
    }

    /// Before a change.
    fn age(&self) -> io::Result<()> {
        self.alive()?;
        self.life.fetch_sub(1, Ordering::SeqCst);
        self.alive()
    }

    fn change(&self, change: Change) {
        let mut state = self.state.lock();
        apply(&mut state.now, &change);
        state.pending.push(change);
    }

    /// What is there after the power went, when of the changes without a sync those in `kept` got through, each either way.
    fn after_power_cut(&self, kept: u64) -> Arc<Mortal> {
        let state = self.state.lock();
        let mut names = state.synced.clone();
        for (at, change) in state.pending.iter().enumerate() {
            if kept >> at & 1 == 1 {
                apply(&mut names, change);
            }
        }
        self.with_names(&names, |file, bytes| bytes.truncate(state.bytes.get(&file).copied().unwrap_or(0) as usize))
    }

    fn after_crash(&self) -> Arc<Mortal> {
        let names = self.state.lock().now.clone();
        self.with_names(&names, |_, _| {})
    }

    fn with_names(&self, names: &BTreeMap<PathBuf, u64>, cut: impl Fn(u64, &mut Vec<u8>)) -> Arc<Mortal> {
        let disk = Mortal::new();
        for (path, file) in names {
            let mut bytes = read_file(&self.files, &number(*file), u64::MAX).unwrap();
            cut(*file, &mut bytes);
            let made = Handle(disk.clone()).open(path, OpenMode::Create).unwrap();
            made.write_at(&mut [io::IoSlice::new(&bytes)], 0).unwrap();
            made.sync_data().unwrap();
        }
        Handle(disk.clone()).sync_dir(Path::new("/data/t-0")).unwrap();
        disk
    }

    /// The kernel wrote back all there was; then so many changes to live.
    fn live(&self, changes: i64) {
        let mut state = self.state.lock();
        for file in 0..self.next.load(Ordering::SeqCst) {
            let length = self.files.open(&number(file), OpenMode::Read).unwrap().length().unwrap();
            state.bytes.insert(file, length);
        }
        (state.synced, state.pending) = (state.now.clone(), Vec::new());
        self.life.store(changes, Ordering::SeqCst);
    }

    fn pending(&self) -> usize {
        self.state.lock().pending.len()
    }
}

impl Disk for Handle {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.0.alive()?;
        let known = self.0.state.lock().now.get(path).copied();
        let number_ = match (known, mode) {
            (Some(file), OpenMode::Truncate) => {
                self.0.age()?;
                self.0.state.lock().bytes.remove(&file);
                file
            }
            (Some(file), _) => file,
            (None, OpenMode::Read | OpenMode::Write) => return Err(io::Error::from(io::ErrorKind::NotFound)),
            (None, OpenMode::Create | OpenMode::Truncate) => {
                self.0.age()?;
                let file = self.0.next.fetch_add(1, Ordering::SeqCst);
                self.0.change(Change::Create(path.to_path_buf(), file));
                file
            }
        };
        let mode = if known.is_none() { OpenMode::Create } else { mode };
        let file = self.0.files.open(&number(number_), mode)?;
        Ok(Arc::new(MortalFile { disk: self.0.clone(), number: number_, file }))
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.0.alive()?;
        Ok(self.0.state.lock().now.keys().any(|known| known.starts_with(path)))
    }
    fn create_dir_all(&self, _path: &Path) -> io::Result<()> {
        self.0.alive()
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.alive()?;
        let state = self.0.state.lock();
        let found: Vec<DirEntry> = state
            .now
            .iter()
            .filter(|(name, _)| name.parent() == Some(path))
            .map(|(name, file)| DirEntry {
                name: name.file_name().unwrap().to_string_lossy().into_owned(),
                is_dir: false,
                length: self.0.files.open(&number(*file), OpenMode::Read).unwrap().length().unwrap(),
                modified_ms: 0,
            })
            .collect();
        if found.is_empty() { Err(io::Error::from(io::ErrorKind::NotFound)) } else { Ok(found) }
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.alive()?;
        if !self.0.state.lock().now.contains_key(from) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        self.0.age()?;
        self.0.change(Change::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.alive()?;
        if !self.0.state.lock().now.contains_key(path) {
            return Err(io::Error::from(io::ErrorKind::NotFound));
        }
        self.0.age()?;
        self.0.change(Change::Remove(path.to_path_buf()));
        Ok(())
    }
    fn remove_dir_all(&self, _path: &Path) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        self.0.age()?;
        let mut state = self.0.state.lock();
        state.synced = state.now.clone();
        state.pending.clear();
        Ok(())
    }
    fn space(&self, _path: &Path) -> io::Result<Option<(u64, u64)>> {
        Ok(None)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.0.files.lock(path)
    }
}

impl File for MortalFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.disk.alive()?;
        self.file.read_at(buffer, position)
    }
    fn write_at(&self, slices: &mut [io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.disk.age()?;
        self.file.write_at(slices, position)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.age()?;
        self.disk.state.lock().bytes.insert(self.number, self.file.length()?);
        Ok(())
    }
    fn set_len(&self, length: u64) -> io::Result<()> {
        self.disk.age()?;
        self.file.set_len(length)
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

fn bench_on(disk: &Arc<Mortal>) -> Bench {
    let clock = Arc::new(VirtualClock::new(T0));
    let host = Host::new(Env::new(Arc::new(Handle(disk.clone())), clock.clone()), 0);
    Bench { host, clock, ..compacted() }
}

/// Several segments, of which compaction makes fewer, with an aborted transaction whose producer's last batch stays.
fn fill(partition: &Partition) {
    for round in 0..12 {
        put(partition, &[("a", &round.to_string()), (&format!("key-{}", round % 5), &format!("{round:030}"))]);
        if round == 3 {
            put_in(partition, transaction(1, 0, 0), &[("a", "aborted"), ("b", "aborted")]);
            partition.append_marker(1, 0, Marker::Abort, 0, 0).unwrap();
        }
        if round == 8 {
            put_in(partition, transaction(2, 0, 0), &[("a", "committed"), ("c", "committed")]);
            partition.append_marker(2, 0, Marker::Commit, 0, 0).unwrap();
        }
        if round % 2 == 1 {
            partition.roll().unwrap();
        }
    }
    partition.flush().unwrap();
}

/// Which of the changes without a sync got through: every choice while they are few, else each alone lost, each alone kept, and in order.
fn choices(changes: usize) -> Vec<u64> {
    if changes <= 5 {
        return (0..1 << changes).collect();
    }
    let all = (1u64 << changes) - 1;
    (0..changes).flat_map(|at| [1 << at, all ^ (1 << at), (1 << at) - 1]).chain([all]).collect()
}

type Row = (i64, String, String);

/// What compaction must keep, and what may be there.
struct Truth {
    before: Vec<Row>,
    all: Vec<Row>,
    after: Vec<Row>,
    end: i64,
}

impl Truth {
    fn check(&self, disk: &Arc<Mortal>, what: &str) {
        let bench = bench_on(disk);
        for hint in [OpenHint { recovery_point: self.end, ..OpenHint::default() }, OpenHint::default()] {
            let (partition, report) = bench.open_with(hint);
            assert_eq!(report.damage, Vec::<String>::new(), "{what}");
            assert_eq!((partition.offsets().log_end, partition.offsets().last_stable), (self.end, self.end), "{what}");
            let found = committed(&partition);
            assert!(found.iter().all(|row| self.before.contains(row)), "{what}: {found:?}");
            let raw = contents(&partition);
            assert!(raw.iter().all(|row| self.all.contains(row)), "{what}: {raw:?}");
            for row in &self.after {
                assert!(found.contains(row), "{what}: {row:?} is gone");
            }
            drop(partition);
        }
        let partition = bench.open();
        partition.roll().unwrap();
        partition.compact(MAP, &mut Unhurried).unwrap();
        assert_eq!(committed(&partition), self.after, "{what}: compacted again");
        let left: Vec<String> =
            names(&bench).into_iter().filter(|name| name.contains("cleaned") || name.contains("swap")).collect();
        assert_eq!(left, Vec::<String>::new(), "{what}");
    }
}

/// See the file.
#[test]
fn at_every_step() {
    let truth = {
        let bench = bench_on(&Mortal::new());
        let partition = bench.open();
        fill(&partition);
        let (before, all) = (committed(&partition), contents(&partition));
        partition.compact(MAP, &mut Unhurried).unwrap().unwrap();
        let after = committed(&partition);
        assert!(after.len() < before.len() / 2 && partition.status().segments < 6);
        Truth { before, all, after, end: partition.offsets().log_end }
    };
    let (mut steps, mut cuts) = (0, 0);
    loop {
        let disk = Mortal::new();
        let bench = bench_on(&disk);
        let partition = bench.open();
        fill(&partition);
        disk.live(steps + 1);
        let result = partition.compact(MAP, &mut Unhurried);
        let done = disk.life.load(Ordering::SeqCst) > 0;
        // The last steps only tidy up.
        assert!(result.is_ok() || !done, "step {steps}: {result:?}");
        truth.check(&disk.after_crash(), &format!("crash at step {steps}"));
        for kept in choices(disk.pending()) {
            truth.check(&disk.after_power_cut(kept), &format!("power cut at step {steps}, {kept:b} kept"));
            cuts += 1;
        }
        steps += 1;
        if done {
            break;
        }
    }
    assert!(steps > 30 && cuts > 300, "{steps} steps, {cuts} power cuts");
}

/// The start that completes a swap may be cut short itself, at each of its steps.
#[test]
fn at_every_step_of_the_next_start() {
    let mut played = 0;
    for first in 0.. {
        let disk = Mortal::new();
        let bench = bench_on(&disk);
        let partition = bench.open();
        fill(&partition);
        let (before, all, end) = (committed(&partition), contents(&partition), partition.offsets().log_end);
        disk.live(first + 1);
        let result = partition.compact(MAP, &mut Unhurried);
        if result.is_ok() {
            break;
        }
        let swapped = disk.state.lock().now.keys().any(|path| path.to_string_lossy().ends_with(".log.swap"));
        if !swapped {
            continue;
        }
        let whole = bench_on(&disk.after_crash());
        let partition = whole.open();
        partition.roll().unwrap();
        partition.compact(MAP, &mut Unhurried).unwrap();
        let truth = Truth { before, all, after: committed(&partition), end };
        for second in 0.. {
            let again = disk.after_crash();
            again.live(second + 1);
            let identity = Identity { topic: "t".into(), topic_id: [7; 16], partition: 0 };
            let bench = bench_on(&again);
            let config = Arc::new(bench.config.clone());
            let hint = OpenHint { recovery_point: end, ..OpenHint::default() };
            let opened = Partition::open(&bench.host, bench.path(), identity, config, 0, hint);
            let done = opened.is_ok();
            truth.check(&again.after_crash(), &format!("crash at step {first}, then {second}"));
            for kept in choices(again.pending()) {
                truth.check(&again.after_power_cut(kept), &format!("cut at step {first}, then {second}, {kept:b}"));
                played += 1;
            }
            if done {
                break;
            }
        }
    }
    assert!(played > 300, "{played}");
}

/// A call to the disk that fails once, with either error, at every place of a pass: what counts is still there, in the partition that goes
/// on or in the one that is opened after it; a full disk alone takes nothing out of service before the replacement counts.
#[test]
fn every_call_fails_once() {
    for errno in [EIO, ENOSPC] {
        let mut at = 0;
        loop {
            let disk = FaultyDisk::scratch();
            let faults = disk.faults();
            let clock = Arc::new(VirtualClock::new(T0));
            let host = Host::new(Env::new(Arc::new(disk), clock.clone()), 0);
            let bench = Bench { host, clock, ..compacted() };
            let partition = bench.open();
            fill(&partition);
            let before = committed(&partition);
            let last: BTreeMap<String, i64> = before.iter().map(|row| (row.1.clone(), row.0)).collect();
            let check = |partition: &Partition, what: &str| {
                let found: BTreeMap<String, i64> = committed(partition).into_iter().map(|row| (row.1, row.0)).collect();
                assert_eq!(found, last, "{what} of call {at} with {errno}");
            };
            faults.fail(Fault::new(errno).after(at).once());
            let result = partition.compact(MAP, &mut Unhurried);
            let tripped = faults.tripped() > 0;
            faults.heal();
            if !Bench::status_is_offline(&partition) {
                check(&partition, "the same partition");
                partition.compact(MAP, &mut Unhurried).unwrap();
                check(&partition, "another pass");
                put(&partition, &[("more", "1")]);
            } else {
                assert!(result.is_err());
            }
            let end = partition.offsets().log_end;
            drop(partition);
            let (partition, _) = bench.open_with(OpenHint::default());
            assert_eq!(partition.offsets().log_end, end, "call {at} with {errno}");
            partition.truncate_to(30).unwrap();
            check(&partition, "the next start");
            if !tripped {
                break;
            }
            at += 1;
        }
        assert!(at > 80, "{at} calls");
    }
}
