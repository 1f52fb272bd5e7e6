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
//!   REQUEST_TIMED_OUT; Kafka has no such limit. The same while a partition of the request waits for its disk with somebody
//!   else, for a new segment say: in Kafka each such request keeps a thread
//! - acks 1 is answered at append, acks -1 when the high watermark covers the batch, or REQUEST_TIMED_OUT
//! - acks 0 has no answer; an error then closes the connection, the only way to tell
//!
//! Version notes: 13 names topics by id.

mod first;
mod wait;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use ottla_log::partition::VerificationGuard;
use ottla_protocol::native::produce::{PartitionResponse, ProduceRequest, TopicRef, TopicResponse, write_response};
use ottla_protocol::wire::{Error, Writer};
use tokio::sync::oneshot;

use crate::control::TransactionQuestion;
use crate::dispatch::{Outcome, PRODUCE, Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::frame::Frame;
use crate::image::{Image, PartitionState, Topic};
use crate::plane::Plane;
use crate::replica::{BatchPeek, FIRST_OF_TRANSACTIONS_2, Replica};
use crate::reply::Reply;
use wait::{Awaited, must_wait, until_possible, wait_for_all};

const ALL_IN_SYNC: i16 = -1;
const NO_ANSWER: i16 = 0;
const LEADER: i16 = 1;
/// From this version on a producer knows that a transaction can be refused and aborted (KIP-890).
const FIRST_WITH_ABORTABLE: i16 = 11;
/// What the answer for a partition takes when there is nothing to explain, and a little more.
const ANSWER_BYTES: usize = 48;
const NOT_ADDED: &str = "Partition was not added to the transaction";

/// A request with its names resolved; records are ranges of the frame. It becomes the answer: nothing else is made of it, since requests
/// of one record come by the ten thousand each second.
struct Plan {
    acks: i16,
    timeout: Duration,
    transactional_id: Option<String>,
    topics: Vec<TopicPlan>,
}

struct TopicPlan {
    target: Target,
    partitions: Vec<PartitionPlan>,
}

/// A topic as the request names it.
struct Target {
    topic: Option<Arc<Topic>>,
    /// Of a topic that does not exist.
    unknown_name: String,
    id: [u8; 16],
    by_id: bool,
}

struct PartitionPlan {
    records: Option<Range<usize>>,
    /// Set when a transaction had to be asked for: the proof that it was.
    guard: Option<VerificationGuard>,
    /// Set when it was refused.
    refusal: Option<ErrorCode>,
    /// Which partition it is and, once the records are appended or refused, what the client is told.
    answer: PartitionResponse,
}

impl PartitionPlan {
    fn new(index: i32, records: Option<Range<usize>>) -> Self {
        let answer = PartitionResponse::error(index, ErrorCode::UNKNOWN_SERVER_ERROR.0, None);
        Self { records, guard: None, refusal: None, answer }
    }

    fn refuse(&mut self, error: ErrorCode, message: Option<String>) {
        self.answer = PartitionResponse::error(self.answer.index, error.0, message);
    }
}

impl Target {
    fn new(image: &Image, named: TopicRef<'_>) -> Self {
        match named {
            TopicRef::Name(name) => {
                let topic = image.topic(name).cloned();
                let unknown_name = if topic.is_some() { String::new() } else { name.to_owned() };
                Self { topic, unknown_name, id: [0; 16], by_id: false }
            }
            TopicRef::Id(id) => {
                Self { topic: image.topic_by_id(&id).cloned(), unknown_name: String::new(), id, by_id: true }
            }
        }
    }

    fn name(&self) -> &str {
        match &self.topic {
            Some(topic) => &topic.name,
            None => &self.unknown_name,
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
                self.name()
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
pub fn begin(plane: &Arc<Plane>, info: &RequestInfo, frame: Frame) -> Result<Outcome, Error> {
    let image = plane.engine.image();
    let plan = {
        let mut reader = super::body(&frame, info)?;
        let request = ProduceRequest::read_as(
            &mut reader,
            info.version,
            |data| PartitionPlan::new(data.index, data.records),
            |named, partitions| TopicPlan { target: Target::new(&image, named), partitions },
        )?;
        Plan {
            acks: request.acks,
            timeout: Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)),
            transactional_id: request.transactional_id.map(str::to_owned),
            topics: request.topics,
        }
    };
    drop(image);
    if must_wait(plane, &plan) {
        // Nothing of this connection overtakes it, and nothing more of it is read.
        let (plane, info) = (Arc::clone(plane), info.clone());
        return Ok(Outcome::Answer(Pending::later(async move {
            if !until_possible(&plane, &plan).await {
                return refused(&info, plan, ErrorCode::REQUEST_TIMED_OUT).finished().await;
            }
            match go_on(&plane, &info, plan, frame) {
                Outcome::Answer(pending) | Outcome::Pipelined(pending) => pending.finished().await,
                Outcome::Close(reason) => Err(reason),
            }
        })));
    }
    Ok(go_on(plane, info, plan, frame))
}

fn go_on(plane: &Arc<Plane>, info: &RequestInfo, mut plan: Plan, frame: Frame) -> Outcome {
    let verification = match transaction_of(&plan, &frame) {
        None => None,
        Some(_) if plan.transactional_id.is_none() => {
            // Kafka authorizes the transactional id before anything else; a missing one is not authorized.
            let error = ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
            return Outcome::Answer(refused(info, plan, error));
        }
        Some(_) => match only_producer(&plan, &frame) {
            Err(OtherProducer) => {
                return Outcome::Answer(refused(info, plan, ErrorCode::INVALID_PRODUCER_ID_MAPPING));
            }
            Ok(None) => None,
            Ok(Some(producer)) => needed_verification(&mut plan, &frame, producer, info.version),
        },
    };
    let Some(Verification { producer, partitions }) = verification else {
        return Outcome::Pipelined(append(plane, info, plan, frame));
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
    Outcome::Answer(Pending::ask(plane, &info.peer, bytes, ask, async move {
        let code = verdict.await.map_or(ErrorCode::UNKNOWN_SERVER_ERROR, ErrorCode);
        if code != ErrorCode::NONE {
            refuse_unverified(&mut plan, told_to_client(code, answered.version));
        }
        if !until_possible(&answering, &plan).await {
            return refused(&answered, plan, ErrorCode::REQUEST_TIMED_OUT).finished().await;
        }
        append(&answering, &answered, plan, frame).finished().await
    }))
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
        for PartitionPlan { records, answer, .. } in &topic.partitions {
            let exists = topic.target.topic.as_ref().is_some_and(|topic| topic.partition(answer.index).is_some());
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
    for TopicPlan { target, partitions: plans } in &mut plan.topics {
        for plan in plans {
            let Some(peek) = plan.records.clone().and_then(|range| frame.get(range)).and_then(BatchPeek::of) else {
                continue;
            };
            let index = plan.answer.index;
            let Ok(partition) = target.partition(index) else {
                continue;
            };
            let replica = &partition.replica;
            if !peek.is_transactional || peek.producer_id < 0 {
                continue;
            }
            if replica.is_zombie(&peek) {
                plan.refusal = Some(ErrorCode::INVALID_PRODUCER_EPOCH);
                continue;
            }
            plan.guard = replica.start_verification(&peek, version);
            if plan.guard.is_some() {
                partitions.push((Arc::clone(replica.topic()), index));
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
fn refused(info: &RequestInfo, mut plan: Plan, error: ErrorCode) -> Pending {
    if plan.acks == NO_ANSWER {
        return Pending::Closed(format!("a Produce with acks=0 was refused with error {}", error.0));
    }
    for partition in plan.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.refuse(error, None);
    }
    Pending::made(respond(info, &plan.topics))
}

fn respond(info: &RequestInfo, topics: &[TopicPlan]) -> Result<Option<Reply>, String> {
    let bytes = |topic: &TopicPlan| ANSWER_BYTES + topic.target.name().len() + ANSWER_BYTES * topic.partitions.len();
    info.reply(PRODUCE, ANSWER_BYTES + topics.iter().map(bytes).sum::<usize>(), |builder| {
        let answers = topics.iter().map(|topic| TopicResponse {
            name: topic.target.name(),
            topic_id: topic.target.id,
            partitions: topic.partitions.iter().map(|partition| &partition.answer),
        });
        write_response(&mut Writer::new(builder.buffer()), info.version, answers)
    })
}

fn append(plane: &Arc<Plane>, info: &RequestInfo, mut plan: Plan, mut frame: Frame) -> Pending {
    let acks = plan.acks;
    let has_valid_acks = matches!(acks, ALL_IN_SYNC | NO_ANSWER | LEADER);
    if has_valid_acks {
        first::prepare(&plan, &frame);
    }
    let mut awaited = Vec::new();
    for (topic_place, TopicPlan { target, partitions }) in plan.topics.iter_mut().enumerate() {
        for (place, partition) in partitions.iter_mut().enumerate() {
            if !has_valid_acks {
                partition.refuse(ErrorCode::INVALID_REQUIRED_ACKS, None);
                continue;
            }
            let records = partition.records.clone().and_then(|range| frame.get_mut(range)).unwrap_or_default();
            if let Some((replica, end_offset)) = append_to_partition(plane, info, target, partition, acks, records) {
                awaited.push(Awaited { topic: topic_place, partition: place, replica, end_offset });
            }
        }
    }
    drop(frame);
    match acks {
        NO_ANSWER => {
            let mut answers = plan.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| &partition.answer);
            match answers.find(|answer| answer.error_code != 0) {
                None => Pending::Ready(None),
                Some(answer) => Pending::Closed(format!(
                    "a Produce with acks=0 failed on partition {} with error {}",
                    answer.index, answer.error_code
                )),
            }
        }
        ALL_IN_SYNC if !awaited.is_empty() => wait_for_all(plane, info, plan, awaited),
        _ => Pending::made(respond(info, &plan.topics)),
    }
}

/// Appends, and notes what the client is told. Returns the replica and the high watermark that acks=-1 is still to wait for.
fn append_to_partition(
    plane: &Plane,
    info: &RequestInfo,
    target: &Target,
    plan: &mut PartitionPlan,
    acks: i16,
    records: &mut [u8],
) -> Option<(Arc<Replica>, i64)> {
    let index = plan.answer.index;
    let partition = match target.partition(index) {
        Ok(partition) => partition,
        Err((error, message)) => {
            plan.refuse(error, message);
            return None;
        }
    };
    if let Some(error) = plan.refusal {
        plan.refuse(error, (error == ErrorCode::INVALID_TXN_STATE).then(|| NOT_ADDED.to_owned()));
        return None;
    }
    if acks == ALL_IN_SYNC
        && let Some(message) = target.lacks_replicas(partition)
    {
        plan.refuse(ErrorCode::NOT_ENOUGH_REPLICAS, Some(message));
        return None;
    }
    let bytes = records.len() as u64;
    match partition.replica.append_from_client(records, info.version, plan.guard) {
        Ok(appended) => {
            plane.counters.produced_bytes.add(bytes);
            plan.answer = PartitionResponse {
                base_offset: appended.base_offset,
                log_append_time_ms: appended.log_append_time_ms,
                log_start_offset: appended.log_start_offset,
                ..PartitionResponse::error(index, 0, None)
            };
            let end_offset = appended.last_offset + 1;
            (acks == ALL_IN_SYNC && appended.high_watermark < end_offset)
                .then(|| (Arc::clone(&partition.replica), end_offset))
        }
        Err(refusal) => {
            plane.counters.refused_batches.add_one();
            tracing::info!(
                "batch of {bytes} bytes for {}-{index} refused with error {}: {}",
                partition.replica.topic(),
                refusal.code.0,
                refusal.message
            );
            plan.refuse(refusal.code, Some(refusal.message));
            plan.answer.record_errors = refusal.record_errors;
            plan.answer.log_start_offset = refusal.log_start_offset;
            None
        }
    }
}
