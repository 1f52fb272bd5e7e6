//! A look at partitions, in order, until all have answered. Where it needs the disk is in [`crate::walk`].
//!
//! A few records from each of very many partitions are copied: a call of `sendfile` for each would cost more, and an answer that waits
//! for a slow client would hold as many descriptors.

use std::sync::Arc;

use ottla_log::env::read_exact_at;
use ottla_protocol::native::fetch::{DivergingEpoch, PartitionHead};

use crate::error_code::ErrorCode;
use crate::image::{Image, PartitionState};
use crate::replica::{Isolation, Patience, Replica};
use crate::reply::FileRegion;
use crate::sessions::{PartitionKey, Reader, Said, Target, TopicKey, Wanted};
use crate::walk::{Walk, WouldWait};

/// Records of a partition up to here are copied, and up to here of all partitions of an answer.
const COPY_BYTES_MAX: usize = 8 * 1024;
const COPY_BYTES_OF_ALL: usize = 1024 * 1024;
/// An answer with so many files is full. What the others have comes with the next one.
const FILES_MAX: usize = 256;

/// What was read of one partition.
pub struct Read {
    pub head: PartitionHead,
    /// The topic or partition does not exist; such answers stand behind all others, as in Kafka.
    pub is_unknown: bool,
    pub records: Option<Records>,
}

/// Where they are.
pub enum Records {
    File(FileRegion),
    Memory(Vec<u8>),
}

impl Read {
    pub fn bytes(&self) -> usize {
        match &self.records {
            None => 0,
            Some(Records::File(region)) => region.bytes,
            Some(Records::Memory(bytes)) => bytes.len(),
        }
    }

    /// Nobody waits with such an answer.
    pub fn is_urgent(&self) -> bool {
        self.head.error_code != 0 || self.head.diverging_epoch.is_some()
    }

    /// What a session must know of it.
    pub fn said(&self, wanted: &Wanted, isolation: Isolation) -> Said {
        let end = match isolation {
            Isolation::ReadUncommitted => self.head.high_watermark,
            Isolation::ReadCommitted => self.head.last_stable_offset,
        };
        Said {
            error: ErrorCode(self.head.error_code),
            high_watermark: self.head.high_watermark,
            log_start_offset: self.head.log_start_offset,
            record_bytes: self.bytes(),
            diverged: self.head.diverging_epoch.is_some(),
            is_exhausted: !self.is_urgent() && wanted.fetch_offset >= end,
        }
    }
}

/// See the module.
pub struct Look {
    reader: Reader,
    pub targets: Vec<Target>,
    /// Of the first targets, as far as it has come.
    pub reads: Vec<Read>,
    bytes_left: usize,
    copy_bytes_left: usize,
    files_left: usize,
    must_be_whole: bool,
}

/// The partition, or why there is none.
pub fn find<'a>(image: &'a Image, key: &PartitionKey) -> Result<&'a PartitionState, ErrorCode> {
    let topic = match &key.topic {
        TopicKey::Name(name) => image.topic(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?,
        TopicKey::Id(id) => image.topic_by_id(id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?,
    };
    topic.partition(key.partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

impl Walk for Look {
    fn step(&mut self, image: &Image, patience: Patience) -> Result<bool, WouldWait> {
        let Some(target) = self.targets.get(self.reads.len()) else { return Ok(false) };
        let read = self.look_at(image, target, patience)?;
        self.take(read);
        Ok(true)
    }

    fn left<'i>(&self, image: &'i Image) -> impl Iterator<Item = &'i Arc<Replica>> {
        let left = self.targets.iter().skip(self.reads.len());
        left.filter_map(|target| find(image, &target.key).ok()).map(|partition| &partition.replica)
    }
}

impl Look {
    pub fn new(reader: Reader, targets: Vec<Target>, bytes_max: usize) -> Self {
        let reads = Vec::with_capacity(targets.len());
        Self {
            reader,
            targets,
            reads,
            bytes_left: bytes_max,
            copy_bytes_left: COPY_BYTES_OF_ALL,
            files_left: FILES_MAX,
            must_be_whole: true,
        }
    }

    /// What was to be looked at, and the bytes that were found. The records themselves are let go: while a fetch waits for more it keeps no
    /// file open, nor the room of one that is deleted.
    pub fn sizes(self) -> impl Iterator<Item = (Target, usize)> {
        let bytes: Vec<usize> = self.reads.iter().map(Read::bytes).collect();
        // A look that has not come to its end found nothing in the rest.
        self.targets.into_iter().zip(bytes.into_iter().chain(std::iter::repeat(0)))
    }

    /// There may be more than this answer can have.
    pub fn is_full(&self) -> bool {
        self.files_left == 0
    }

    fn take(&mut self, mut read: Read) {
        self.bytes_left = self.bytes_left.saturating_sub(read.bytes());
        self.must_be_whole &= read.bytes() == 0;
        if let Some(Records::File(region)) = &read.records {
            if let Some(copy) = self.copy(region) {
                self.copy_bytes_left -= copy.len();
                read.records = Some(Records::Memory(copy));
            } else {
                self.files_left = self.files_left.saturating_sub(1);
                if self.files_left == 0 {
                    self.bytes_left = 0;
                }
            }
        }
        self.reads.push(read);
    }

    /// A few records that are in memory. What cannot be read is left to the transport, which tells of it.
    fn copy(&self, region: &FileRegion) -> Option<Vec<u8>> {
        let is_small = region.bytes <= COPY_BYTES_MAX.min(self.copy_bytes_left);
        if !is_small || !region.file.is_resident(region.position, region.bytes as u64) {
            return None;
        }
        let mut copy = vec![0; region.bytes];
        read_exact_at(region.file.as_ref(), &mut copy, region.position).ok()?;
        Some(copy)
    }

    fn look_at(&self, image: &Image, target: &Target, patience: Patience) -> Result<Read, WouldWait> {
        let Target { key, wanted, .. } = target;
        let mut head = PartitionHead {
            partition: key.partition,
            error_code: 0,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            aborted_transactions: None,
        };
        let partition = match find(image, key) {
            Ok(partition) => partition,
            Err(error) => {
                head.error_code = error.0;
                head.aborted_transactions = Some(Vec::new());
                return Ok(Read { head, is_unknown: true, records: None });
            }
        };
        let replica = &partition.replica;
        replica.at_once(patience)?;
        let records = match self.records(partition, wanted, patience, &mut head) {
            Ok(Some(records)) => records,
            Ok(None) => return Err(WouldWait),
            Err(error) => {
                head.error_code = error.0;
                // Deleted since the image was taken: told as if it had never been there.
                let is_unknown = error == ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
                head.aborted_transactions = is_unknown.then(Vec::new);
                return Ok(Read { head, is_unknown, records: None });
            }
        };
        Ok(Read { head, is_unknown: false, records })
    }

    /// `Ok(None)`: the disk must be waited for.
    fn records(
        &self,
        partition: &PartitionState,
        wanted: &Wanted,
        patience: Patience,
        head: &mut PartitionHead,
    ) -> Result<Option<Option<Records>>, ErrorCode> {
        if !self.reader.is_consumer {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        super::super::check_leader_epoch(partition, wanted.current_leader_epoch)?;
        // Kafka refuses a negative limit with an exception it has no code for.
        let most = usize::try_from(wanted.max_bytes).map_err(|_| ErrorCode::UNKNOWN_SERVER_ERROR)?;
        let replica = &partition.replica;
        if wanted.last_fetched_epoch >= 0 {
            // An epoch past all of the log's: what the client has did not come from here.
            let (epoch, end_offset) =
                replica.end_of_epoch(wanted.last_fetched_epoch)?.ok_or(ErrorCode::OFFSET_OUT_OF_RANGE)?;
            if epoch < wanted.last_fetched_epoch || end_offset < wanted.fetch_offset {
                fill(head, replica.offsets()?);
                head.diverging_epoch = Some(DivergingEpoch { epoch, end_offset });
                return Ok(Some(None));
            }
        }
        let bytes_max = most.min(self.bytes_left);
        let isolation = self.reader.isolation;
        let Some(read) = replica.read(wanted.fetch_offset, bytes_max, isolation, self.must_be_whole, patience)? else {
            return Ok(None);
        };
        fill(head, read.offsets);
        head.aborted_transactions = read.aborted;
        Ok(Some(read.region.map(Records::File)))
    }
}

fn fill(head: &mut PartitionHead, offsets: ottla_log::Offsets) {
    head.high_watermark = offsets.high_watermark;
    head.last_stable_offset = offsets.last_stable;
    head.log_start_offset = offsets.log_start;
}
