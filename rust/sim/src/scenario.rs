//! A run of operations made from a seed, over the engine on a [`PowerDisk`], with cuts anywhere: in the middle of an operation, while
//! nothing happens, and again while the log is being recovered. Or the process dies there and the power stays. After each start everything that was promised is looked for.
//!
//! What is promised: what lies below an offset that was told to be durable is there, byte for byte; nothing is there that was not
//! appended, and nothing is missing in between; a log start that was written down does not go back; a producer's last batch is known and
//! its next one taken; read_committed ends where it must and is told of the aborted transactions; an index leads to the batch it is asked
//! for, and a leader epoch to where it ends; a change of the metadata log that was synced is there. Compaction takes what it may and nothing else, and what a pass took that got
//! to its end does not come back.

mod check;
mod clean;
mod found;
mod steps;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::batch::Compression;
use ottla_log::commit::Host;
use ottla_log::directory::DataDirectory;
use ottla_log::env::{Disk, Env, VirtualClock};
use ottla_log::metadata_log::MetadataLog;
use ottla_log::partition::OpenHint;
use ottla_log::{CleanupPolicy, Durability, Identity, Partition, PartitionConfig, TopicId};

use crate::disk::PowerDisk;
use crate::model::Model;
use crate::random::Random;
use found::found_batches;

const T0: i64 = 1_700_000_000_000;
const STEPS: usize = 60;
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    pub steps: usize,
    /// Of the power, or of the process in the middle of an operation.
    pub cuts: usize,
    /// Cuts while the log was being opened after another one.
    pub cuts_in_recovery: usize,
    pub kills: usize,
    pub clean_stops: usize,
    pub batches: usize,
    /// Passes of compaction that got to their end.
    pub compactions: usize,
    pub cuts_in_compaction: usize,
}

/// Runs one scenario.
///
/// # Errors
/// A promise was broken: what, and the operations up to there.
pub fn run(seed: u64) -> Result<Outcome, String> {
    let mut world = World::new(seed);
    let result = world.play();
    result.map(|()| world.outcome).map_err(|what| format!("{what}\n{}", world.trace.join("\n")))
}

struct Topic {
    id: TopicId,
    config: PartitionConfig,
    epoch: i32,
    model: Model,
    partition: Option<Arc<Partition>>,
}

/// The metadata log's side: values in order, and how many are promised.
#[derive(Default)]
struct Metadata {
    appended: usize,
    promised: usize,
}

struct World {
    disk: PowerDisk,
    random: Random,
    clock: Arc<VirtualClock>,
    host: Arc<Host>,
    directory: Option<DataDirectory>,
    metadata_log: Option<MetadataLog>,
    metadata: Metadata,
    topics: BTreeMap<&'static str, Topic>,
    topics_made: u8,
    written: u64,
    outcome: Outcome,
    trace: Vec<String>,
}

/// Operations fail when the power goes, and then only.
type Step<T> = Result<T, Failed>;

#[derive(Debug)]
enum Failed {
    /// The power went.
    Power,
    Broken(String),
}

impl From<String> for Failed {
    fn from(what: String) -> Failed {
        Failed::Broken(what)
    }
}

fn ids() -> impl FnMut() -> [u8; 16] {
    let mut seed = 0;
    move || {
        seed += 1;
        [seed; 16]
    }
}

impl World {
    fn new(seed: u64) -> World {
        let mut random = Random::new(seed);
        let disk = PowerDisk::new(random.draw(), T0);
        let clock = Arc::new(VirtualClock::new(T0));
        let host = Host::new(Env::new(Arc::new(disk.clone()), clock.clone()), 0);
        World {
            disk,
            random,
            clock,
            host,
            directory: None,
            metadata_log: None,
            metadata: Metadata::default(),
            topics: BTreeMap::new(),
            topics_made: 0,
            written: 0,
            outcome: Outcome::default(),
            trace: Vec::new(),
        }
    }

    fn path() -> PathBuf {
        PathBuf::from("/data")
    }

    fn note(&mut self, what: String) {
        self.trace.push(format!("  {:>5} {what}", self.disk.operations()));
    }

    fn play(&mut self) -> Result<(), String> {
        self.start()?;
        for _ in 0..STEPS {
            self.outcome.steps += 1;
            if self.random.one_in(8) {
                let operations = self.random.below(12) as u64;
                self.note(format!("(it ends after {operations} operations)"));
                self.disk.cut_after(Some(operations));
            }
            match self.step() {
                Ok(()) if self.disk.is_on() => {}
                Ok(()) | Err(Failed::Power) => self.cut()?,
                Err(Failed::Broken(what)) => return Err(what),
            }
        }
        self.cut()
    }

    /// The process is gone, whatever was open with it.
    fn die(&mut self) {
        for topic in self.topics.values_mut() {
            topic.partition = None;
        }
        self.metadata_log = None;
        self.directory = None;
        self.host = Host::new(Env::new(Arc::new(self.disk.clone()), self.clock.clone()), 0);
    }

    fn cut(&mut self) -> Result<(), String> {
        self.outcome.cuts += 1;
        self.end("");
        self.start()
    }

    /// The process ends in the middle of what it does, as a rule with the power.
    fn end(&mut self, when: &str) {
        let is_killed = self.random.one_in(3);
        self.note(if is_killed { "the process is killed" } else { "the power goes and comes back" }.to_owned() + when);
        self.die();
        if is_killed {
            self.outcome.kills += 1;
            self.disk.start_again();
        } else {
            self.disk.power_on();
        }
    }

    /// Opens everything, with cuts on the way, and looks for what was promised. As a rule partitions begin a leader epoch, as they do
    /// after a crash.
    fn start(&mut self) -> Result<(), String> {
        loop {
            if !self.random.one_in(4) {
                self.topics.values_mut().for_each(|topic| topic.epoch += 1);
            }
            if self.random.one_in(3) {
                let operations = self.random.below(30) as u64;
                self.disk.cut_after(Some(operations));
            }
            match self.open() {
                Ok(()) if self.disk.is_on() => break,
                Ok(()) | Err(Failed::Power) => {
                    self.outcome.cuts_in_recovery += 1;
                    self.end(" while starting");
                }
                Err(Failed::Broken(what)) => return Err(what),
            }
        }
        self.disk.cut_after(None);
        Ok(())
    }

    fn open(&mut self) -> Step<()> {
        let opened = DataDirectory::open(&self.host, &Self::path(), 1, Some("cluster"), &mut ids());
        let directory = self.unless_cut(opened, "opening the directory")?;
        let clean = directory.was_clean();
        self.directory = Some(directory);
        let opened = MetadataLog::open(&self.host, &Self::path(), 1, clean);
        let log = self.unless_cut(opened, "opening the metadata log")?;
        let read = self.read_metadata(&log);
        let found = self.unless_cut(read, "reading the metadata log")?;
        self.check_metadata(&found)?;
        self.metadata_log = Some(log);
        let names: Vec<&'static str> = self.topics.keys().copied().collect();
        for name in names {
            self.open_topic(name)?;
            self.check_found(name)?;
            self.check_all(name)?;
        }
        Ok(())
    }

    /// As the engine does when the metadata tells of a partition: files of another topic of that name are moved aside.
    fn open_topic(&mut self, name: &'static str) -> Step<()> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let Some(topic) = self.topics.get(name) else { return Ok(()) };
        let (id, epoch, config) = (topic.id, topic.epoch, topic.config.clone());
        let path = directory.partition_path(name, 0);
        let found = self.unless_cut(directory.found(), "listing partitions")?;
        let mut hint = OpenHint::default();
        if let Some(found) = found.iter().find(|found| found.topic == name) {
            if found.topic_id.is_none_or(|found| found == id) {
                hint = directory.hint(name, 0);
            } else {
                let aside = path.with_file_name(format!("{name}-0.{}-stray", self.topics_made));
                self.unless_cut(self.disk.rename(&path, &aside), "moving a stray aside")?;
                self.unless_cut(directory.forget(&[(name, 0)]), "forgetting a stray")?;
            }
        }
        let identity = Identity { topic: name.into(), topic_id: id, partition: 0 };
        let opened = Partition::open(&self.host, path, identity, Arc::new(config), epoch, hint);
        let (partition, report) = self.unless_cut(opened, "opening a partition")?;
        self.note(format!("{name} opened with {hint:?}: {:?}, {report:?}", partition.offsets()));
        // Written and synced before the first batch of an epoch.
        if report.damage.iter().any(|damage| damage.contains("leader-epoch-checkpoint")) {
            return Err(Failed::Broken(format!("{name}: {:?}", report.damage)));
        }
        if let Some(topic) = self.topics.get_mut(name) {
            topic.partition = Some(partition);
        }
        Ok(())
    }

    /// An error is what a cut does; without one it is a failure of the engine.
    fn unless_cut<T, E: std::fmt::Display>(&self, result: Result<T, E>, what: &str) -> Step<T> {
        result.map_err(
            |error| {
                if self.disk.is_on() { Failed::Broken(format!("{what}: {error}")) } else { Failed::Power }
            },
        )
    }

    fn config(&mut self) -> PartitionConfig {
        let random = &mut self.random;
        PartitionConfig {
            durability: if random.flip() { Durability::Fsync } else { Durability::Os },
            segment_bytes: [1700, 2500, 5000][random.below(3)],
            index_interval_bytes: [0, 150, 1000][random.below(3)],
            retention_ms: None,
            retention_bytes: [None, Some(3000), Some(6000)][random.below(3)],
            flush_messages: [i64::MAX, 20][random.below(2)],
            file_delete_delay_ms: [0, 1000][random.below(2)],
            cleanup_policy: [(true, false), (false, true), (true, true)]
                .map(|(delete, compact)| CleanupPolicy { delete, compact })[random.below(3)],
            delete_retention_ms: [0, 3000][random.below(2)],
            ..PartitionConfig::default()
        }
    }
}

fn directory_exists(disk: &PowerDisk, path: &Path) -> bool {
    disk.exists(path).unwrap_or(false)
}
