//! What opening finds in a partition's directory, and repairs.
//!
//! After a clean stop only what lies behind the last index entry is read: names give the segments, that tail gives the log end, the
//! newest snapshot the producers. Otherwise every segment that reaches past the recovery point is read from front to end, its checksums checked, its
//! indexes and the producers rebuilt. The first batch that is not valid ends the log: it is cut there, later segments go. A clean
//! stop that turns out not to fit (a tail cut by hand, a wrong index) is treated as an unclean one.
//!
//! A marker (`marker.rs`) says that the disk failed and how far it had everything: the log ends there, whatever follows. Where memory may
//! show what is not on the disk, what is past the recovery point is read from the disk itself, and ends where the two differ.
//!
//! Segments below the recovery point are trusted, their indexes too, unless a file is missing or of an impossible length: then the
//! indexes are rebuilt, and damage found on the way is reported but nothing is cut.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::ending::Ending;
use super::epochs::Epochs;
use super::listing::Listing;
use super::producers::Producers;
use super::replay::{remove_if_there, replay_segment};
use super::witness::{Follower, Wrong, epochs_of, judge_epoch, wrong_epoch};
use super::{OpenHint, RecoveryReport, snapshot};
use crate::batch::control;
use crate::batch::header::HEADER_BYTES;
use crate::env::{Clock, Disk, Env, OpenMode};
use crate::error::{IoContext, StorageError};
use crate::health::Trust;
use crate::index::{offset, time};
use crate::segment::scan::{Gaps, Scan, Step, Stop};
use crate::segment::{Segment, names, old};
use crate::{Offset, PartitionConfig, checkpoint};

pub(super) struct Loaded {
    pub segments: Vec<Arc<Segment>>,
    pub log_start: Offset,
    pub log_end: Offset,
    pub epochs: Epochs,
    pub producers: Producers,
    pub snapshot_offset: Option<Offset>,
    pub report: RecoveryReport,
}

/// The segments that are scanned, and what is known of them.
struct Tail<'a> {
    bases: &'a [Offset],
    /// What the epoch checkpoint said.
    stored: Option<&'a Epochs>,
    recovery_point: Offset,
}

/// None: there is no such directory.
pub(super) fn load(
    env: &Env,
    path: &Path,
    config: &PartitionConfig,
    mut hint: OpenHint,
    trust: Trust,
) -> Result<Option<Loaded>, StorageError> {
    let disk = env.disk().as_ref();
    let mut report = RecoveryReport::default();
    let Some(listing) = Listing::take(disk, path, &mut report.damage)? else { return Ok(None) };
    let ending = Ending::find(disk, path, trust, config.durability, &mut hint, &mut report.damage)?;
    let cleaned = hint.cleaned.unwrap_or(0);
    let clock = env.clock().as_ref();
    let mut load = Load { disk, clock, path, config, cleaned, listing, report, ending, epochs_are_wrong: false };
    let loaded = load.run(hint)?;
    load.ending.settle(disk, path)?;
    Ok(Some(loaded))
}

struct Load<'a> {
    disk: &'a dyn Disk,
    clock: &'a dyn Clock,
    path: &'a Path,
    config: &'a PartitionConfig,
    /// Offsets may be missing below.
    cleaned: Offset,
    listing: Listing,
    report: RecoveryReport,
    ending: Ending,
    /// The epoch checkpoint says otherwise than the batches.
    epochs_are_wrong: bool,
}

impl Load<'_> {
    fn run(&mut self, hint: OpenHint) -> Result<Loaded, StorageError> {
        let bases: Vec<Offset> = self.listing.logs.keys().copied().collect();
        let Some(last) = bases.last().copied() else {
            return self.nothing(hint);
        };
        let stored = checkpoint::read_epochs(self.disk, &self.path.join(names::LEADER_EPOCHS))?;
        let known = stored.as_deref().map(|entries| Epochs::new(entries.to_vec()));
        let mut segments = Vec::with_capacity(bases.len());
        let mut scan_from = bases.len();
        if !hint.clean {
            // A segment that ends at the recovery point is scanned too: its records were synced before it was closed, its indexes may
            // not have been.
            scan_from = bases.partition_point(|base| *base < hint.recovery_point).saturating_sub(1);
        }
        for (index, base) in bases.iter().enumerate().take(scan_from.min(bases.len() - 1)) {
            segments.push(Arc::new(self.closed(*base, bases[index + 1])?));
        }
        let mut log_end = bases[scan_from.min(bases.len() - 1)];
        if scan_from == bases.len() {
            match self.reopen(last, known.as_ref(), &segments)? {
                Some((segment, end)) => {
                    segments.push(Arc::new(segment));
                    log_end = end;
                }
                None => {
                    scan_from = bases.len() - 1;
                    self.report.damage.push(format!(
                        "{} does not fit its index; scanned",
                        names::file(self.path, last, names::LOG).display()
                    ));
                }
            }
        }

        let scan_base = bases.get(scan_from).copied().unwrap_or(log_end);
        let (mut producers, snapshot_offset) =
            self.listing.newest_snapshot(self.disk, self.path, scan_base, &mut self.report.damage)?;
        let mut epochs = known.clone().unwrap_or_default();
        self.replay(&segments, snapshot_offset, scan_base, &mut producers, stored.is_none().then_some(&mut epochs))?;
        self.listing.drop_snapshots_above(self.disk, self.path, scan_base)?;
        if scan_from < bases.len() {
            epochs.truncate_end(scan_base);
            let tail = Tail { bases: &bases[scan_from..], stored: known.as_ref(), recovery_point: hint.recovery_point };
            log_end = self.scan(&tail, &mut segments, &mut producers, &mut epochs)?;
        }
        if self.epochs_are_wrong {
            epochs = epochs_of(self.disk, &segments)?;
        }
        // An epoch that began at the very end wrote nothing yet, but its leader was there.
        epochs.truncate_end(log_end.saturating_add(1));

        let mut said_start = hint.log_start;
        if log_end < said_start && hint.clean && self.report.bytes_cut == 0 {
            // Nothing is missing here: it is the checkpoint, which has no checksum, that is wrong. Not a word of it is a reason to delete.
            self.report.damage.push(format!(
                "{} ends at offset {log_end}, before {said_start}, where the checkpoint says that it starts; not believed",
                self.path.display()
            ));
            said_start = 0;
        }
        if log_end < said_start {
            // What was cut reached past the log start. Offsets are never given out twice: the log goes on from there, empty.
            let bases: Vec<Offset> = segments.drain(..).map(|segment| segment.base_offset()).collect();
            self.drop_segments(&bases)?;
            // Files that came back behind a clean stop would tell of another log.
            self.disk.sync_dir(self.path).at("sync", self.path)?;
            return self.nothing(hint);
        }
        let first = segments.first().map_or(log_end, |segment| segment.base_offset());
        let log_start = said_start.max(first);
        epochs.truncate_start(log_start);
        // The file need not know where the log starts.
        let said = known.map(|mut known| {
            known.truncate_start(log_start);
            known
        });
        if said.as_ref() != Some(&epochs) {
            checkpoint::write_epochs(self.disk, &self.path.join(names::LEADER_EPOCHS), epochs.entries())?;
        }
        self.listing.drop_stray_snapshots(self.disk, self.path, &segments, snapshot_offset)?;
        // A recovery point inside the last segment was written after the names were synced.
        let names_are_synced =
            self.report.segments_scanned < 2 && self.report.bytes_cut == 0 && hint.recovery_point > last;
        if self.report.segments_scanned > 0 && !names_are_synced {
            self.disk.sync_dir(self.path).at("sync", self.path)?;
        }
        let report = std::mem::take(&mut self.report);
        Ok(Loaded { segments, log_start, log_end, epochs, producers, snapshot_offset, report })
    }

    /// A directory without segments: the log goes on where it was said to start.
    fn nothing(&mut self, hint: OpenHint) -> Result<Loaded, StorageError> {
        let offset = hint.log_start.max(0);
        let epochs = checkpoint::read_epochs(self.disk, &self.path.join(names::LEADER_EPOCHS))?.unwrap_or_default();
        let mut epochs = Epochs::new(epochs);
        epochs.truncate_end(offset);
        epochs.truncate_start(offset);
        Ok(Loaded {
            segments: Vec::new(),
            log_start: offset,
            log_end: offset,
            epochs,
            producers: Producers::default(),
            snapshot_offset: None,
            report: std::mem::take(&mut self.report),
        })
    }

    fn length_of(&self, base: Offset) -> u32 {
        self.listing.logs.get(&base).map_or(0, |entry| u32::try_from(entry.length).unwrap_or(u32::MAX))
    }

    fn modified_of(&self, base: Offset) -> i64 {
        self.listing.logs.get(&base).map_or(0, |entry| entry.modified_ms)
    }

    /// A segment below the recovery point, taken as it is if its indexes can be.
    fn closed(&mut self, base: Offset, next_base: Offset) -> Result<Segment, StorageError> {
        let (size, modified_ms) = (self.length_of(base), self.modified_of(base));
        let plausible =
            |length: Option<&u64>, entry: usize| length.copied().filter(|length| length.is_multiple_of(entry as u64));
        let offsets = plausible(self.listing.offset_indexes.get(&base), offset::ENTRY_BYTES);
        let times = plausible(self.listing.time_indexes.get(&base), time::ENTRY_BYTES);
        if let (Some(offsets), Some(times)) = (offsets, times) {
            return Ok(Segment::closed(self.path, base, size, modified_ms, offsets, times));
        }
        let segment = Segment::writable(self.path, base, size, modified_ms);
        let mut scan = Scan::new(segment.log(self.disk)?, base, u64::from(size), Gaps::Before(next_base));
        loop {
            match scan.step().at("read", segment.log_path())? {
                Step::Batch(batch) => segment.note_batch(
                    &batch.header,
                    batch.position,
                    batch.batch.len() as u32,
                    self.config.index_interval_bytes,
                ),
                Step::End => break,
                Step::Stopped(stop) => {
                    self.report.damage.push(format!(
                        "{} at byte {}, before offset {next_base}: {}",
                        segment.log_path().display(),
                        stop.position,
                        stop.what
                    ));
                    break;
                }
            }
        }
        self.report.indexes_rebuilt += 1;
        segment.seal_indexes(self.disk, true)?;
        segment.retire();
        Ok(segment)
    }

    /// The last segment after a clean stop, and where the log ends; None when log and index do not fit together.
    fn reopen(
        &mut self,
        base: Offset,
        known: Option<&Epochs>,
        older: &[Arc<Segment>],
    ) -> Result<Option<(Segment, Offset)>, StorageError> {
        let (size, modified_ms) = (self.length_of(base), self.modified_of(base));
        let segment = match Segment::reopen(self.disk, self.path, base, size, modified_ms) {
            Ok(Some(segment)) => segment,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(StorageError::io("read the indexes of", &names::file(self.path, base, names::LOG), error));
            }
        };
        let indexed = segment.last_indexed(self.disk)?;
        let from = indexed.map_or(0, |entry| entry.position);
        // The first batch looked at must be the one the index names: offsets are outside the checksums.
        let first = match (indexed, segment.walk(self.disk, from, size, |_| true)) {
            (_, Ok(None)) | (None, _) => base,
            (Some(entry), Ok(Some(found))) if found.header.last_offset() == entry.last_offset => {
                found.header.base_offset
            }
            (Some(_), Ok(Some(_)) | Err(StorageError::Corrupt { .. })) => return Ok(None),
            (Some(_), Err(error)) => return Err(error),
        };
        let mut scan =
            Scan::from(segment.log(self.disk)?, u64::from(from), first, u64::from(size), self.gaps(base, None));
        let mut end = first;
        loop {
            match scan.step().at("read", segment.log_path())? {
                Step::Batch(batch) if wrong_epoch(known, &batch.header).is_some() => return Ok(None),
                Step::Batch(batch) => end = batch.header.next_offset(),
                Step::End => {
                    let fits = segment.last_time(self.disk)?.1 && segment.load_aborted(self.disk, older)?;
                    return Ok(fits.then_some((segment, end)));
                }
                Step::Stopped(_) => return Ok(None),
            }
        }
    }

    /// Whether offsets may be missing in the segment that begins at `base`. The last segment is never compacted, so that only one of a
    /// topic that is compacted now, and was cut back to an older segment, is taken with gaps. Any other may have been compacted when the
    /// topic had other settings.
    fn gaps(&self, base: Offset, next_base: Option<Offset>) -> Gaps {
        match next_base {
            Some(next_base) => Gaps::Before(next_base),
            None if self.config.cleanup_policy.compact || base < self.cleaned => {
                Gaps::Before(base.saturating_add(i64::from(i32::MAX)))
            }
            None => Gaps::Never,
        }
    }

    /// Whether one of these segments shows that compaction came that far.
    fn is_compacted_behind(&self, bases: &[Offset]) -> Result<bool, StorageError> {
        for (index, base) in bases.iter().copied().enumerate() {
            let path = names::file(self.path, base, names::LOG);
            let log = self.disk.open(&path, OpenMode::Read).at("open", &path)?;
            let gaps = self.gaps(base, bases.get(index + 1).copied());
            let mut scan = Scan::new(log, base, u64::from(self.length_of(base)), gaps);
            while let Step::Batch(_) = scan.step().at("read", &path)? {}
            if scan.is_compacted() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Enters batches between the snapshot and `until` into the producers, and into the epochs when their file was lost.
    fn replay(
        &mut self,
        segments: &[Arc<Segment>],
        snapshot_offset: Option<Offset>,
        until: Offset,
        producers: &mut Producers,
        mut epochs: Option<&mut Epochs>,
    ) -> Result<(), StorageError> {
        let from = snapshot_offset.unwrap_or(0);
        for (index, segment) in segments.iter().enumerate() {
            let ends_before = segments.get(index + 1).is_some_and(|next| next.base_offset() <= from);
            if segment.base_offset() >= until || (ends_before && epochs.is_none()) {
                continue;
            }
            replay_segment(self.disk, segment, from, until, producers, epochs.as_deref_mut())?;
        }
        Ok(())
    }

    /// Reads the segments that are not known to be good; the log ends at the first invalid batch.
    fn scan(
        &mut self,
        tail: &Tail<'_>,
        segments: &mut Vec<Arc<Segment>>,
        producers: &mut Producers,
        epochs: &mut Epochs,
    ) -> Result<Offset, StorageError> {
        let Tail { bases, stored, recovery_point } = *tail;
        let mut log_end = bases[0];
        for (index, base) in bases.iter().copied().enumerate() {
            let log_path = names::file(self.path, base, names::LOG);
            if base < log_end {
                self.report
                    .damage
                    .push(format!("{} begins before offset {log_end}, where the log is already", log_path.display()));
                self.ending.will_cut(self.disk, self.path, log_end)?;
                self.drop_segments(&bases[index..])?;
                break;
            }
            log_end = base;
            if index > 0 {
                // As a roll would have: retention may take what these producers are known from.
                let path = names::file(self.path, base, names::PRODUCER_SNAPSHOT);
                let file = self.disk.open(&path, OpenMode::Truncate).at("create", &path)?;
                file.write_at(&mut [IoSlice::new(&snapshot::encode(producers))], 0).at("write", &path)?;
            }
            let size = self.length_of(base);
            let segment = Segment::writable(self.path, base, size, self.modified_of(base));
            let mut aborted = Vec::new();
            let next_base = bases.get(index + 1).copied();
            let gaps = self.gaps(base, next_base);
            let shown = segment.log(self.disk)?;
            let mut scan = Scan::new(shown.clone(), base, u64::from(size), gaps);
            let (mut beyond, mut is_beyond) = (None, false);
            let stop = loop {
                if !is_beyond && log_end >= recovery_point && !scan.is_at_end() {
                    is_beyond = true;
                    beyond = self.ending.beyond(self.disk, &shown, &log_path)?;
                    beyond.iter().for_each(|file| scan.go_on_in(file.clone()));
                }
                match scan.step().at("read", &log_path)? {
                    Step::End => break None,
                    Step::Stopped(mut stop) => {
                        if beyond.as_ref().is_some_and(|file| file.differs()) {
                            stop.what = format!("memory shows other bytes than the disk ({})", stop.what);
                        }
                        break Some(stop);
                    }
                    Step::Batch(batch) => {
                        let mut wrong = self.ending.past(&batch.header);
                        if wrong.is_none() && !self.epochs_are_wrong {
                            let follower = Follower { log: &shown, path: &log_path, size, next_base };
                            match judge_epoch(self.disk, self.path, stored, &batch, &follower)? {
                                None => {}
                                Some(Wrong::Batch(what)) => wrong = Some(what),
                                Some(Wrong::Checkpoint(what)) => {
                                    self.report.damage.push(what);
                                    self.epochs_are_wrong = true;
                                }
                            }
                        }
                        if let Some(what) = wrong {
                            break Some(Stop { position: u64::from(batch.position), what });
                        }
                        log_end = batch.header.next_offset();
                        segment.note_batch(
                            &batch.header,
                            batch.position,
                            batch.batch.len() as u32,
                            self.config.index_interval_bytes,
                        );
                        epochs.assign(batch.header.leader_epoch, batch.header.base_offset);
                        let ended = producers
                            .apply(&batch.header, control::end_marker_of(&batch.header, &batch.batch[HEADER_BYTES..]));
                        if let Some(ended) = ended.filter(|ended| ended.aborted) {
                            aborted.push(producers.aborted_entry(&ended));
                        }
                    }
                }
            };
            self.report.segments_scanned += 1;
            self.report.indexes_rebuilt += 1;
            self.report.bytes_scanned += u64::from(size);
            if let Some(stop) = &stop {
                let old = old::message_format(shown.as_ref(), stop.position, u64::from(size)).at("read", &log_path)?;
                if let Some(format) = old {
                    let what = format!(
                        "there are messages of format {format} from byte {} on, as Apache Kafka wrote them before 0.11: they can be neither served nor cut off",
                        stop.position
                    );
                    return Err(StorageError::invalid(&log_path, what));
                }
                self.report.bytes_cut += u64::from(size) - stop.position;
                self.report.damage.push(format!(
                    "{} cut at byte {}, offset {log_end}: {}",
                    log_path.display(),
                    stop.position,
                    stop.what
                ));
                // Elsewhere the next start sees that the log does not end where it was known to, and syncs it.
                if log_end == recovery_point || index + 1 < bases.len() {
                    self.ending.will_cut(self.disk, self.path, log_end)?;
                }
                segment.cut_log(self.disk, stop.position as u32)?;
            }
            if !aborted.is_empty() || self.listing.txn_indexes.contains(&base) {
                segment.set_aborted(self.disk, aborted)?;
            }
            // The next segment begins where this one ends, unless compaction took what was between (Kafka's; ours leaves the last batch of
            // a segment). A tail that was torn off between two batches looks the same: that compaction came as far as here tells them
            // apart, since what is compacted was synced before.
            let gap = stop.is_none()
                && next_base.is_some_and(|next_base| next_base != log_end && self.cleaned < next_base)
                && !scan.is_compacted()
                && !self.is_compacted_behind(&bases[index + 1..])?;
            if gap {
                self.report
                    .damage
                    .push(format!("{} ends at offset {log_end}, before the next segment begins", log_path.display()));
            }
            let is_last = stop.is_some() || gap || index + 1 == bases.len();
            let scanned_ms = self.clock.monotonic_ms();
            if is_last {
                // Made anew after the next crash too: they need not survive it.
                segment.keep_same_indexes(self.disk)?;
                segment.flush_indexes(self.disk, false)?;
            } else {
                segment.seal_indexes(self.disk, true)?;
                segment.retire();
            }
            // What the crash left in the page cache. A log that ends right at its recovery point was on the disk before, but for one that
            // was truncated to nothing; one that ends below it was cut, which may not be.
            if stop.is_some() || log_end != recovery_point || log_end == 0 || self.ending.has_marker() {
                segment.sync_log(self.disk)?;
            }
            self.report.sync_ms += self.clock.monotonic_ms() - scanned_ms;
            segments.push(Arc::new(segment));
            if is_last {
                if index + 1 < bases.len() {
                    self.ending.will_cut(self.disk, self.path, log_end)?;
                }
                self.drop_segments(&bases[index + 1..])?;
                break;
            }
        }
        // When the successors were dropped for what they were, a retired segment is the last one and is written on.
        if let Some(last) = segments.last() {
            last.revive_indexes(self.disk)?;
        }
        Ok(log_end)
    }

    /// Segments behind a cut.
    fn drop_segments(&mut self, bases: &[Offset]) -> Result<(), StorageError> {
        for base in bases {
            self.report.bytes_cut += u64::from(self.length_of(*base));
            for suffix in [names::LOG, names::OFFSET_INDEX, names::TIME_INDEX, names::TXN_INDEX] {
                remove_if_there(self.disk, &names::file(self.path, *base, suffix))?;
            }
        }
        Ok(())
    }
}
