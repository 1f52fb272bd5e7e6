//! Fetch (1), versions 4-18.
//!
//! Behavior:
//! - sessions: see `sessions.rs`; their errors are the top-level code, with session id 0 and no topics
//! - unknown topic 3 by name, 100 by id; wrong leader epoch 74 or 75; offset below the log start or past its end 1;
//!   an offset between high watermark and log end gets no records and no error
//! - read_uncommitted ends at the high watermark, read_committed at the last stable offset and carries the aborted
//!   transactions of the range
//! - the first batch of the first partition with records is whole whatever the limits (KIP-74); of the others the last
//!   batch may be cut, but never the first: where even that does not fit, there are no records
//! - parks until `min.bytes` are there or `max.wait.ms` has passed; woken by what moves a partition, not polled;
//!   an error or a diverging epoch answers at once
//! - a follower's fetch: NOT_LEADER_OR_FOLLOWER, since this broker has no followers
//!
//! Version notes: 7 sessions; 9 current leader epoch; 12 last fetched epoch; 13 topic ids; 15 replica state tag.

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::native::fetch::{
    DivergingEpoch, FIRST_WITH_TOPIC_IDS, FetchRequest, PartitionHead, write_end, write_head, write_partition,
    write_partition_end, write_topic,
};
use ottla_protocol::native::produce::TopicRef;
use ottla_protocol::wire::{Error, Writer};

use crate::dispatch::{Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::image::{Image, PartitionState};
use crate::plane::Plane;
use crate::replica::Isolation;
use crate::reply::{FileRegion, Reply};
use crate::sessions::{Context, PartitionKey, Said, SessionRequest, TopicKey, Wanted};
use crate::waiting::{Registration, Wakeup};

const KEY: i16 = 1;
const CONSUMER: i32 = -1;
const DEBUGGING_CONSUMER: i32 = -2;

/// A fetch with its session resolved: what is read, again at every wake-up, until it satisfies.
struct Fetch {
    info: RequestInfo,
    isolation: Isolation,
    is_consumer: bool,
    min_bytes: usize,
    max_bytes: usize,
    wanted: Vec<(PartitionKey, Wanted)>,
    context: Context,
}

/// What was read of one partition.
struct Read {
    head: PartitionHead,
    /// The topic or partition does not exist; such answers stand behind all others, as in Kafka.
    is_unknown: bool,
    records: Option<FileRegion>,
}

impl Read {
    fn bytes(&self) -> usize {
        self.records.as_ref().map_or(0, |records| records.bytes)
    }

    fn is_urgent(&self) -> bool {
        self.head.error_code != 0 || self.head.diverging_epoch.is_some()
    }
}

pub fn begin(plane: &Arc<Plane>, info: &RequestInfo, frame: &[u8]) -> Result<Pending, Error> {
    let mut reader = super::body(frame, info)?;
    let request = FetchRequest::read(&mut reader, info.version)?;
    let now = plane.engine.monotonic();
    let session = SessionRequest {
        id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids: info.version >= FIRST_WITH_TOPIC_IDS,
    };
    let image = plane.engine.image();
    let (partitions, forgotten) = keys(&image, &request);
    let (context, wanted) = match plane.sessions.begin(session, partitions, &forgotten, now) {
        Ok(opened) => opened,
        Err(error) => return Ok(Pending::made(session_error(info, error))),
    };
    let bounded = |bytes: i32| usize::try_from(bytes).unwrap_or(0).min(plane.limits.fetch_bytes_max);
    let fetch = Fetch {
        info: info.clone(),
        isolation: Isolation::from_wire(request.isolation_level),
        is_consumer: matches!(request.replica_id, CONSUMER | DEBUGGING_CONSUMER),
        // Never more than may be sent at all, or the poll would always wait its time out.
        min_bytes: bounded(request.min_bytes).min(bounded(request.max_bytes)),
        max_bytes: bounded(request.max_bytes),
        wanted,
        context,
    };
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let reads = fetch.read_all(&image);
    drop(image);
    if max_wait.is_zero() || fetch.is_satisfied_by(&reads) {
        return Ok(Pending::made(fetch.respond(plane, reads)));
    }
    let plane = Arc::clone(plane);
    Ok(Pending::later(async move {
        let reads = fetch.wait(&plane, max_wait).await;
        fetch.respond(&plane, reads)
    }))
}

/// The request's partitions and forgotten partitions under the session's keys. Names are shared with the image where
/// the topic exists.
fn keys(image: &Image, request: &FetchRequest<'_>) -> (Vec<(PartitionKey, Wanted)>, Vec<PartitionKey>) {
    let topic_key = |topic: TopicRef<'_>| match topic {
        TopicRef::Name(name) => {
            TopicKey::Name(image.topic(name).map_or_else(|| name.into(), |topic| Arc::clone(&topic.name)))
        }
        TopicRef::Id(id) => TopicKey::Id(id),
    };
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let key = topic_key(topic.topic);
        partitions.extend(topic.partitions.iter().map(|asked| {
            let wanted = Wanted {
                fetch_offset: asked.fetch_offset,
                max_bytes: asked.max_bytes,
                current_leader_epoch: asked.current_leader_epoch,
                last_fetched_epoch: asked.last_fetched_epoch,
            };
            (PartitionKey { topic: key.clone(), partition: asked.partition }, wanted)
        }));
    }
    let mut forgotten = Vec::new();
    for (topic, indexes) in &request.forgotten {
        let key = topic_key(*topic);
        forgotten.extend(indexes.iter().map(|index| PartitionKey { topic: key.clone(), partition: *index }));
    }
    (partitions, forgotten)
}

fn session_error(info: &RequestInfo, error: ErrorCode) -> Result<Option<Reply>, String> {
    info.reply(KEY, 32, |builder| {
        let mut writer = Writer::new(builder.buffer());
        write_head(&mut writer, info.version, error.0, 0, 0)?;
        write_end(&mut writer, info.version)
    })
}

fn find<'a>(image: &'a Image, key: &PartitionKey) -> Result<&'a PartitionState, ErrorCode> {
    let topic = match &key.topic {
        TopicKey::Name(name) => image.topic(name).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)?,
        TopicKey::Id(id) => image.topic_by_id(id).ok_or(ErrorCode::UNKNOWN_TOPIC_ID)?,
    };
    topic.partition(key.partition).ok_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION)
}

impl Fetch {
    fn is_satisfied_by(&self, reads: &[Read]) -> bool {
        reads.is_empty()
            || reads.iter().any(Read::is_urgent)
            || reads.iter().map(Read::bytes).sum::<usize>() >= self.min_bytes
    }

    /// Waits until the reads satisfy or the time is up. Waiters are registered before each look, so that a movement
    /// between the look and the wait is seen.
    async fn wait(&self, plane: &Plane, max_wait: Duration) -> Vec<Read> {
        let deadline = plane.deadlines.after(max_wait);
        let wakeup = Arc::new(Wakeup::default());
        let mut registrations: Vec<Registration> = Vec::with_capacity(self.wanted.len());
        loop {
            registrations.clear();
            let image = plane.engine.image();
            for (key, _) in &self.wanted {
                if let Ok(partition) = find(&image, key) {
                    let target = partition.replica.high_watermark() + 1;
                    registrations.push(partition.replica.waiters().register(target, &wakeup));
                }
            }
            let reads = self.read_all(&image);
            drop(image);
            if self.is_satisfied_by(&reads) {
                return reads;
            }
            tokio::select! {
                biased;
                () = wakeup.woken() => {}
                () = deadline.passed() => return self.read_all(&plane.engine.image()),
            }
        }
    }

    fn read_all(&self, image: &Image) -> Vec<Read> {
        let mut left = self.max_bytes;
        let mut must_be_whole = true;
        self.wanted
            .iter()
            .map(|(key, wanted)| {
                let read = self.read_one(image, key, wanted, left, must_be_whole);
                left = left.saturating_sub(read.bytes());
                must_be_whole &= read.bytes() == 0;
                read
            })
            .collect()
    }

    /// Reads one partition of the image, or says that it is not there.
    fn read_one(&self, image: &Image, key: &PartitionKey, wanted: &Wanted, left: usize, whole: bool) -> Read {
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
                return Read { head, is_unknown: true, records: None };
            }
        };
        let records = self.read_records(partition, wanted, left, whole, &mut head).unwrap_or_else(|error| {
            head.error_code = error.0;
            None
        });
        Read { head, is_unknown: false, records }
    }

    fn read_records(
        &self,
        partition: &PartitionState,
        wanted: &Wanted,
        left: usize,
        whole: bool,
        head: &mut PartitionHead,
    ) -> Result<Option<FileRegion>, ErrorCode> {
        if !self.is_consumer {
            return Err(ErrorCode::NOT_LEADER_OR_FOLLOWER);
        }
        super::check_leader_epoch(partition, wanted.current_leader_epoch)?;
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
                return Ok(None);
            }
        }
        let read = replica.read(wanted.fetch_offset, most.min(left), self.isolation, whole)?;
        fill(head, read.offsets);
        head.aborted_transactions = read.aborted;
        Ok(read.region)
    }

    /// Writes the answer and closes the session's context.
    fn respond(self, plane: &Plane, reads: Vec<Read>) -> Result<Option<Reply>, String> {
        let version = self.info.version;
        let now = plane.engine.monotonic();
        let (unknown, known): (Vec<_>, Vec<_>) = self.wanted.iter().zip(reads).partition(|(_, read)| read.is_unknown);
        let (wanted, reads): (Vec<&(PartitionKey, Wanted)>, Vec<Read>) = known.into_iter().chain(unknown).unzip();
        let said: Vec<(PartitionKey, Said)> = wanted
            .iter()
            .zip(&reads)
            .map(|((key, _), read)| {
                let said = Said {
                    error: ErrorCode(read.head.error_code),
                    high_watermark: read.head.high_watermark,
                    log_start_offset: read.head.log_start_offset,
                    record_bytes: read.bytes(),
                    diverged: read.head.diverging_epoch.is_some(),
                };
                (key.clone(), said)
            })
            .collect();
        let (session_id, keep) = plane.sessions.finish(self.context, &said, now);
        let mut topics: Vec<(TopicKey, Vec<Read>)> = Vec::new();
        for (((key, _), read), keep) in said.into_iter().zip(reads).zip(keep) {
            if !keep {
                continue;
            }
            plane.counters.fetched_bytes.add(read.bytes() as u64);
            match topics.last_mut() {
                Some((topic, of_topic)) if *topic == key.topic => of_topic.push(read),
                _ => topics.push((key.topic, vec![read])),
            }
        }
        self.info.reply(KEY, 64 + 96 * topics.len(), |builder| {
            write_head(&mut Writer::new(builder.buffer()), version, 0, session_id, topics.len())?;
            for (topic, reads) in topics {
                let topic = match &topic {
                    TopicKey::Name(name) => TopicRef::Name(name),
                    TopicKey::Id(id) => TopicRef::Id(*id),
                };
                write_topic(&mut Writer::new(builder.buffer()), version, topic, reads.len())?;
                for read in reads {
                    write_partition(&mut Writer::new(builder.buffer()), version, &read.head, read.bytes())?;
                    if let Some(records) = read.records {
                        builder.file(records);
                    }
                    write_partition_end(&mut Writer::new(builder.buffer()), version, &read.head)?;
                }
                write_end(&mut Writer::new(builder.buffer()), version)?;
            }
            write_end(&mut Writer::new(builder.buffer()), version)
        })
    }
}

fn fill(head: &mut PartitionHead, offsets: ottla_log::Offsets) {
    head.high_watermark = offsets.high_watermark;
    head.last_stable_offset = offsets.last_stable;
    head.log_start_offset = offsets.log_start;
}
