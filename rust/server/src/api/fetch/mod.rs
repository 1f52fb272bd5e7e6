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
//! - what is not in memory is waited for by other threads: see `walk.rs` for what finds records, `transport.rs` for records
//! - a follower's fetch: NOT_LEADER_OR_FOLLOWER, since this broker has no followers
//!
//! Version notes: 7 sessions; 9 current leader epoch; 12 last fetched epoch; 13 topic ids; 15 replica state tag.

mod look;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use ottla_protocol::native::fetch::{
    FIRST_WITH_TOPIC_IDS, FetchRequest, write_end, write_head, write_partition, write_partition_end, write_topic,
};
use ottla_protocol::native::produce::TopicRef;
use ottla_protocol::wire::{Error, Writer};

use crate::dispatch::{Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::image::Image;
use crate::plane::Plane;
use crate::replica::Isolation;
use crate::reply::Reply;
use crate::sessions::{Context, PartitionKey, Reader, Said, SessionRequest, Target, TopicKey, Wanted};
use crate::walk;
use look::{Look, Read, Records};

const KEY: i16 = 1;
const CONSUMER: i32 = -1;
const DEBUGGING_CONSUMER: i32 = -2;

/// A fetch with its session resolved.
struct Fetch {
    info: RequestInfo,
    reader: Reader,
    min_bytes: usize,
    max_bytes: usize,
    context: Context,
}

pub fn begin(plane: &Arc<Plane>, info: &RequestInfo, frame: &[u8]) -> Result<Pending, Error> {
    let mut reader = super::body(frame, info)?;
    let request = FetchRequest::read(&mut reader, info.version)?;
    let now = plane.engine.monotonic();
    let reader = Reader {
        isolation: Isolation::from_wire(request.isolation_level),
        is_consumer: matches!(request.replica_id, CONSUMER | DEBUGGING_CONSUMER),
    };
    let session = SessionRequest {
        id: request.session_id,
        epoch: request.session_epoch,
        uses_topic_ids: info.version >= FIRST_WITH_TOPIC_IDS,
        reader,
    };
    let image = plane.engine.image();
    let (partitions, forgotten) = keys(&image, &request);
    let opened = plane.sessions.begin(session, partitions, &forgotten, now, wait::waiters(&image));
    let (context, targets) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ok(Pending::made(session_error(info, error))),
    };
    let bounded = |bytes: i32| usize::try_from(bytes).unwrap_or(0).min(plane.limits.fetch_bytes_max);
    let fetch = Fetch {
        info: info.clone(),
        reader,
        // Never more than may be sent at all, or the poll would always wait its time out.
        min_bytes: bounded(request.min_bytes).min(bounded(request.max_bytes)),
        max_bytes: bounded(request.max_bytes),
        context,
    };
    let max_wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let mut look = Look::new(reader, targets, fetch.max_bytes);
    let is_done = walk::go_on(&mut look, &image).is_none();
    drop(image);
    if is_done && (max_wait.is_zero() || fetch.is_satisfied_by(&look)) {
        return Ok(Pending::made(fetch.respond(plane, look)));
    }
    let plane = Arc::clone(plane);
    Ok(Pending::later(async move {
        let deadline = (!max_wait.is_zero()).then(|| plane.deadlines.after(max_wait));
        let mut look = walk::finish(look, &plane.engine).await;
        if let Some(deadline) = &deadline
            && let Some(found) = look.take_if(|look| !fetch.is_satisfied_by(look))
        {
            look = fetch.wait(&plane, deadline, found.sizes().collect()).await;
        }
        let look = look.ok_or("the data directories are being closed")?;
        fetch.respond(&plane, look)
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

impl Fetch {
    fn is_satisfied_by(&self, look: &Look) -> bool {
        let asks_for_nothing = look.targets.is_empty() && !matches!(self.context, Context::Incremental(_));
        asks_for_nothing
            || look.is_full()
            || look.reads.iter().any(Read::is_urgent)
            || look.reads.iter().map(Read::bytes).sum::<usize>() >= self.min_bytes
    }

    /// Writes the answer and closes the session's context.
    fn respond(self, plane: &Plane, look: Look) -> Result<Option<Reply>, String> {
        let version = self.info.version;
        let now = plane.engine.monotonic();
        let all = look.targets.into_iter().zip(look.reads);
        let (unknown, known): (Vec<_>, Vec<_>) = all.partition(|(_, read)| read.is_unknown);
        let (said, reads): (Vec<(Target, Said)>, Vec<Read>) = known
            .into_iter()
            .chain(unknown)
            .map(|(target, read)| {
                let said = read.said(&target.wanted, self.reader.isolation);
                ((target, said), read)
            })
            .unzip();
        let (session_id, keep) = plane.sessions.finish(self.context, &said, now);
        let mut topics: Vec<(TopicKey, Vec<Read>)> = Vec::new();
        for (((Target { key, .. }, _), read), keep) in said.into_iter().zip(reads).zip(keep) {
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
                    match read.records {
                        None => {}
                        Some(Records::File(region)) => builder.file(region),
                        Some(Records::Memory(bytes)) => builder.buffer().extend_from_slice(&bytes),
                    }
                    write_partition_end(&mut Writer::new(builder.buffer()), version, &read.head)?;
                }
                write_end(&mut Writer::new(builder.buffer()), version)?;
            }
            write_end(&mut Writer::new(builder.buffer()), version)
        })
    }
}
