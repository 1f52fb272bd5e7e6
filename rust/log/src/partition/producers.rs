//! What a partition knows of the producers that wrote to it: epochs, sequences, the last five batches of each, open transactions.
//! Kafka's `ProducerStateManager` and `ProducerAppendInfo`, as one pure state machine: no disk, no clock.
//!
//! A client's batch passes when
//! - its epoch is not below the producer's last one (INVALID_PRODUCER_EPOCH),
//! - its first sequence follows the last one, or is 0 in a new epoch, or nothing is known of the producer
//!   (OUT_OF_ORDER_SEQUENCE_NUMBER),
//! - or it is one of the last five batches again: then it is answered with the offsets it got the first time.
//!
//! A transaction opens with its first batch and ends with a control batch. The first offset of the oldest one that is open, or ended by
//! a marker the high watermark has not passed, is the first unstable offset: read_committed sees nothing from there on.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::VerificationGuard;
use super::verifications::Verifications;
use crate::Offset;
use crate::batch::{BatchHeader, Marker, NO_PRODUCER_EPOCH, NO_SEQUENCE, header::add_sequence};
use crate::error::AppendError;
use crate::index::txn::AbortedEntry;

/// How many batches of a producer are remembered: clients keep at most so many in flight.
pub const BATCHES_KEPT: usize = 5;

/// A batch a producer wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenBatch {
    pub last_sequence: i32,
    pub last_offset: Offset,
    pub offset_delta: i32,
    pub timestamp_ms: i64,
}

impl WrittenBatch {
    pub fn first_sequence(&self) -> i32 {
        // Wraps downwards as add_sequence does upwards.
        add_sequence(self.last_sequence, self.offset_delta.wrapping_neg())
    }

    pub fn first_offset(&self) -> Offset {
        self.last_offset.wrapping_sub(i64::from(self.offset_delta))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    pub epoch: i16,
    /// Oldest first, all of this epoch.
    pub batches: VecDeque<WrittenBatch>,
    pub coordinator_epoch: i32,
    pub last_timestamp_ms: i64,
    /// First offset of the transaction that is open.
    pub transaction_start: Option<Offset>,
}

impl Producer {
    fn new() -> Producer {
        Producer {
            epoch: NO_PRODUCER_EPOCH,
            batches: VecDeque::new(),
            coordinator_epoch: -1,
            last_timestamp_ms: -1,
            transaction_start: None,
        }
    }

    pub fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    fn enter_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

    fn add(&mut self, epoch: i16, batch: WrittenBatch) {
        self.enter_epoch(epoch);
        if self.batches.len() == BATCHES_KEPT {
            self.batches.pop_front();
        }
        self.batches.push_back(batch);
        self.last_timestamp_ms = batch.timestamp_ms;
    }
}

/// A transaction that ended; it stays unstable until the high watermark passes its marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ended {
    last_offset: Offset,
}

/// What a batch that passed will change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append it, then [`Producers::apply`].
    Append,
    /// It is there already.
    Duplicate(WrittenBatch),
}

/// What applying a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndedTransaction {
    pub producer_id: i64,
    pub first_offset: Offset,
    pub last_offset: Offset,
    pub aborted: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Producers {
    by_id: HashMap<i64, Producer>,
    /// First offset -> producer.
    open: BTreeMap<Offset, i64>,
    /// First offset -> what is not yet below the high watermark.
    ended: BTreeMap<Offset, Ended>,
    verifications: Verifications,
}

impl Producers {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn open_transactions(&self) -> usize {
        self.open.len()
    }

    /// First offsets of the transactions that are not stable: open, or ended above the high watermark.
    pub fn unstable_starts(&self) -> Vec<Offset> {
        self.open.keys().chain(self.ended.keys()).copied().collect()
    }

    /// In ascending order of their ids.
    pub fn sorted(&self) -> Vec<(i64, &Producer)> {
        let mut all: Vec<_> = self.by_id.iter().map(|(id, producer)| (*id, producer)).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// Puts back what a snapshot held.
    pub fn restore(&mut self, producer_id: i64, producer: Producer) {
        if let Some(first_offset) = producer.transaction_start {
            self.open.insert(first_offset, producer_id);
        }
        self.by_id.insert(producer_id, producer);
    }

    /// Has this producer a transaction open here in this epoch?
    pub fn in_transaction(&self, producer_id: i64, epoch: i16) -> bool {
        self.by_id
            .get(&producer_id)
            .is_some_and(|producer| producer.transaction_start.is_some() && producer.epoch == epoch)
    }

    /// Has this producer a transaction open here, in whatever epoch it began?
    pub fn has_transaction(&self, producer_id: i64) -> bool {
        self.by_id.get(&producer_id).is_some_and(|producer| producer.transaction_start.is_some())
    }

    /// Has this producer a newer epoch already?
    pub fn is_zombie(&self, producer_id: i64, epoch: i16) -> bool {
        self.by_id.get(&producer_id).is_some_and(|producer| epoch < producer.epoch)
    }

    /// May a transaction that is not open here begin with this batch? Kafka's `UnifiedLog.analyzeAndValidateProducerState`.
    fn check_verified(
        &self,
        header: &BatchHeader,
        guard: Option<VerificationGuard>,
        offset: Offset,
        name: &str,
    ) -> Result<(), AppendError> {
        let (id, epoch) = (header.producer_id, header.producer_epoch);
        if !header.is_transactional() || self.in_transaction(id, epoch) {
            return Ok(());
        }
        if let Some(producer) = self.by_id.get(&id) {
            check_epoch(header, producer.epoch, offset, 0, true, name)?;
        }
        let verification = self.verifications.get(id);
        if guard.is_some() && verification.map(|verification| verification.guard) == guard {
            return Ok(());
        }
        Err(AppendError::InvalidTxnState(format!("Record was not part of an ongoing transaction in {name}")))
    }

    /// Begins or goes on with a verification. None when there is nothing to verify: the transaction is open, or its producer is a zombie,
    /// which [`Producers::judge`] refuses.
    pub fn start_verification(
        &mut self,
        producer_id: i64,
        epoch: i16,
        first_sequence: i32,
        bumps_epoch: bool,
        now_ms: i64,
    ) -> Option<VerificationGuard> {
        if self.in_transaction(producer_id, epoch) || self.is_zombie(producer_id, epoch) {
            return None;
        }
        Some(self.verifications.start(producer_id, epoch, first_sequence, bumps_epoch, now_ms))
    }

    /// May this client's batch be appended at `offset`? `guard` is what a verification returned.
    pub fn judge(
        &self,
        header: &BatchHeader,
        offset: Offset,
        guard: Option<VerificationGuard>,
        name: &str,
    ) -> Result<Verdict, AppendError> {
        let id = header.producer_id;
        let producer = self.by_id.get(&id);
        if let Some(duplicate) = producer.and_then(|producer| find_duplicate(producer, header)) {
            return Ok(Verdict::Duplicate(duplicate));
        }
        self.check_verified(header, guard, offset, name)?;
        let verification = self.verifications.get(id);
        let epoch = producer.map_or(NO_PRODUCER_EPOCH, |producer| producer.epoch);
        check_epoch(header, epoch, offset, 0, true, name)?;
        let out_of_order = |what: String| {
            Err(AppendError::OutOfOrderSequence(format!(
                "Out of order sequence number for producer {id} at offset {offset} in partition {name}: {} (incoming seq. number), {what}",
                header.base_sequence
            )))
        };
        if verification.is_some_and(|verification| verification.bumps_epoch)
            && header.base_sequence != 0
            && producer.is_none_or(|producer| producer.batches.is_empty())
        {
            return Err(AppendError::OutOfOrderSequence(format!(
                "Invalid sequence number for producer {id} at offset {offset} in partition {name}: {} (incoming seq. number). Expected sequence 0 for transactions v2 idempotent producer with no existing state.",
                header.base_sequence
            )));
        }
        if let Some(verification) = verification
            && header.base_sequence > verification.lowest_sequence
        {
            return out_of_order(format!("{} (earliest seen sequence)", verification.lowest_sequence));
        }
        if header.producer_epoch != epoch {
            if header.base_sequence != 0 && epoch != NO_PRODUCER_EPOCH {
                return Err(AppendError::OutOfOrderSequence(format!(
                    "Invalid sequence number for new epoch of producer {id} at offset {offset} in partition {name}: {} (request epoch), {} (seq. number), {epoch} (current producer epoch)",
                    header.producer_epoch, header.base_sequence
                )));
            }
        } else {
            let last = producer.map_or(NO_SEQUENCE, Producer::last_sequence);
            let follows = i64::from(header.base_sequence) == i64::from(last) + 1
                || (header.base_sequence == 0 && last == i32::MAX);
            if epoch != NO_PRODUCER_EPOCH && !follows {
                return out_of_order(format!("{last} (current end sequence number)"));
            }
        }
        self.check_transactional(header, offset, name)?;
        Ok(Verdict::Append)
    }

    /// A coordinator's batch: no sequence counts, only its epoch, for a marker the coordinator's, and for offsets committed in a
    /// transaction that it was asked for.
    pub fn judge_internal(
        &self,
        header: &BatchHeader,
        marker: Option<(Marker, i32)>,
        guard: Option<VerificationGuard>,
        offset: Offset,
        transaction_version: i16,
        name: &str,
    ) -> Result<(), AppendError> {
        if !header.is_control() {
            self.check_verified(header, guard, offset, name)?;
        }
        let Some(producer) = self.by_id.get(&header.producer_id) else { return Ok(()) };
        check_epoch(header, producer.epoch, offset, transaction_version, producer.transaction_start.is_some(), name)?;
        match marker {
            Some((_, coordinator_epoch)) if producer.coordinator_epoch > coordinator_epoch => {
                Err(AppendError::TransactionCoordinatorFenced(format!(
                    "Invalid coordinator epoch for producerId {} at offset {offset} in partition {name}: {coordinator_epoch} (zombie), {} (current)",
                    header.producer_id, producer.coordinator_epoch
                )))
            }
            Some(_) => Ok(()),
            None => self.check_transactional(header, offset, name),
        }
    }

    /// No plain batch in the middle of a transaction.
    fn check_transactional(&self, header: &BatchHeader, offset: Offset, name: &str) -> Result<(), AppendError> {
        if self.has_transaction(header.producer_id) && !header.is_transactional() {
            return Err(AppendError::InvalidTxnState(format!(
                "Expected transactional write from producer {} at offset {offset} in partition {name}",
                header.producer_id
            )));
        }
        Ok(())
    }

    /// Enters an appended batch, its base offset in the header. Also how state is rebuilt from a log: nothing is judged here.
    pub fn apply(&mut self, header: &BatchHeader, marker: Option<(Marker, i32)>) -> Option<EndedTransaction> {
        if !header.has_producer() {
            return None;
        }
        let id = header.producer_id;
        if header.is_control() {
            let (marker, coordinator_epoch) = marker?;
            let producer = self.by_id.entry(id).or_insert_with(Producer::new);
            producer.enter_epoch(header.producer_epoch);
            producer.coordinator_epoch = coordinator_epoch;
            producer.last_timestamp_ms = header.max_timestamp_ms;
            // The epoch a marker of version 2 carries is that of the next transaction: what is being asked for that stays.
            if self.verifications.get(id).is_some_and(|next| !next.bumps_epoch || next.epoch != header.producer_epoch) {
                self.verifications.remove(id);
            }
            let first_offset = producer.transaction_start.take()?;
            self.open.remove(&first_offset);
            let last_offset = header.last_offset();
            self.ended.insert(first_offset, Ended { last_offset });
            return Some(EndedTransaction {
                producer_id: id,
                first_offset,
                last_offset,
                aborted: marker == Marker::Abort,
            });
        }
        let producer = self.by_id.entry(id).or_insert_with(Producer::new);
        producer.add(
            header.producer_epoch,
            WrittenBatch {
                last_sequence: header.last_sequence(),
                last_offset: header.last_offset(),
                offset_delta: header.last_offset_delta,
                timestamp_ms: header.max_timestamp_ms,
            },
        );
        if header.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(header.base_offset);
            self.open.insert(header.base_offset, id);
        }
        self.verifications.remove(id);
        None
    }

    /// The index entry of a transaction that just ended with an abort.
    pub fn aborted_entry(&self, ended: &EndedTransaction) -> AbortedEntry {
        let last_stable_offset = self.open.keys().next().copied().unwrap_or(ended.last_offset + 1);
        AbortedEntry {
            producer_id: ended.producer_id,
            first_offset: ended.first_offset,
            last_offset: ended.last_offset,
            last_stable_offset,
        }
    }

    /// Transactions whose marker lies below the high watermark are stable: where these began.
    pub fn high_watermark_moved(&mut self, high_watermark: Offset) -> Vec<Offset> {
        let mut stable = Vec::new();
        self.ended.retain(|first_offset, ended| {
            let is_unstable = ended.last_offset >= high_watermark;
            if !is_unstable {
                stable.push(*first_offset);
            }
            is_unstable
        });
        stable
    }

    pub fn first_unstable(&self) -> Option<Offset> {
        let open = self.open.keys().next();
        let ended = self.ended.keys().next();
        match (open, ended) {
            (Some(open), Some(ended)) => Some(*open.min(ended)),
            (one, other) => one.or(other).copied(),
        }
    }

    /// Forgets producers without an open transaction that were silent for `expiration_ms`, and verifications nobody finished.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.by_id.len();
        self.by_id.retain(|_, producer| {
            producer.transaction_start.is_some() || now_ms.saturating_sub(producer.last_timestamp_ms) < expiration_ms
        });
        self.verifications.expire(now_ms, expiration_ms);
        before - self.by_id.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        let mut verifications = std::mem::take(&mut self.verifications);
        verifications.clear();
        *self = Producers { verifications, ..Producers::default() };
    }
}

fn find_duplicate(producer: &Producer, header: &BatchHeader) -> Option<WrittenBatch> {
    if producer.epoch != header.producer_epoch {
        return None;
    }
    let last_sequence = header.last_sequence();
    producer
        .batches
        .iter()
        .find(|batch| batch.first_sequence() == header.base_sequence && batch.last_sequence == last_sequence)
        .copied()
}

/// From transaction version 2 on a marker's epoch is above all the producer's batches (KIP-890); the same epoch again with no open
/// transaction is a marker written twice and passes (KAFKA-19999), and so does the last epoch there is.
fn check_epoch(
    header: &BatchHeader,
    current: i16,
    offset: Offset,
    transaction_version: i16,
    open: bool,
    name: &str,
) -> Result<(), AppendError> {
    let epoch = header.producer_epoch;
    let strict = transaction_version >= 2;
    let is_new_enough = epoch >= current && !(strict && epoch == current && open && epoch != i16::MAX);
    if is_new_enough {
        return Ok(());
    }
    Err(AppendError::InvalidProducerEpoch(format!(
        "Epoch of producer {} at offset {offset} in {name} is {epoch}, which is {} the last seen epoch {current}",
        header.producer_id,
        if strict { "not above" } else { "smaller than" }
    )))
}
