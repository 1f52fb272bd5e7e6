//! Incremental fetch sessions (KIP-227).
//!
//! Theory of operation. A consumer sends all its partitions once (epoch 0), is given a session id, and from then on
//! names only what changed (epoch 1, 2, ...); the answer holds only partitions with news. The broker remembers, per
//! partition, what it was asked for and what it last said.
//!
//! | request: id, epoch | meaning | answer |
//! |---|---|---|
//! | any, -1 | no session; an existing one with that id ends | everything |
//! | any, 0 | new session; an existing one with that id ends | everything, with the new id, or id 0 when no slot is free |
//! | id, n | the next request of a session | what changed; 70 unknown id, 71 wrong epoch, 106 names and topic ids mixed |
//!
//! Slots are bounded (`max.incremental.fetch.session.cache.slots`). A full cache gives up a session unused for two
//! minutes, or one older than two minutes with fewer partitions than the newcomer (Kafka: `FetchSessionCacheShard`).
//! Order matters for fairness: a partition that sent records goes to the end, so that a response limit cannot starve
//! the others.
//!
//! Kafka looks at every partition of a session for every fetch. Here only at those that may have news: see [`session`].

pub mod marks;
pub mod session;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error_code::ErrorCode;
use crate::replica::Isolation;
use crate::waiting::Waiters;
use session::Session;

const EVICTION_AGE: Duration = Duration::from_secs(120);
pub const INITIAL_EPOCH: i32 = 0;
pub const FINAL_EPOCH: i32 = -1;

/// How a fetch names a topic: by name up to version 12, by id from 13 on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicKey {
    Name(Arc<str>),
    Id([u8; 16]),
}

/// One partition as a fetch names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionKey {
    pub topic: TopicKey,
    pub partition: i32,
}

/// What a consumer wants of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub fetch_offset: i64,
    pub max_bytes: i32,
    /// -1: the consumer does not say.
    pub current_leader_epoch: i32,
    /// -1: no divergence check is asked for.
    pub last_fetched_epoch: i32,
}

/// What an answer says of one partition, as far as a session must remember or judge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    pub error: ErrorCode,
    pub high_watermark: i64,
    pub log_start_offset: i64,
    pub record_bytes: usize,
    pub diverged: bool,
    /// There is nothing to be sent until the partition moves or the consumer asks for something else.
    pub is_exhausted: bool,
}

/// With which eyes a partition is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    pub isolation: Isolation,
    /// False for a follower.
    pub is_consumer: bool,
}

/// Which look of a session's partition an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    slot: u32,
    /// Its place in the order of the session.
    pub place: u64,
    turn: u64,
}

/// A partition that is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub key: PartitionKey,
    pub wanted: Wanted,
    /// Only in a session.
    pub ticket: Option<Ticket>,
}

impl From<(PartitionKey, Wanted)> for Target {
    fn from((key, wanted): (PartitionKey, Wanted)) -> Self {
        Self { key, wanted, ticket: None }
    }
}

fn epoch_after(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

/// What a fetch request says of its session.
#[derive(Clone, Copy, Debug)]
pub struct SessionRequest {
    pub id: i32,
    pub epoch: i32,
    pub uses_topic_ids: bool,
    pub reader: Reader,
}

/// How the answer of one fetch is to be made.
pub enum Context {
    Sessionless,
    /// A session is to be made of these partitions.
    Full {
        uses_topic_ids: bool,
        reader: Reader,
        partitions: Vec<(PartitionKey, Wanted)>,
    },
    Incremental(Arc<Mutex<Session>>),
}

/// All sessions of a broker.
pub struct Sessions {
    slots: usize,
    sessions: Mutex<HashMap<i32, Arc<Mutex<Session>>>>,
    seed: AtomicU64,
}

impl Sessions {
    /// `seed` differs between starts, so that a consumer which comes back with the id of an earlier one hardly meets
    /// somebody else's session. Ids are no secret: whoever guesses one still has to guess its epoch.
    #[must_use]
    pub fn new(slots: usize, seed: u64) -> Self {
        Self { slots, sessions: Mutex::new(HashMap::new()), seed: AtomicU64::new(seed) }
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens the context of a request and lists the partitions to look at, in order. `find`: who waits for a partition, if it exists.
    ///
    /// # Errors
    /// Kafka's code for an unknown session, a wrong epoch, or names and topic ids mixed in one session.
    pub fn begin(
        &self,
        request: SessionRequest,
        partitions: Vec<(PartitionKey, Wanted)>,
        forgotten: &[PartitionKey],
        now: Duration,
        find: impl Fn(&PartitionKey) -> Option<Arc<Waiters>>,
    ) -> Result<(Context, Vec<Target>), ErrorCode> {
        let targets = |partitions: Vec<_>| partitions.into_iter().map(Target::from).collect();
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            if request.id != 0 {
                self.sessions.lock().remove(&request.id);
            }
            if request.epoch == FINAL_EPOCH {
                return Ok((Context::Sessionless, targets(partitions)));
            }
            let (uses_topic_ids, reader) = (request.uses_topic_ids, request.reader);
            let context = Context::Full { uses_topic_ids, reader, partitions: partitions.clone() };
            return Ok((context, targets(partitions)));
        }
        let Some(shared) = self.sessions.lock().get(&request.id).cloned() else {
            return Err(ErrorCode::FETCH_SESSION_ID_NOT_FOUND);
        };
        let mut session = shared.lock();
        if session.epoch != request.epoch {
            return Err(ErrorCode::INVALID_FETCH_SESSION_EPOCH);
        }
        if session.uses_topic_ids != request.uses_topic_ids {
            return Err(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR);
        }
        for (key, wanted) in &partitions {
            session.put(key.clone(), *wanted);
        }
        for key in forgotten {
            session.remove(key);
        }
        if session.len() == 0 {
            drop(session);
            self.sessions.lock().remove(&request.id);
            return Ok((Context::Sessionless, targets(partitions)));
        }
        session.epoch = epoch_after(session.epoch);
        session.used = now;
        session.read_by(request.reader);
        let due = session.due(find);
        drop(session);
        Ok((Context::Incremental(shared), due))
    }

    /// Closes a context: which session id the answer carries, and for each partition whether it is to be sent.
    pub fn finish(&self, context: Context, said: &[(Target, Said)], now: Duration) -> (i32, Vec<bool>) {
        match context {
            Context::Sessionless => (0, vec![true; said.len()]),
            Context::Full { uses_topic_ids, reader, partitions } => {
                let id = self.create(uses_topic_ids, reader, partitions, said, now);
                (id, vec![true; said.len()])
            }
            Context::Incremental(session) => {
                let mut session = session.lock();
                let keep = said.iter().map(|(target, said)| session.judge(target, said)).collect();
                (session.id, keep)
            }
        }
    }

    fn create(
        &self,
        uses_topic_ids: bool,
        reader: Reader,
        partitions: Vec<(PartitionKey, Wanted)>,
        said: &[(Target, Said)],
        now: Duration,
    ) -> i32 {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.slots {
            let Some(victim) = choose_victim(&sessions, partitions.len(), now) else {
                return 0;
            };
            sessions.remove(&victim);
        }
        let id = loop {
            let id = self.next_id();
            if !sessions.contains_key(&id) {
                break id;
            }
        };
        let mut session = Session::new(id, uses_topic_ids, reader, partitions, now);
        for (target, said) in said {
            session.judge(target, said);
        }
        sessions.insert(id, Arc::new(Mutex::new(session)));
        id
    }

    /// A positive id from a splitmix64 sequence.
    fn next_id(&self) -> i32 {
        loop {
            let mut z = self.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let id = ((z ^ (z >> 31)) & 0x7fff_ffff) as i32;
            if id != 0 {
                return id;
            }
        }
    }
}

/// Which session gives its slot to a newcomer of `partitions` partitions, if any.
fn choose_victim(sessions: &HashMap<i32, Arc<Mutex<Session>>>, partitions: usize, now: Duration) -> Option<i32> {
    let mut stale: Option<(Duration, i32)> = None;
    let mut small: Option<(usize, i32)> = None;
    for (id, session) in sessions {
        let Some(session) = session.try_lock() else {
            continue;
        };
        if now.saturating_sub(session.used) > EVICTION_AGE {
            stale = Some(stale.map_or((session.used, *id), |best| best.min((session.used, *id))));
        }
        let size = session.len();
        if size < partitions && now.saturating_sub(session.created) > EVICTION_AGE {
            small = Some(small.map_or((size, *id), |best| best.min((size, *id))));
        }
    }
    stale.map(|(_, id)| id).or(small.map(|(_, id)| id))
}
