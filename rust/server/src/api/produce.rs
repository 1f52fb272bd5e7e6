//! Produce (0), versions 3-13.
//!
//! Behavior, checks in Kafka's order:
//! - transactional batches ask the control plane first, once per transaction and partition (KIP-890); what it refuses is
//!   not appended, the rest is
//! - acks other than -1, 0, 1: INVALID_REQUIRED_ACKS
//! - unknown topic or partition: 3 by name, UNKNOWN_TOPIC_ID by id; internal topics: INVALID_TOPIC_EXCEPTION
//! - acks -1 with fewer replicas in sync than the smaller of `min.insync.replicas` and the replication factor:
//!   NOT_ENOUGH_REPLICAS
//! - the batch: structure, CRC, sizes, timestamps, producer state (crate `ottla-log`)
//! - with `ottla.flush.wait.bytes` or more not on the disk yet, nothing is appended before there is less, or
//!   REQUEST_TIMED_OUT; Kafka has no such limit
//! - acks 1 is answered at append, acks -1 when the high watermark covers the batch, or REQUEST_TIMED_OUT
//! - acks 0 has no answer; an error then closes the connection, the only way to tell
//!
//! Version notes: 13 names topics by id.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ottla_log::partition::VerificationGuard;
use ottla_protocol::native::produce::{PartitionResponse, ProduceRequest, TopicRef, TopicResponse, write_response};
use ottla_protocol::wire::{Error, Writer};
use tokio::sync::oneshot;

use crate::control::TransactionQuestion;
use crate::dispatch::{Outcome, PRODUCE, Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::image::{Image, PartitionState, Topic};
use crate::plane::Plane;
use crate::replica::{BatchPeek, FIRST_OF_TRANSACTIONS_2, Replica};
use crate::reply::Reply;
use crate::waiting::{Registration, Wakeup};

const ALL_IN_SYNC: i16 = -1;
const NO_ANSWER: i16 = 0;
const LEADER: i16 = 1;
/// From this version on a producer knows that a transaction can be refused and aborted (KIP-890).
const FIRST_WITH_ABORTABLE: i16 = 11;
const NOT_ADDED: &str = "Partition was not added to the transaction";

/// A request with its names resolved; records are ranges of the frame.
struct Plan {
    acks: i16,
    timeout: Duration,
    transactional_id: Option<String>,
    topics: Vec<TopicPlan>,
}

struct TopicPlan {
    name: String,
    id: [u8; 16],
    topic: Option<Arc<Topic>>,
    by_id: bool,
    partitions: Vec<PartitionPlan>,
}

struct PartitionPlan {
    index: i32,
    records: Option<Range<usize>>,
    /// Set when a transaction had to be asked for: the proof that it was.
    guard: Option<VerificationGuard>,
    /// Set when it was refused.
    refusal: Option<ErrorCode>,
}

impl TopicPlan {
    fn new(image: &Image, topic: TopicRef<'_>, partitions: Vec<PartitionPlan>) -> Self {
        match topic {
            TopicRef::Name(name) => {
                let topic = image.topic(name).cloned();
                Self { name: name.to_owned(), id: [0; 16], topic, by_id: false, partitions }
            }
            TopicRef::Id(id) => {
                let topic = image.topic_by_id(&id).cloned();
                Self { name: String::new(), id, topic, by_id: true, partitions }
            }
        }
    }

    /// Whether acks=all would promise more than the replicas in sync can keep. A partition with fewer replicas than
    /// the setting asks for needs all of them (Kafka: `Partition.effectiveMinIsr`).
    fn lacks_replicas(&self, partition: &PartitionState) -> Option<String> {
        let needed = self.topic.as_ref()?.min_insync_replicas.min(partition.replicas.len());
        let in_sync = partition.isr.len();
        (in_sync < needed).then(|| {
            format!(
                "{in_sync} replicas in sync are fewer than the {needed} that min.insync.replicas asks of {}",
                self.name
            )
        })
    }

    fn partition(&self, index: i32) -> Result<&PartitionState, (ErrorCode, Option<String>)> {
        let Some(topic) = &self.topic else {
            let code = if self.by_id { ErrorCode::UNKNOWN_TOPIC_ID } else { ErrorCode::UNKNOWN_TOPIC_OR_PARTITION };
            return Err((code, None));
        };
        if topic.is_internal {
            let message = format!("Cannot append to internal topic {}", topic.name);
            return Err((ErrorCode::INVALID_TOPIC_EXCEPTION, Some(message)));
        }
        topic.partition(index).ok_or((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None))
    }
}

/// Serves a Produce: appends at once, unless a transaction must be verified first.
pub fn begin(plane: &Arc<Plane>, info: &RequestInfo, frame: BytesMut) -> Result<Outcome, Error> {
    let image = plane.engine.image();
    let mut plan = {
        let mut reader = super::body(&frame, info)?;
        let request = ProduceRequest::read(&mut reader, info.version)?;
        Plan {
            acks: request.acks,
            timeout: Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)),
            transactional_id: request.transactional_id.map(str::to_owned),
            topics: request
                .topics
                .into_iter()
                .map(|topic| {
                    let partitions = topic
                        .partitions
                        .into_iter()
                        .map(|data| PartitionPlan {
                            index: data.index,
                            records: data.records,
                            guard: None,
                            refusal: None,
                        })
                        .collect();
                    TopicPlan::new(&image, topic.topic, partitions)
                })
                .collect(),
        }
    };
    drop(image);
    let verification = match transaction_of(&plan, &frame) {
        None => None,
        Some(_) if plan.transactional_id.is_none() => {
            // Kafka authorizes the transactional id before anything else; a missing one is not authorized.
            let error = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
            return Ok(Outcome::Answer(refused(info, &plan, error)));
        }
        Some(_) => match only_producer(&plan, &frame) {
            Err(OtherProducer) => {
                return Ok(Outcome::Answer(refused(info, &plan, ErrorCode::INVALID_PRODUCER_ID_MAPPING)));
            }
            Ok(None) => None,
            Ok(Some(producer)) => needed_verification(&mut plan, &frame, producer, info.version),
        },
    };
    let Some(Verification { producer, partitions }) = verification else {
        if plane.engine.is_over() {
            // Nothing of this connection overtakes it, and nothing more of it is read.
            let (plane, info) = (Arc::clone(plane), info.clone());
            let waiting = async move { append_when_relieved(&plane, &info, plan, frame).await.finished().await };
            return Ok(Outcome::Answer(Pending::later(waiting)));
        }
        return Ok(Outcome::Pipelined(append(plane, info, plan, frame)));
    };
    let (reply, verdict) = oneshot::channel();
    let bytes = partitions.len() * size_of::<(Arc<str>, i32)>();
    let transactional_id = plan.transactional_id.clone().unwrap_or_default();
    let (control, is_adding) = (Arc::clone(&plane.control), info.version >= FIRST_OF_TRANSACTIONS_2);
    let ask = move |ticket| {
        control.verify_transaction(TransactionQuestion {
            transactional_id,
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            partitions,
            is_adding,
            ticket,
            reply,
        });
    };
    let (answering, answered) = (Arc::clone(plane), info.clone());
    Ok(Outcome::Answer(Pending::ask(plane, &info.peer, bytes, ask, async move {
        let code = verdict.await.map_or(ErrorCode::UNKNOWN_SERVER_ERROR, ErrorCode);
        if code != ErrorCode::NONE {
            refuse_unverified(&mut plan, told_to_client(code, answered.version));
        }
        append_when_relieved(&answering, &answered, plan, frame).await.finished().await
    })))
}

/// What the first transactional batch of the request says of its producer, if there is one.
fn transaction_of(plan: &Plan, frame: &[u8]) -> Option<BatchPeek> {
    plan.topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .filter_map(|partition| frame.get(partition.records.clone()?).and_then(BatchPeek::of))
        .find(|peek| peek.is_transactional)
}

/// A request has batches of transactions of several producers, or of several epochs of one.
struct OtherProducer;

/// The producer of the transactional batches for partitions that exist. The transaction of one is asked for: a batch of another would go
/// in with that answer, and nobody would end what it opens.
fn only_producer(plan: &Plan, frame: &[u8]) -> Result<Option<BatchPeek>, OtherProducer> {
    let mut only: Option<BatchPeek> = None;
    for topic in &plan.topics {
        for PartitionPlan { index, records, .. } in &topic.partitions {
            let exists = topic.topic.as_ref().is_some_and(|topic| topic.partition(*index).is_some());
            let peek = records.clone().filter(|_| exists).and_then(|range| frame.get(range)).and_then(BatchPeek::of);
            let Some(peek) = peek.filter(|peek| peek.is_transactional && peek.producer_id >= 0) else { continue };
            let first = only.get_or_insert(peek);
            if (first.producer_id, first.producer_epoch) != (peek.producer_id, peek.producer_epoch) {
                return Err(OtherProducer);
            }
        }
    }
    Ok(only)
}

/// What the control plane must be asked before a transactional write.
struct Verification {
    producer: BatchPeek,
    partitions: Vec<(Arc<str>, i32)>,
}

/// The partitions on which this producer has no transaction open; `None` when there are none, and the write is native.
fn needed_verification(plan: &mut Plan, frame: &[u8], producer: BatchPeek, version: i16) -> Option<Verification> {
    let mut partitions: Vec<(Arc<str>, i32)> = Vec::new();
    for topic in &mut plan.topics {
        for place in 0..topic.partitions.len() {
            let PartitionPlan { index, records, .. } = &topic.partitions[place];
            let Some(peek) = records.clone().and_then(|range| frame.get(range)).and_then(BatchPeek::of) else {
                continue;
            };
            let Ok(partition) = topic.partition(*index) else {
                continue;
            };
            let replica = &partition.replica;
            if !peek.is_transactional || peek.producer_id < 0 {
                continue;
            }
            if replica.is_zombie(&peek) {
                topic.partitions[place].refusal = Some(ErrorCode::INVALID_PRODUCER_EPOCH);
                continue;
            }
            let guard = replica.start_verification(&peek, version);
            if guard.is_some() {
                partitions.push((Arc::clone(partition.replica.topic()), *index));
                topic.partitions[place].guard = guard;
            }
        }
    }
    (!partitions.is_empty()).then_some(Verification { producer, partitions })
}

/// A refusal as a client of this version knows it (Kafka: `AddPartitionsToTxnManager`).
fn told_to_client(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::TRANSACTION_ABORTABLE if version < FIRST_WITH_ABORTABLE => ErrorCode::INVALID_TXN_STATE,
        other => other,
    }
}

/// What was asked for in vain is not appended.
fn refuse_unverified(plan: &mut Plan, code: ErrorCode) {
    let partitions = plan.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions.filter(|partition| partition.guard.is_some()) {
        partition.refusal = Some(code);
    }
}

/// The same error for every partition.
fn refused(info: &RequestInfo, plan: &Plan, error: ErrorCode) -> Pending {
    if plan.acks == NO_ANSWER {
        return Pending::Closed(format!("a Produce with acks=0 was refused with error {}", error.0));
    }
    let topics = plan.topics.iter().map(|topic| TopicResponse {
        name: topic.name.clone(),
        topic_id: topic.id,
        partitions: topic
            .partitions
            .iter()
            .map(|partition| PartitionResponse::error(partition.index, error.0, None))
            .collect(),
    });
    Pending::made(respond(info, &topics.collect::<Vec<_>>()))
}

fn respond(info: &RequestInfo, topics: &[TopicResponse]) -> Result<Option<Reply>, String> {
    info.reply(PRODUCE, 64 + 64 * topics.len(), |builder| {
        write_response(&mut Writer::new(builder.buffer()), info.version, topics)
    })
}

/// An append that acks=-1 waits for: where its answer lies, and the high watermark it needs.
struct Awaited {
    topic: usize,
    partition: usize,
    replica: Arc<Replica>,
    end_offset: i64,
}

/// Appends once the disk has caught up (`ottla.flush.wait.bytes`), or refuses after the request's time-out: nothing was appended.
async fn append_when_relieved(plane: &Arc<Plane>, info: &RequestInfo, plan: Plan, frame: BytesMut) -> Pending {
    if plane.engine.is_over() {
        let deadline = plane.deadlines.after(plan.timeout);
        tokio::select! {
            biased;
            () = plane.engine.relieved() => {}
            () = deadline.passed() => return refused(info, &plan, ErrorCode::REQUEST_TIMED_OUT),
        }
    }
    append(plane, info, plan, frame)
}

fn append(plane: &Arc<Plane>, info: &RequestInfo, plan: Plan, mut frame: BytesMut) -> Pending {
    let has_valid_acks = matches!(plan.acks, ALL_IN_SYNC | NO_ANSWER | LEADER);
    let mut awaited = Vec::new();
    let mut responses = Vec::with_capacity(plan.topics.len());
    for (topic_place, topic) in plan.topics.iter().enumerate() {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (place, partition) in topic.partitions.iter().enumerate() {
            if !has_valid_acks {
                let error = ErrorCode::INVALID_REQUIRED_ACKS.0;
                partitions.push(PartitionResponse::error(partition.index, error, None));
                continue;
            }
            let records = partition.records.clone().and_then(|range| frame.get_mut(range)).unwrap_or_default();
            let (response, end_offset) = append_to_partition(plane, info, topic, partition, plan.acks, records);
            if let Some((replica, end_offset)) = end_offset {
                awaited.push(Awaited { topic: topic_place, partition: place, replica, end_offset });
            }
            partitions.push(response);
        }
        responses.push(TopicResponse { name: topic.name.clone(), topic_id: topic.id, partitions });
    }
    match plan.acks {
        NO_ANSWER => {
            let failed = responses.iter().flat_map(|topic| &topic.partitions).find(|p| p.error_code != 0);
            match failed {
                None => Pending::Ready(None),
                Some(partition) => Pending::Closed(format!(
                    "a Produce with acks=0 failed on partition {} with error {}",
                    partition.index, partition.error_code
                )),
            }
        }
        ALL_IN_SYNC => wait_for_all(plane, info, plan.timeout, responses, awaited),
        _ => Pending::made(respond(info, &responses)),
    }
}

fn append_to_partition(
    plane: &Plane,
    info: &RequestInfo,
    topic: &TopicPlan,
    plan: &PartitionPlan,
    acks: i16,
    records: &mut [u8],
) -> (PartitionResponse, Option<(Arc<Replica>, i64)>) {
    let index = plan.index;
    let partition = match topic.partition(index) {
        Ok(partition) => partition,
        Err((error, message)) => return (PartitionResponse::error(index, error.0, message), None),
    };
    if let Some(error) = plan.refusal {
        let message = (error == ErrorCode::INVALID_TXN_STATE).then(|| NOT_ADDED.to_owned());
        return (PartitionResponse::error(index, error.0, message), None);
    }
    if acks == ALL_IN_SYNC
        && let Some(message) = topic.lacks_replicas(partition)
    {
        return (PartitionResponse::error(index, ErrorCode::NOT_ENOUGH_REPLICAS.0, Some(message)), None);
    }
    let bytes = records.len() as u64;
    match partition.replica.append_from_client(records, info.version, plan.guard) {
        Ok(appended) => {
            plane.counters.produced_bytes.add(bytes);
            let response = PartitionResponse {
                index,
                error_code: 0,
                base_offset: appended.base_offset,
                log_append_time_ms: appended.log_append_time_ms,
                log_start_offset: appended.log_start_offset,
                record_errors: Vec::new(),
                error_message: None,
            };
            (response, Some((Arc::clone(&partition.replica), appended.last_offset + 1)))
        }
        Err(refusal) => {
            plane.counters.refused_batches.add_one();
            tracing::info!(
                "batch of {bytes} bytes for {}-{index} refused with error {}: {}",
                partition.replica.topic(),
                refusal.code.0,
                refusal.message
            );
            let mut response = PartitionResponse::error(index, refusal.code.0, Some(refusal.message));
            response.record_errors = refusal.record_errors;
            response.log_start_offset = refusal.log_start_offset;
            (response, None)
        }
    }
}

/// Answers when the high watermark covers every append, or at the time-out with what is covered by then.
fn wait_for_all(
    plane: &Arc<Plane>,
    info: &RequestInfo,
    timeout: Duration,
    mut responses: Vec<TopicResponse>,
    mut awaited: Vec<Awaited>,
) -> Pending {
    awaited.retain(|append| append.replica.high_watermark() < append.end_offset);
    if awaited.is_empty() {
        return Pending::made(respond(info, &responses));
    }
    let (plane, info) = (Arc::clone(plane), info.clone());
    Pending::later(async move {
        let deadline = plane.deadlines.after(timeout);
        let wakeup = Arc::new(Wakeup::default());
        let mut registrations: Vec<Registration> = Vec::with_capacity(awaited.len());
        loop {
            registrations.clear();
            registrations
                .extend(awaited.iter().map(|append| append.replica.waiters().register(append.end_offset, &wakeup)));
            awaited.retain(|append| {
                if append.replica.high_watermark() >= append.end_offset {
                    return false;
                }
                let Some(code) = append.replica.failure() else {
                    return true;
                };
                fail(&mut responses, append, code);
                false
            });
            if awaited.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                () = wakeup.woken() => {}
                () = deadline.passed() => {
                    for append in awaited.drain(..) {
                        if append.replica.high_watermark() < append.end_offset {
                            fail(&mut responses, &append, ErrorCode::REQUEST_TIMED_OUT);
                        }
                    }
                    break;
                }
            }
        }
        respond(&info, &responses)
    })
}

fn fail(responses: &mut [TopicResponse], append: &Awaited, error: ErrorCode) {
    if let Some(partition) =
        responses.get_mut(append.topic).and_then(|topic| topic.partitions.get_mut(append.partition))
    {
        partition.error_code = error.0;
    }
}
