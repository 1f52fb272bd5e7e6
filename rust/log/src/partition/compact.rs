//! A pass of compaction over a partition, beside its traffic: segments are read without a lock, their replacement is put in place under
//! it, and only if they are all still there as they were.
//!
//! Never touched: the segment being written, and what lies at or above the last stable offset or is not on disk.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::MutexGuard;

use super::Partition;
use super::state::{Mark, State};
use crate::Offset;
use crate::compaction::key_map::KeyMap;
use crate::compaction::plan::{self, Limits, Plan, SegmentFacts};
use crate::compaction::rewrite::{self, Filling, Rewrite, Source};
use crate::compaction::transactions::Transactions;
use crate::compaction::{Halt, LastRecord, Pace, Rules, Stats, swap};
use crate::error::{IoContext, StorageError};
use crate::index::txn::AbortedEntry;
use crate::segment::{Segment, names};

/// The memory a pass may take for its map of keys.
#[derive(Clone, Copy, Debug)]
pub struct MapSize {
    pub bytes_max: u64,
    pub load_factor: f64,
    /// Nobody who chooses keys must know it.
    pub hash_key: [u8; 16],
}

/// What a pass did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compaction {
    pub plan: Plan,
    /// Clean up to here now; below `plan.until` when the map could not hold all keys.
    pub cleaned: Offset,
    pub stats: Stats,
}

/// Who cleans, and whether that makes sense.
#[derive(Debug)]
pub struct CleaningState {
    running: AtomicBool,
    uncleanable: AtomicBool,
    kept_from: AtomicI64,
}

impl Default for CleaningState {
    fn default() -> CleaningState {
        CleaningState {
            running: AtomicBool::new(false),
            uncleanable: AtomicBool::new(false),
            kept_from: AtomicI64::new(Offset::MAX),
        }
    }
}

/// One pass at a time.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Partition {
    /// A pass is under way.
    pub fn is_being_compacted(&self) -> bool {
        self.cleaning.running.load(Ordering::Acquire)
    }

    /// An error ended a pass: none is tried until the partition is opened again, as in Kafka.
    pub fn is_uncleanable(&self) -> bool {
        self.cleaning.uncleanable.load(Ordering::Acquire)
    }

    pub(crate) fn mark_uncleanable(&self) {
        self.cleaning.uncleanable.store(true, Ordering::Release);
    }

    /// From here on nothing is compacted, and nothing deleted by retention: what stands in the records stands nowhere else yet.
    pub(crate) fn keep_from(&self, offset: Offset) {
        self.cleaning.kept_from.store(offset, Ordering::Release);
    }

    pub(crate) fn kept_from(&self) -> Offset {
        self.cleaning.kept_from.load(Ordering::Acquire)
    }

    /// What a pass would do now; None when there is nothing it could look at.
    pub fn compaction_plan(&self) -> Result<Option<Plan>, StorageError> {
        let (segments, limits) = {
            let state = self.state.read();
            state.check_online(&self.path)?;
            (state.segments.to_vec(), self.compaction_limits(&state))
        };
        match self.compaction_facts(&segments, &limits) {
            Ok(facts) => Ok(plan::choose(&facts, &limits)),
            // Taken away meanwhile.
            Err(_) if segments.iter().any(|segment| segment.is_removed()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn compaction_limits(&self, state: &State) -> Limits {
        let config = self.config.load();
        Limits {
            log_start: state.log_start,
            log_end: state.log_end.offset,
            stable: state.last_stable().offset.min(self.kept_from()),
            cleaned: state.cleaned,
            now_ms: self.now_ms(),
            dirty_ratio_min: config.dirty_ratio_min,
            lag_min_ms: config.compaction_lag_min_ms,
            lag_max_ms: config.compaction_lag_max_ms,
        }
    }

    /// Timestamps come from disk: looked at only where they count.
    fn compaction_facts(&self, segments: &[Arc<Segment>], limits: &Limits) -> Result<Vec<SegmentFacts>, StorageError> {
        let disk = self.disk();
        let mut facts = Vec::with_capacity(segments.len());
        for (index, segment) in segments.iter().enumerate() {
            // The segment being written does not count, nor does what is clean.
            let counts =
                segments.get(index + 1).is_some_and(|next| limits.cleaned.is_none_or(|at| next.base_offset() > at));
            let largest_timestamp_ms =
                if counts && limits.lag_min_ms > 0 { segment.largest_timestamp_ms(disk)? } else { -1 };
            let first_timestamp_ms = if counts && limits.lag_max_ms < i64::MAX {
                segment.first_timestamp_ms(disk)?.unwrap_or(-1)
            } else {
                -1
            };
            facts.push(SegmentFacts {
                base_offset: segment.base_offset(),
                bytes: u64::from(segment.size()),
                largest_timestamp_ms,
                first_timestamp_ms,
            });
        }
        Ok(facts)
    }

    /// Compacts what the plan of now lets go, due or not. None: nothing to do, somebody else is at it, or the pace said stop; what was
    /// put in place until then stays.
    pub fn compact(&self, map_size: MapSize, pace: &mut dyn Pace) -> Result<Option<Compaction>, StorageError> {
        if self.cleaning.running.swap(true, Ordering::AcqRel) {
            return Ok(None);
        }
        let _running = Running(&self.cleaning.running);
        match self.compact_alone(map_size, pace) {
            Ok(done) => Ok(done),
            Err(Halt::Stopped) => Ok(None),
            // What was aborted passed for committed. The next pass knows better.
            Err(Halt::NotIndexed { segment, marker }) => self.index_aborted_again(segment, marker).map(|()| None),
            // The files went with the partition.
            Err(Halt::Storage(_)) if self.state.read().closed => Ok(None),
            Err(Halt::Storage(error)) => Err(error),
        }
    }

    fn compact_alone(&self, map_size: MapSize, pace: &mut dyn Pace) -> Result<Option<Compaction>, Halt> {
        let disk = self.disk();
        let entries = match disk.list(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.at("list", &self.path)?,
        };
        {
            let _here = self.enter()?;
            swap::discard_all(disk, &self.path, &entries)?;
        }
        let Some(plan) = self.compaction_plan()?.filter(|plan| plan.first_dirty < plan.until) else { return Ok(None) };
        let (view, seen) = {
            let state = self.state.read();
            state.check_online(&self.path)?;
            let view = View {
                segments: state.segments.to_vec(),
                last_records: last_records(&state),
                truncations: state.truncations,
            };
            (view, state.log_end.offset)
        };
        // What replaces a segment is on disk: so must be what it is made from, and the batches for whose sake an older one of their
        // producer may go.
        if self.offsets().durable < seen {
            self.flush()?;
        }
        self.compact_view(&view, plan, map_size, &mut Watch { partition: self, inner: pace, unseen: 0 }).map(Some)
    }

    /// An error is none when retention or a truncation went over the segments it came from.
    fn unless_taken<T>(&self, view: &View, sources: &[Source], result: Result<T, Halt>) -> Result<T, Halt> {
        let taken = || {
            let state = self.state.read();
            // Offline: it is this pass that failed half way.
            state.offline.is_none()
                && (state.truncations != view.truncations || sources.iter().any(|source| source.segment.is_removed()))
        };
        match result {
            Err(Halt::Storage(_)) if taken() => Err(Halt::Stopped),
            result => result,
        }
    }

    fn compact_view(
        &self,
        view: &View,
        plan: Plan,
        map_size: MapSize,
        pace: &mut dyn Pace,
    ) -> Result<Compaction, Halt> {
        let disk = self.disk();
        let config = self.config.load_full();
        let sources = sources(&view.segments, plan.until);
        let aborted = self.aborted_below(&view.segments, plan.until).map_err(Halt::from);
        let aborted = self.unless_taken(view, &sources, aborted)?;
        let mut stats = Stats::default();
        let dirty = sources.partition_point(|source| source.next_base <= plan.first_dirty);
        let keys_max = u64::try_from(plan.until - plan.first_dirty).unwrap_or(0);
        let mut map = KeyMap::new(map_size.bytes_max, map_size.load_factor, keys_max, map_size.hash_key);
        let open = aborted.iter().filter(|entry| entry.last_offset >= plan.first_dirty).copied().collect();
        let filled = rewrite::fill(
            disk,
            &sources[dirty..],
            plan.first_dirty,
            config.decompressed_bytes_max as usize,
            Filling { transactions: &mut Transactions::new(open), map: &mut map, stats: &mut stats },
            pace,
        );
        self.unless_taken(view, &sources, filled)?;
        let cleaned = (map.latest() + 1).min(plan.until);
        let touched = &sources[..sources.partition_point(|source| source.segment.base_offset() < cleaned)];
        let facts: Vec<SegmentFacts> = touched.iter().map(facts_of).collect();
        let index_bytes: Vec<(u64, u64)> = touched.iter().map(|source| source.segment.index_bytes()).collect();
        let until = touched.last().map_or(plan.until, |source| source.next_base);
        let groups = plan::group(
            &facts,
            &index_bytes,
            until,
            u64::from(config.segment_bytes),
            u64::from(config.segment_index_bytes),
        );
        let rules = Rules { map: &map, now_ms: self.now_ms(), config: &config, last_records: &view.last_records };
        let mut transactions = Transactions::new(aborted);
        for group in groups {
            let sources = &touched[group];
            let base = sources[0].segment.base_offset();
            let mut rewrite = Rewrite::new(&rules, &mut transactions, &mut stats);
            let made = rewrite.run(disk, &self.path, sources, pace, || self.enter());
            let put = made.and_then(|made| self.put_in_place(sources, made, view.truncations));
            if put.is_err()
                && let Ok(_here) = self.enter()
            {
                // Best effort: the next pass and the next start try again.
                let _ = swap::discard(disk, &self.path, base);
            }
            self.unless_taken(view, sources, put)?;
        }
        let mut state = self.state.write();
        if state.truncations != view.truncations {
            return Err(Halt::Stopped);
        }
        state.cleaned = Some(cleaned);
        Ok(Compaction { plan, cleaned, stats })
    }

    /// For whoever makes or removes names in the directory: while this is held the partition is not deleted, and no other stands in its
    /// place, which might be compacted too. Stopped when that has happened, or the disk failed.
    fn enter(&self) -> Result<MutexGuard<'_, ()>, Halt> {
        let trim = self.trim.lock();
        match self.state.read().check_online(&self.path) {
            Ok(()) => Ok(trim),
            Err(_) => Err(Halt::Stopped),
        }
    }

    /// Aborted transactions with batches below `until`. All have ended: their markers may lie anywhere behind.
    fn aborted_below(&self, segments: &[Arc<Segment>], until: Offset) -> Result<Vec<AbortedEntry>, StorageError> {
        let mut aborted = Vec::new();
        for segment in segments {
            self.load_aborted(segment)?;
            segment.aborted(self.disk(), segment.base_offset(), |entry| {
                if entry.first_offset < until {
                    aborted.push(*entry);
                }
                true
            })?;
        }
        Ok(aborted)
    }

    /// Replaces the segments of `sources`; see [`swap`]. Stopped when they are not all there any more.
    fn put_in_place(&self, sources: &[Source], made: Segment, truncations: u64) -> Result<(), Halt> {
        let disk = self.disk();
        let base = made.base_offset();
        let _trim = self.trim.lock();
        {
            let state = self.state.read();
            if state.truncations != truncations || self.place_of(&state, sources)?.is_none() {
                return Err(Halt::Stopped);
            }
        }
        swap::commit(disk, &self.path, base)?;
        match self.sync_directory() {
            // Nothing has changed for anybody yet: whoever called takes it back.
            Err(error) if error.is_no_descriptor() => return Err(error.into()),
            Err(error) => {
                self.go_offline(&error);
                return Err(error.into());
            }
            Ok(()) => {}
        }
        let made = Arc::new(made);
        if let Err(error) = self.replace(sources, &made) {
            // Old or new: what is on disk is not known any more.
            self.go_offline(&error);
            return Err(error.into());
        }
        Ok(())
    }

    /// Where the segments of `sources` stand in the list, if they do.
    fn place_of(&self, state: &State, sources: &[Source]) -> Result<Option<usize>, StorageError> {
        state.check_online(&self.path)?;
        let first = state.segments.iter().position(|segment| Arc::ptr_eq(segment, &sources[0].segment));
        Ok(first.filter(|first| {
            let there = state.segments[*first..].iter().zip(sources);
            // One more than them: the segment being written is not among them.
            state.segments.len() > first + sources.len()
                && there.clone().count() == sources.len()
                && there.clone().all(|(segment, source)| Arc::ptr_eq(segment, &source.segment))
        }))
    }

    fn sync_directory(&self) -> Result<(), StorageError> {
        self.host.with_descriptors(|| self.disk().sync_dir(&self.path).at("sync", &self.path))
    }

    fn replace(&self, sources: &[Source], made: &Arc<Segment>) -> Result<(), StorageError> {
        let disk = self.disk();
        let last = sources.last().map_or(0, |source| source.segment.base_offset());
        let until = {
            let state = self.state.read();
            let next = state.segments.iter().map(|segment| segment.base_offset()).find(|base| *base > last);
            next.unwrap_or(state.log_end.offset)
        };
        self.tell(|observer| observer.rewriting(until));
        {
            let mut state = self.state.write();
            let Some(first) = self.place_of(&state, sources)? else {
                return Err(StorageError::invalid(&self.path, "segments changed while they were replaced"));
            };
            // Before a file has its name: who opened one by that name looks whether it was taken away.
            for source in sources {
                source.segment.mark_removed();
            }
            state.segments.replace(first..first + sources.len(), made.clone());
            state.recent.clear();
            // Only marks that lost their segment move: what lies behind the durable one, indexes of closed segments too, is yet to be
            // synced.
            let moved = |state: &State, mark: Mark| {
                let is_lost = sources.iter().any(|source| source.segment.base_offset() == mark.segment);
                if is_lost { state.placed(mark) } else { mark }
            };
            (state.durable, state.high_watermark) = (moved(&state, state.durable), moved(&state, state.high_watermark));
            state.log_end = moved(&state, state.log_end);
            let unstable = std::mem::take(&mut state.unstable);
            state.unstable = unstable.into_iter().map(|(first, mark)| (first, moved(&state, mark))).collect();
        }
        let mut gone = Vec::new();
        for source in &sources[1..] {
            gone.extend(source.segment.mark_deleted(disk)?);
        }
        self.sync_directory()?;
        self.host.with_descriptors(|| swap::finish(disk, &self.path, made.base_offset()))?;
        self.sync_directory()?;
        self.tell(|observer| observer.rewritten());
        made.settle();
        self.host.remove_later(gone, false, self.config.load().file_delete_delay_ms);
        for source in &sources[1..] {
            // A snapshot goes with its segment; one that stays is removed at the next start.
            let path = names::file(&self.path, source.segment.base_offset(), names::PRODUCER_SNAPSHOT);
            let _ = disk.remove_file(&path);
        }
        Ok(())
    }
}

/// What a pass saw of the partition when it began.
struct View {
    segments: Vec<Arc<Segment>>,
    last_records: HashMap<i64, LastRecord>,
    truncations: u64,
}

/// Looks now and then whether the partition is still in use.
struct Watch<'a> {
    partition: &'a Partition,
    inner: &'a mut dyn Pace,
    unseen: usize,
}

/// A pass asks its pace, and looks at the partition, after so many bytes.
const PACE_BYTES: usize = 256 << 10;

impl Pace for Watch<'_> {
    fn spend(&mut self, bytes: usize) -> bool {
        self.unseen += bytes;
        if self.unseen < PACE_BYTES {
            return true;
        }
        let spent = std::mem::take(&mut self.unseen);
        self.inner.spend(spent) && self.partition.state.read().check_online(&self.partition.path).is_ok()
    }
}

fn facts_of(source: &Source) -> SegmentFacts {
    SegmentFacts {
        base_offset: source.segment.base_offset(),
        bytes: u64::from(source.segment.size()),
        largest_timestamp_ms: -1,
        first_timestamp_ms: -1,
    }
}

/// The segments below `until`, each with where the next begins.
fn sources(segments: &[Arc<Segment>], until: Offset) -> Vec<Source> {
    segments
        .windows(2)
        .filter(|pair| pair[0].base_offset() < until)
        .map(|pair| Source { segment: pair[0].clone(), next_base: pair[1].base_offset() })
        .collect()
}

/// What must stay of the producers the partition knows.
fn last_records(state: &State) -> HashMap<i64, LastRecord> {
    state
        .producers
        .sorted()
        .into_iter()
        .map(|(id, producer)| {
            let last_offset = producer.batches.back().map(|batch| batch.last_offset);
            (id, LastRecord { last_offset, epoch: producer.epoch })
        })
        .collect()
}
