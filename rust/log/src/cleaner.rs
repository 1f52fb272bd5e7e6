//! The threads that compact: each takes the partition with the largest dirty share among those that are due, cleans it, and looks for
//! the next; with none it waits for `log.cleaner.backoff.ms`. They share an I/O budget. An error takes the partition out of cleaning
//! until it is opened again, with a line in the log, and not the thread. Kafka's `LogCleaner`.

use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::commit::Host;
use crate::compaction::Pace;
use crate::error::StorageError;
use crate::maintenance::{PartitionSource, Signal, Wake};
use crate::partition::{Compaction, MapSize, Partition};

/// Kafka's `log.cleaner.*`, with its defaults.
#[derive(Clone, Debug)]
pub struct CleanerConfig {
    /// `log.cleaner.threads`; 0: nothing is compacted (`log.cleaner.enable`).
    pub threads: usize,
    /// `log.cleaner.dedupe.buffer.size`: memory for keys, of all threads together.
    pub map_bytes_max: u64,
    /// `log.cleaner.io.buffer.load.factor`: how full a thread's part of it may get.
    pub map_load_factor: f64,
    /// `log.cleaner.io.max.bytes.per.second`: read and written, all threads together.
    pub bytes_per_second_max: f64,
    /// `log.cleaner.backoff.ms`: how long a thread waits when there is nothing to clean.
    pub backoff_ms: i64,
    /// What the hashes of keys depend on; random, so that nobody who chooses keys can make two of them meet.
    pub hash_key: [u8; 16],
}

impl Default for CleanerConfig {
    fn default() -> CleanerConfig {
        CleanerConfig {
            threads: 1,
            map_bytes_max: 128 << 20,
            map_load_factor: 0.9,
            bytes_per_second_max: f64::MAX,
            backoff_ms: 15_000,
            hash_key: [0; 16],
        }
    }
}

impl CleanerConfig {
    fn map_size(&self) -> MapSize {
        MapSize {
            bytes_max: self.map_bytes_max / self.threads.max(1) as u64,
            load_factor: self.map_load_factor,
            hash_key: self.hash_key,
        }
    }
}

/// The running threads.
pub struct Cleaner {
    signal: Arc<Signal>,
    threads: Vec<JoinHandle<()>>,
}

impl Cleaner {
    pub fn start(host: &Arc<Host>, source: &Arc<dyn PartitionSource>, config: &CleanerConfig) -> Cleaner {
        let signal = Signal::listening(host);
        let budget = Arc::new(Mutex::new(Budget::new(config.bytes_per_second_max)));
        let mut threads = Vec::with_capacity(config.threads);
        for index in 0..config.threads {
            let (host, source, config) = (host.clone(), source.clone(), config.clone());
            let mut pace = Paced { host: host.clone(), signal: signal.clone(), budget: budget.clone() };
            let spawned = std::thread::Builder::new().name(format!("ottla-cleaner-{index}")).spawn(move || {
                let mut wait_ms = config.backoff_ms;
                while pace.rest(wait_ms) {
                    let found = clean_dirtiest(source.as_ref(), &config, &mut pace);
                    wait_ms = if found.is_some() { 0 } else { config.backoff_ms };
                }
                drop(host);
            });
            match spawned {
                Ok(thread) => threads.push(thread),
                Err(error) => tracing::error!(%error, "cannot start a cleaner thread"),
            }
        }
        Cleaner { signal, threads }
    }

    /// Ends the threads; a pass under way is given up where it is.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.signal.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a cleaner thread panicked");
            }
        }
    }
}

impl Drop for Cleaner {
    fn drop(&mut self) {
        self.halt();
    }
}

/// Cleans the partition that is due and has the largest dirty share; None when none is, or it could not be cleaned.
pub fn clean_dirtiest(
    source: &dyn PartitionSource,
    config: &CleanerConfig,
    pace: &mut dyn Pace,
) -> Option<(Arc<Partition>, Compaction)> {
    let mut dirtiest: Option<(f64, Arc<Partition>)> = None;
    for partition in source.compacted() {
        if partition.is_uncleanable() || partition.is_being_compacted() {
            continue;
        }
        match partition.compaction_plan() {
            Ok(Some(plan)) if plan.is_due() => {
                if dirtiest.as_ref().is_none_or(|(ratio, _)| plan.dirty_ratio() > *ratio) {
                    dirtiest = Some((plan.dirty_ratio(), partition));
                }
            }
            Ok(_) => {}
            Err(error) => give_up(&partition, &error),
        }
    }
    let (_, partition) = dirtiest?;
    let started_ms = partition.host().env().clock().monotonic_ms();
    match partition.compact(config.map_size(), pace) {
        Ok(Some(done)) => {
            let took_ms = partition.host().env().clock().monotonic_ms() - started_ms;
            tracing::info!(?partition, from = done.plan.first_dirty, to = done.cleaned, stats = ?done.stats, took_ms, "compacted");
            source.checkpoint(std::slice::from_ref(&partition));
            Some((partition, done))
        }
        Ok(None) => None,
        Err(error) => {
            give_up(&partition, &error);
            None
        }
    }
}

fn give_up(partition: &Partition, error: &StorageError) {
    match error {
        // Said already, and its own matter.
        StorageError::Closed { .. } | StorageError::Offline { .. } => {}
        // Space may come back, and descriptors.
        error if error.is_no_room() || error.is_no_descriptor() => {
            tracing::warn!(?partition, %error, "no room to compact; tried again later");
        }
        error => {
            partition.mark_uncleanable();
            tracing::error!(?partition, %error, "cannot be compacted; left as it is until it is opened again");
        }
    }
}

/// When the next byte may be read or written.
#[derive(Debug)]
struct Budget {
    bytes_per_second_max: f64,
    /// Monotonic.
    paid_until_ms: f64,
}

impl Budget {
    fn new(bytes_per_second_max: f64) -> Budget {
        Budget { bytes_per_second_max, paid_until_ms: 0.0 }
    }

    /// Takes `bytes` off the budget; when to go on.
    fn spend(&mut self, bytes: usize, now_ms: i64) -> i64 {
        if self.bytes_per_second_max >= f64::MAX {
            return now_ms;
        }
        let cost_ms = bytes as f64 * 1000.0 / self.bytes_per_second_max.max(1.0);
        self.paid_until_ms = self.paid_until_ms.max(now_ms as f64) + cost_ms;
        self.paid_until_ms as i64
    }
}

struct Paced {
    host: Arc<Host>,
    signal: Arc<Signal>,
    budget: Arc<Mutex<Budget>>,
}

impl Paced {
    /// False: time to end.
    fn rest(&self, wait_ms: i64) -> bool {
        let now_ms = self.host.env().clock().monotonic_ms();
        self.signal.wait(&self.host, now_ms.saturating_add(wait_ms)) != Wake::Stop
    }
}

impl Pace for Paced {
    fn spend(&mut self, bytes: usize) -> bool {
        let now_ms = self.host.env().clock().monotonic_ms();
        let due_ms = self.budget.lock().spend(bytes, now_ms);
        self.signal.wait(&self.host, due_ms) != Wake::Stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The budget spreads bytes over time, lets an idle cleaner save nothing up, and none is no limit.
    #[test]
    fn budget() {
        let mut budget = Budget::new(1000.0);
        assert_eq!(budget.spend(500, 10_000), 10_500);
        assert_eq!(budget.spend(500, 10_100), 11_000);
        assert_eq!(budget.spend(100, 60_000), 60_100);
        assert_eq!(Budget::new(f64::MAX).spend(usize::MAX, 7), 7);
    }
}
