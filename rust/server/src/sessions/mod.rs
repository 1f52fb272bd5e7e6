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

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error_code::ErrorCode;

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
}

struct Cached {
    key: PartitionKey,
    wanted: Wanted,
    high_watermark: i64,
    log_start_offset: i64,
}

impl Cached {
    fn new(key: PartitionKey, wanted: Wanted) -> Self {
        Self { key, wanted, high_watermark: -1, log_start_offset: -1 }
    }

    /// Whether `said` is news to the consumer; remembers it as sent.
    fn is_news(&mut self, said: &Said) -> bool {
        let changed = self.high_watermark != said.high_watermark || self.log_start_offset != said.log_start_offset;
        self.high_watermark = said.high_watermark;
        self.log_start_offset = said.log_start_offset;
        if said.error != ErrorCode::NONE {
            // The first good answer after an error is news, whatever it says.
            self.high_watermark = -1;
            return true;
        }
        changed || said.record_bytes > 0 || said.diverged
    }
}

/// One consumer's session.
pub struct Session {
    id: i32,
    epoch: i32,
    uses_topic_ids: bool,
    created: Duration,
    used: Duration,
    places: HashMap<PartitionKey, u64>,
    in_order: BTreeMap<u64, Cached>,
    next_place: u64,
}

impl Session {
    fn put(&mut self, key: PartitionKey, wanted: Wanted) {
        if let Some(cached) = self.places.get(&key).and_then(|place| self.in_order.get_mut(place)) {
            cached.wanted = wanted;
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.places.insert(key.clone(), place);
        self.in_order.insert(place, Cached::new(key, wanted));
    }

    fn remove(&mut self, key: &PartitionKey) {
        if let Some(place) = self.places.remove(key) {
            self.in_order.remove(&place);
        }
    }

    /// Judges one answer; a partition that sends records moves to the end of the order.
    fn keeps(&mut self, key: &PartitionKey, said: &Said) -> bool {
        let Some(place) = self.places.get(key).copied() else {
            return true;
        };
        let Some(cached) = self.in_order.get_mut(&place) else {
            return true;
        };
        let is_news = cached.is_news(said);
        if said.record_bytes > 0
            && let Some(cached) = self.in_order.remove(&place)
        {
            let last = self.next_place;
            self.next_place += 1;
            self.places.insert(key.clone(), last);
            self.in_order.insert(last, cached);
        }
        is_news
    }

    fn wanted(&self) -> Vec<(PartitionKey, Wanted)> {
        self.in_order.values().map(|cached| (cached.key.clone(), cached.wanted)).collect()
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
}

/// How the answer of one fetch is to be made.
pub enum Context {
    Sessionless,
    /// A session is to be made of these partitions.
    Full {
        uses_topic_ids: bool,
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

    /// Opens the context of a request and lists the partitions to read, in order.
    ///
    /// # Errors
    /// Kafka's code for an unknown session, a wrong epoch, or names and topic ids mixed in one session.
    pub fn begin(
        &self,
        request: SessionRequest,
        partitions: Vec<(PartitionKey, Wanted)>,
        forgotten: &[PartitionKey],
        now: Duration,
    ) -> Result<(Context, Vec<(PartitionKey, Wanted)>), ErrorCode> {
        if request.epoch == INITIAL_EPOCH || request.epoch == FINAL_EPOCH {
            if request.id != 0 {
                self.sessions.lock().remove(&request.id);
            }
            if request.epoch == FINAL_EPOCH {
                return Ok((Context::Sessionless, partitions));
            }
            let context = Context::Full { uses_topic_ids: request.uses_topic_ids, partitions: partitions.clone() };
            return Ok((context, partitions));
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
        if session.in_order.is_empty() {
            drop(session);
            self.sessions.lock().remove(&request.id);
            return Ok((Context::Sessionless, partitions));
        }
        session.epoch = epoch_after(session.epoch);
        session.used = now;
        let wanted = session.wanted();
        drop(session);
        Ok((Context::Incremental(shared), wanted))
    }

    /// Closes a context: which session id the answer carries, and for each partition whether it is to be sent.
    pub fn finish(&self, context: Context, said: &[(PartitionKey, Said)], now: Duration) -> (i32, Vec<bool>) {
        match context {
            Context::Sessionless => (0, vec![true; said.len()]),
            Context::Full { uses_topic_ids, partitions } => {
                let id = self.create(uses_topic_ids, partitions, said, now);
                (id, vec![true; said.len()])
            }
            Context::Incremental(session) => {
                let mut session = session.lock();
                let keep = said.iter().map(|(key, said)| session.keeps(key, said)).collect();
                (session.id, keep)
            }
        }
    }

    fn create(
        &self,
        uses_topic_ids: bool,
        partitions: Vec<(PartitionKey, Wanted)>,
        said: &[(PartitionKey, Said)],
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
        let mut session = Session {
            id,
            epoch: epoch_after(INITIAL_EPOCH),
            uses_topic_ids,
            created: now,
            used: now,
            places: HashMap::with_capacity(partitions.len()),
            in_order: BTreeMap::new(),
            next_place: 0,
        };
        for (key, wanted) in partitions {
            session.put(key, wanted);
        }
        for (key, said) in said {
            session.keeps(key, said);
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
        let size = session.in_order.len();
        if size < partitions && now.saturating_sub(session.created) > EVICTION_AGE {
            small = Some(small.map_or((size, *id), |best| best.min((size, *id))));
        }
    }
    stale.map(|(_, id)| id).or(small.map(|(_, id)| id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(partition: i32) -> PartitionKey {
        PartitionKey { topic: TopicKey::Name("t".into()), partition }
    }

    fn wanted(fetch_offset: i64) -> Wanted {
        Wanted { fetch_offset, max_bytes: 1000, current_leader_epoch: -1, last_fetched_epoch: -1 }
    }

    fn said(high_watermark: i64, record_bytes: usize) -> Said {
        Said { error: ErrorCode::NONE, high_watermark, log_start_offset: 0, record_bytes, diverged: false }
    }

    fn request(id: i32, epoch: i32) -> SessionRequest {
        SessionRequest { id, epoch, uses_topic_ids: false }
    }

    fn open(sessions: &Sessions, partitions: i32, now: Duration) -> i32 {
        let list: Vec<_> = (0..partitions).map(|p| (key(p), wanted(0))).collect();
        let (context, read) = sessions.begin(request(0, 0), list, &[], now).unwrap();
        let said: Vec<_> = read.iter().map(|(key, _)| (key.clone(), said(0, 0))).collect();
        sessions.finish(context, &said, now).0
    }

    #[test]
    fn only_news_is_sent_and_a_sender_goes_to_the_end() {
        let sessions = Sessions::new(10, 1);
        let now = Duration::ZERO;
        let id = open(&sessions, 3, now);
        assert_ne!(id, 0);
        let (context, read) = sessions.begin(request(id, 1), vec![], &[], now).unwrap();
        let answers: Vec<_> =
            read.iter().map(|(key, _)| (key.clone(), said(i64::from(key.partition == 0), 0))).collect();
        assert_eq!(sessions.finish(context, &answers, now), (id, vec![true, false, false]));
        let (context, read) = sessions.begin(request(id, 2), vec![], &[], now).unwrap();
        let answers: Vec<_> = read
            .iter()
            .map(|(key, _)| (key.clone(), said(i64::from(key.partition == 0), usize::from(key.partition == 0))))
            .collect();
        sessions.finish(context, &answers, now);
        let (_, read) = sessions.begin(request(id, 3), vec![], &[], now).unwrap();
        let order: Vec<_> = read.iter().map(|(key, _)| key.partition).collect();
        assert_eq!(order, [1, 2, 0]);
    }

    #[test]
    fn an_error_is_always_sent_and_so_is_the_first_answer_after_it() {
        let sessions = Sessions::new(10, 1);
        let now = Duration::ZERO;
        let id = open(&sessions, 1, now);
        let failed = Said { error: ErrorCode::NOT_LEADER_OR_FOLLOWER, ..said(0, 0) };
        for (epoch, answer, sent) in
            [(1, failed, true), (2, failed, true), (3, said(0, 0), true), (4, said(0, 0), false)]
        {
            let (context, _) = sessions.begin(request(id, epoch), vec![], &[], now).unwrap();
            assert_eq!(sessions.finish(context, &[(key(0), answer)], now).1, [sent], "epoch {epoch}");
        }
    }

    #[test]
    fn wrong_ids_epochs_and_naming_are_refused_with_kafkas_codes() {
        let sessions = Sessions::new(10, 1);
        let now = Duration::ZERO;
        let id = open(&sessions, 1, now);
        let code = |request| sessions.begin(request, vec![], &[], now).err();
        assert_eq!(code(request(id.wrapping_add(1), 1)), Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
        assert_eq!(code(request(id, 2)), Some(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
        let by_id = SessionRequest { id, epoch: 1, uses_topic_ids: true };
        assert_eq!(code(by_id), Some(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
        assert_eq!(code(request(id, 1)), None);
    }

    #[test]
    fn forgetting_the_last_partition_or_the_final_epoch_ends_a_session() {
        let sessions = Sessions::new(10, 1);
        let now = Duration::ZERO;
        let id = open(&sessions, 1, now);
        let (context, read) = sessions.begin(request(id, 1), vec![], &[key(0)], now).unwrap();
        assert!(matches!(context, Context::Sessionless) && read.is_empty());
        assert!(sessions.is_empty());
        let id = open(&sessions, 1, now);
        sessions.begin(request(id, FINAL_EPOCH), vec![], &[], now).unwrap();
        assert!(sessions.is_empty());
    }

    #[test]
    fn a_full_cache_gives_up_the_stale_and_the_old_small_only() {
        let sessions = Sessions::new(2, 1);
        let (first, second) = (open(&sessions, 2, Duration::ZERO), open(&sessions, 2, Duration::ZERO));
        assert_eq!(open(&sessions, 9, Duration::from_secs(60)), 0, "all are young");
        let later = Duration::from_secs(130);
        sessions.begin(request(first, 1), vec![], &[], later).unwrap();
        let third = open(&sessions, 1, later);
        assert_ne!(third, 0, "the second was stale");
        assert_eq!(
            sessions.begin(request(second, 1), vec![], &[], later).err(),
            Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND)
        );
        assert_eq!(open(&sessions, 2, later), 0, "the first is old but not smaller");
        assert_ne!(open(&sessions, 3, later), 0, "the first is old and smaller");
    }

    #[test]
    fn the_epoch_wraps_to_one() {
        assert_eq!(epoch_after(i32::MAX), 1);
    }
}
