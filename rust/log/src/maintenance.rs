//! The housekeeping thread: one for an engine, on the env clock, so that a test can turn it.
//!
//! As soon as more than `flush_start_bytes` lie past the durable offsets it has the pool sync the partitions with most of them, until half
//! of that is left. Every tick of `flush_interval_ms`: syncs what `flush.ms` asks for; brings live index files up to date; removes deleted files that are due. Less
//! often: retention, checkpoints, forgetting idle producers, closing idle descriptors. An error of one partition is logged (the
//! partition has gone offline if it had to) and the next one is served.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::commit::Host;
use crate::error::StorageError;
use crate::partition::Partition;

/// Kafka's broker settings for its background work, with its defaults.
#[derive(Clone, Debug)]
pub struct MaintenanceConfig {
    /// `log.retention.check.interval.ms`
    pub retention_interval_ms: i64,
    /// `log.flush.scheduler.interval.ms`, which is endless in Kafka; here the tick of everything
    pub flush_interval_ms: i64,
    /// `log.flush.offset.checkpoint.interval.ms`
    pub checkpoint_interval_ms: i64,
    /// `producer.id.expiration.check.interval.ms`
    pub producer_expiry_interval_ms: i64,
    /// Descriptors of segments unused for this long are closed.
    pub idle_files_interval_ms: i64,
}

impl Default for MaintenanceConfig {
    fn default() -> MaintenanceConfig {
        MaintenanceConfig {
            retention_interval_ms: 300_000,
            flush_interval_ms: 1_000,
            checkpoint_interval_ms: 60_000,
            producer_expiry_interval_ms: 600_000,
            idle_files_interval_ms: 30_000,
        }
    }
}

/// Who knows the partitions and the directory they lie in.
pub trait PartitionSource: Send + Sync {
    /// Those in use; asked for at every tick, so it must open nothing.
    fn partitions(&self) -> Vec<Arc<Partition>>;
    /// All there are, for retention, which concerns idle ones too.
    fn with_idle(&self) -> Vec<Arc<Partition>> {
        self.partitions()
    }
    /// Those of topics that are compacted, idle ones too.
    fn compacted(&self) -> Vec<Arc<Partition>> {
        let mut partitions = self.with_idle();
        partitions.retain(|partition| partition.config().cleanup_policy.compact);
        partitions
    }
    /// Writes the checkpoints of the data directory, if there is one.
    fn checkpoint(&self, partitions: &[Arc<Partition>]);
}

/// The running thread.
pub struct Maintenance {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

/// What a housekeeping thread waits on: the env clock, and the order to end.
#[derive(Default)]
pub(crate) struct Signal {
    state: Mutex<SignalState>,
    wake: Condvar,
}

#[derive(Default)]
struct SignalState {
    turned: bool,
    /// There is much to sync.
    pressed: bool,
    stopping: bool,
}

impl Maintenance {
    pub fn start(host: &Arc<Host>, source: Arc<dyn PartitionSource>, config: MaintenanceConfig) -> Maintenance {
        let signal = Signal::listening(host);
        let presser = Arc::downgrade(&signal);
        host.on_pressure(Box::new(move || {
            if let Some(signal) = presser.upgrade() {
                signal.state.lock().pressed = true;
                signal.wake.notify_all();
            }
        }));
        let (host, waiter) = (host.clone(), signal.clone());
        let spawned = std::thread::Builder::new().name("ottla-maintenance".into()).spawn(move || {
            let mut rounds = Rounds::new(host.env().clock().monotonic_ms(), config);
            loop {
                match waiter.wait(&host, rounds.next_ms()) {
                    Wake::Stop => break,
                    Wake::Due => rounds.run(&host, source.as_ref()),
                    Wake::Pressed => bound_unsynced(&host, &source.partitions()),
                }
            }
        });
        let thread = match spawned {
            Ok(thread) => Some(thread),
            Err(error) => {
                tracing::error!(%error, "cannot start the maintenance thread");
                None
            }
        };
        Maintenance { signal, thread }
    }

    /// Ends the thread after the work it is at.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.signal.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the maintenance thread panicked");
        }
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Why the thread does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    Due,
    Pressed,
    Stop,
}

impl Signal {
    /// Hears the turns of the clock.
    pub(crate) fn listening(host: &Host) -> Arc<Signal> {
        let signal = Arc::new(Signal::default());
        let listener = Arc::downgrade(&signal);
        host.env().clock().on_turn(Box::new(move || {
            if let Some(signal) = listener.upgrade() {
                signal.state.lock().turned = true;
                signal.wake.notify_all();
            }
        }));
        signal
    }

    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
        self.wake.notify_all();
    }

    /// Waits for the deadline, for a turn of the clock or for pressure.
    pub(crate) fn wait(&self, host: &Host, deadline_ms: i64) -> Wake {
        let clock = host.env().clock();
        let mut state = self.state.lock();
        loop {
            if state.stopping {
                return Wake::Stop;
            }
            if std::mem::take(&mut state.pressed) {
                return Wake::Pressed;
            }
            state.turned = false;
            if clock.monotonic_ms() >= deadline_ms {
                return Wake::Due;
            }
            match clock.real_time_until(deadline_ms) {
                Some(wait) => {
                    self.wake.wait_for(&mut state, wait);
                }
                None => self.wake.wait(&mut state),
            }
        }
    }
}

/// When which work is due, on the monotonic scale.
#[derive(Debug)]
pub struct Rounds {
    config: MaintenanceConfig,
    flush_ms: i64,
    retention_ms: i64,
    checkpoint_ms: i64,
    expiry_ms: i64,
    idle_ms: i64,
}

/// True when `due_ms` has come; then it is moved to the next time.
fn due(due_ms: &mut i64, interval_ms: i64, now_ms: i64) -> bool {
    let come = now_ms >= *due_ms;
    if come {
        *due_ms = now_ms.saturating_add(interval_ms.max(1));
    }
    come
}

impl Rounds {
    pub fn new(now_ms: i64, config: MaintenanceConfig) -> Rounds {
        let after = |interval_ms: i64| now_ms.saturating_add(interval_ms.max(1));
        Rounds {
            flush_ms: after(config.flush_interval_ms),
            retention_ms: after(config.retention_interval_ms),
            checkpoint_ms: after(config.checkpoint_interval_ms),
            expiry_ms: after(config.producer_expiry_interval_ms),
            idle_ms: after(config.idle_files_interval_ms),
            config,
        }
    }

    pub fn next_ms(&self) -> i64 {
        [self.flush_ms, self.retention_ms, self.checkpoint_ms, self.expiry_ms, self.idle_ms]
            .into_iter()
            .min()
            .unwrap_or(i64::MAX)
    }

    /// Does whatever is due now.
    pub fn run(&mut self, host: &Host, source: &dyn PartitionSource) {
        let clock = host.env().clock();
        let now_ms = clock.monotonic_ms();
        let retention_is_due = due(&mut self.retention_ms, self.config.retention_interval_ms, now_ms);
        let partitions = if retention_is_due { source.with_idle() } else { source.partitions() };
        let each = |what: &str, work: &dyn Fn(&Partition) -> Result<(), StorageError>| {
            for partition in &partitions {
                match work(partition) {
                    Ok(()) | Err(StorageError::Closed { .. } | StorageError::Offline { .. }) => {}
                    // Told where it matters: with what is refused.
                    Err(error) if error.is_no_room() => tracing::debug!(?partition, %error, "{what} failed"),
                    Err(error) => tracing::error!(?partition, %error, "{what} failed"),
                }
            }
        };
        if due(&mut self.flush_ms, self.config.flush_interval_ms, now_ms) {
            each("flush", &|partition| if partition.flush_is_due() { partition.flush_soon() } else { Ok(()) });
            bound_unsynced(host, &partitions);
            each("index flush", &Partition::flush_indexes);
            host.remove_due();
            host.retake_reserves();
        }
        if retention_is_due {
            each("retention", &|partition| partition.enforce_retention(clock.now_ms()).map(|_| ()));
        }
        if due(&mut self.expiry_ms, self.config.producer_expiry_interval_ms, now_ms) {
            each("producer expiry", &|partition| {
                partition.expire_producers(clock.now_ms());
                Ok(())
            });
        }
        if due(&mut self.idle_ms, self.config.idle_files_interval_ms, now_ms) {
            each("closing idle files", &|partition| {
                partition.release_idle_files();
                Ok(())
            });
        }
        if due(&mut self.checkpoint_ms, self.config.checkpoint_interval_ms, now_ms) {
            source.checkpoint(&partitions);
        }
    }
}

/// Begins to sync the partitions with most to lose, if there is too much, until half of what is too much will be left.
fn bound_unsynced(host: &Host, partitions: &[Arc<Partition>]) {
    let start = host.settings().flush_start_bytes;
    let mut total = host.unsynced_bytes();
    if total < start {
        return;
    }
    let mut sizes: Vec<(u64, &Arc<Partition>)> = partitions
        .iter()
        .map(|partition| (partition.unsynced_bytes(), partition))
        .filter(|(bytes, _)| *bytes > 0)
        .collect();
    sizes.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    for (bytes, partition) in sizes {
        if total <= start / 2 {
            return;
        }
        match partition.flush_soon() {
            Ok(()) | Err(StorageError::Closed { .. } | StorageError::Offline { .. }) => {}
            Err(error) => tracing::error!(?partition, %error, "flush failed"),
        }
        total = total.saturating_sub(bytes);
    }
}
