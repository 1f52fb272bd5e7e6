//! Sessions over partitions that are nothing but those who wait for them.

use super::*;

const READER: Reader = Reader { isolation: Isolation::ReadUncommitted, is_consumer: true };
const NOW: Duration = Duration::ZERO;

fn key(partition: i32) -> PartitionKey {
    PartitionKey { topic: TopicKey::Name("t".into()), partition }
}

fn wanted(fetch_offset: i64) -> Wanted {
    Wanted { fetch_offset, max_bytes: 1000, current_leader_epoch: -1, last_fetched_epoch: -1 }
}

/// An answer after which there is nothing left.
fn said(high_watermark: i64, record_bytes: usize) -> Said {
    let (error, log_start_offset) = (ErrorCode::NONE, 0);
    Said { error, high_watermark, log_start_offset, record_bytes, diverged: false, is_exhausted: true }
}

fn request(id: i32, epoch: i32) -> SessionRequest {
    SessionRequest { id, epoch, uses_topic_ids: false, reader: READER }
}

struct World {
    sessions: Sessions,
    partitions: Vec<Arc<Waiters>>,
}

impl World {
    fn new(slots: usize) -> Self {
        Self { sessions: Sessions::new(slots, 1), partitions: (0..10).map(|_| Arc::default()).collect() }
    }

    fn find(&self) -> impl Fn(&PartitionKey) -> Option<Arc<Waiters>> {
        |key| self.partitions.get(usize::try_from(key.partition).ok()?).cloned()
    }

    fn begin(&self, request: SessionRequest, now: Duration) -> Result<(Context, Vec<Target>), ErrorCode> {
        self.sessions.begin(request, vec![], &[], now, self.find())
    }

    /// A session of the first `partitions`, all of which were answered with nothing.
    fn open(&self, partitions: i32, now: Duration) -> i32 {
        let list: Vec<_> = (0..partitions).map(|partition| (key(partition), wanted(0))).collect();
        let (context, targets) = self.sessions.begin(request(0, 0), list, &[], now, self.find()).unwrap();
        let said: Vec<_> = targets.into_iter().map(|target| (target, said(0, 0))).collect();
        self.sessions.finish(context, &said, now).0
    }

    /// One fetch in which `answer` says what is said of each: which partitions were looked at, and whether each was sent.
    fn fetch(&self, request: SessionRequest, answer: impl Fn(i32) -> Said) -> Vec<(i32, bool)> {
        let (context, targets) = self.begin(request, NOW).unwrap();
        self.finish(context, targets, answer)
    }

    fn finish(&self, context: Context, targets: Vec<Target>, answer: impl Fn(i32) -> Said) -> Vec<(i32, bool)> {
        let said: Vec<_> = targets
            .into_iter()
            .map(|target| {
                let said = answer(target.key.partition);
                (target, said)
            })
            .collect();
        let (_, keep) = self.sessions.finish(context, &said, NOW);
        said.iter().zip(keep).map(|((target, _), keep)| (target.key.partition, keep)).collect()
    }
}

/// What was looked at in vain is not looked at again until it moves, whichever way, or is asked for otherwise.
#[test]
fn only_what_moved_is_looked_at() {
    let world = World::new(10);
    let id = world.open(4, NOW);
    let all = [(0, false), (1, false), (2, false), (3, false)];
    assert_eq!(world.fetch(request(id, 1), |_| said(0, 0)), all, "marks are left at the second look");
    assert_eq!(world.fetch(request(id, 2), |_| said(0, 0)), []);
    world.partitions[2].advanced_to(1);
    world.partitions[2].advanced_to(2);
    assert_eq!(world.fetch(request(id, 3), |_| said(2, 0)), [(2, true)]);
    assert_eq!(world.fetch(request(id, 4), |_| said(2, 0)), []);
    world.partitions[3].wake_all();
    world.partitions[1].start_moved();
    assert_eq!(world.fetch(request(id, 5), |_| said(0, 0)), [(1, false), (3, false)]);
    let asked = vec![(key(0), wanted(7))];
    let (_, targets) = world.sessions.begin(request(id, 6), asked, &[], NOW, world.find()).unwrap();
    assert_eq!(targets.iter().map(|target| (&target.key, target.wanted)).collect::<Vec<_>>(), [(&key(0), wanted(7))]);
}

/// What has more to send stays due, and so does what failed, and what diverged.
#[test]
fn what_is_not_exhausted_stays_due() {
    let world = World::new(10);
    let id = world.open(3, NOW);
    let answer = |partition| match partition {
        0 => Said { is_exhausted: false, ..said(5, 100) },
        1 => Said { error: ErrorCode::OFFSET_OUT_OF_RANGE, is_exhausted: false, ..said(-1, 0) },
        _ => said(0, 0),
    };
    assert_eq!(world.fetch(request(id, 1), answer), [(0, true), (1, true), (2, false)]);
    assert_eq!(world.fetch(request(id, 2), answer), [(1, true), (0, true)]);
    // Left out for want of room: nothing was sent, and there is something.
    let cut = |partition| Said { is_exhausted: false, ..said(5, usize::from(partition == 1)) };
    assert_eq!(world.fetch(request(id, 3), cut), [(1, true), (0, false)]);
    assert_eq!(world.fetch(request(id, 4), cut), [(0, false), (1, true)]);
}

/// A partition that moves while it is being looked at is looked at again, though that look found nothing.
#[test]
fn a_move_after_the_look_is_not_lost() {
    let world = World::new(10);
    let id = world.open(2, NOW);
    let (context, targets) = world.begin(request(id, 1), NOW).unwrap();
    world.partitions[1].advanced_to(1);
    world.finish(context, targets, |_| said(0, 0));
    assert_eq!(world.fetch(request(id, 2), |_| said(1, 0)), [(1, true)]);
    // Nor when another fetch of the session took the mark in between, and this one ends last.
    world.partitions[1].advanced_to(2);
    let (first, old_look) = world.begin(request(id, 3), NOW).unwrap();
    world.partitions[1].advanced_to(3);
    let (second, new_look) = world.begin(request(id, 4), NOW).unwrap();
    world.finish(second, new_look, |_| Said { is_exhausted: false, ..said(3, 0) });
    world.finish(first, old_look, |_| said(2, 0));
    assert_eq!(world.fetch(request(id, 5), |_| said(3, 0)), [(1, true)]);
}

/// Nor when the partition was forgotten and asked for again meanwhile.
#[test]
fn what_is_asked_for_again_is_looked_at_again() {
    let world = World::new(10);
    let id = world.open(2, NOW);
    let (first, old_look) = world.begin(request(id, 1), NOW).unwrap();
    let (second, look) = world.sessions.begin(request(id, 2), vec![], &[key(0)], NOW, world.find()).unwrap();
    world.finish(second, look, |_| said(0, 0));
    let again = vec![(key(0), wanted(0))];
    let (third, new_look) = world.sessions.begin(request(id, 3), again, &[], NOW, world.find()).unwrap();
    world.finish(third, new_look, |_| Said { is_exhausted: false, ..said(5, 0) });
    world.finish(first, old_look, |_| said(5, 0));
    assert_eq!(world.fetch(request(id, 4), |_| said(5, 0)), [(0, false)]);
}

/// A sender goes to the end of the order, so that a limit starves nobody.
#[test]
fn a_sender_goes_to_the_end() {
    let world = World::new(10);
    let id = world.open(3, NOW);
    // Each has more than an answer may carry: every time the first one sends, and the rest have to wait.
    for (epoch, order) in [(1, [0, 1, 2]), (2, [1, 2, 0]), (3, [2, 0, 1]), (4, [0, 1, 2])] {
        let (context, targets) = world.begin(request(id, epoch), NOW).unwrap();
        assert_eq!(targets.iter().map(|target| target.key.partition).collect::<Vec<_>>(), order);
        let first = targets[0].key.partition;
        world.finish(context, targets, |partition| Said {
            is_exhausted: false,
            ..said(5, usize::from(partition == first))
        });
    }
}

/// Only news is sent; an error is always sent, and so is the first answer after it.
#[test]
fn only_news_is_sent() {
    let world = World::new(10);
    let id = world.open(1, NOW);
    let failed =
        Said { error: ErrorCode::NOT_LEADER_OR_FOLLOWER, is_exhausted: false, high_watermark: 0, ..said(0, 0) };
    let moved = said(1, 0);
    for (epoch, answer, sent) in [
        (1, said(0, 0), false),
        (2, moved, true),
        (3, moved, false),
        (4, Said { log_start_offset: 1, ..moved }, true),
        (5, failed, true),
        (6, failed, true),
        (7, said(0, 0), true),
        (8, said(0, 0), false),
        (9, said(0, 10), true),
    ] {
        world.partitions[0].wake_all();
        assert_eq!(world.fetch(request(id, epoch), |_| answer), [(0, sent)], "epoch {epoch}");
    }
}

/// To another kind of reader everything may look different.
#[test]
fn another_reader_looks_at_everything() {
    let world = World::new(10);
    let id = world.open(2, NOW);
    world.fetch(request(id, 1), |_| said(0, 0));
    let committed = Reader { isolation: Isolation::ReadCommitted, ..READER };
    let asked = SessionRequest { reader: committed, ..request(id, 2) };
    assert_eq!(world.fetch(asked, |_| said(0, 0)), [(0, false), (1, false)]);
    assert_eq!(world.fetch(SessionRequest { epoch: 3, ..asked }, |_| said(0, 0)), []);
    assert_eq!(world.fetch(request(id, 4), |_| said(0, 0)).len(), 2);
}

/// A topic that was deleted and made again under its name tells of itself.
#[test]
fn a_successor_is_watched() {
    let mut world = World::new(10);
    let id = world.open(1, NOW);
    world.fetch(request(id, 1), |_| said(0, 0));
    let old = std::mem::take(&mut world.partitions[0]);
    old.wake_all();
    assert_eq!(world.fetch(request(id, 2), |_| said(0, 0)), [(0, false)]);
    old.wake_all();
    assert_eq!(world.fetch(request(id, 3), |_| said(0, 0)), []);
    world.partitions[0].advanced_to(1);
    assert_eq!(world.fetch(request(id, 4), |_| said(1, 0)), [(0, true)]);
}

/// A session that ends, or forgets a partition, leaves no mark behind, and a new partition does not inherit one.
#[test]
fn marks_go_with_their_session() {
    let world = World::new(10);
    let id = world.open(2, NOW);
    world.fetch(request(id, 1), |_| said(0, 0));
    assert_eq!(world.partitions.iter().map(|partition| partition.marks()).collect::<Vec<_>>()[..3], [1, 1, 0]);
    world.partitions[0].advanced_to(1);
    let news = vec![(key(2), wanted(0))];
    let (_, targets) = world.sessions.begin(request(id, 2), news, &[key(0)], NOW, world.find()).unwrap();
    assert_eq!(targets.iter().map(|target| target.key.partition).collect::<Vec<_>>(), [2]);
    assert_eq!(world.partitions.iter().map(|partition| partition.marks()).collect::<Vec<_>>()[..3], [0, 1, 1]);
    world.begin(request(id, FINAL_EPOCH), NOW).unwrap();
    assert!(world.sessions.is_empty());
    assert!(world.partitions.iter().all(|partition| partition.marks() == 0));
}

/// However often a session's list changes, it takes no more room than the longest of them.
#[test]
fn the_room_of_the_forgotten_is_used_again() {
    let world = World::new(10);
    let id = world.open(2, NOW);
    for epoch in 1..20 {
        let (context, targets) = world
            .sessions
            .begin(request(id, epoch), vec![(key(epoch + 1), wanted(0))], &[key(epoch)], NOW, world.find())
            .unwrap();
        assert!(targets.iter().all(|target| target.ticket.unwrap().slot < 3), "{targets:?}");
        world.finish(context, targets, |_| said(0, 0));
    }
}

#[test]
fn wrong_ids_epochs_and_naming_are_refused_with_kafkas_codes() {
    let world = World::new(10);
    let id = world.open(1, NOW);
    let code = |request| world.begin(request, NOW).err();
    assert_eq!(code(request(id.wrapping_add(1), 1)), Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    assert_eq!(code(request(id, 2)), Some(ErrorCode::INVALID_FETCH_SESSION_EPOCH));
    let by_id = SessionRequest { uses_topic_ids: true, ..request(id, 1) };
    assert_eq!(code(by_id), Some(ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR));
    assert_eq!(code(request(id, 1)), None);
}

#[test]
fn forgetting_the_last_partition_or_the_final_epoch_ends_a_session() {
    let world = World::new(10);
    let id = world.open(1, NOW);
    let (context, targets) = world.sessions.begin(request(id, 1), vec![], &[key(0)], NOW, world.find()).unwrap();
    assert!(matches!(context, Context::Sessionless) && targets.is_empty());
    assert!(world.sessions.is_empty());
    let id = world.open(1, NOW);
    world.begin(request(id, FINAL_EPOCH), NOW).unwrap();
    assert!(world.sessions.is_empty());
}

#[test]
fn a_full_cache_gives_up_the_stale_and_the_old_small_only() {
    let world = World::new(2);
    let (first, second) = (world.open(2, NOW), world.open(2, NOW));
    assert_eq!(world.open(9, Duration::from_secs(60)), 0, "all are young");
    let later = Duration::from_secs(130);
    world.begin(request(first, 1), later).unwrap();
    let third = world.open(1, later);
    assert_ne!(third, 0, "the second was stale");
    assert_eq!(world.begin(request(second, 1), later).err(), Some(ErrorCode::FETCH_SESSION_ID_NOT_FOUND));
    assert_eq!(world.open(2, later), 0, "the first is old but not smaller");
    assert_ne!(world.open(3, later), 0, "the first is old and smaller");
}

#[test]
fn the_epoch_wraps_to_one() {
    assert_eq!(epoch_after(i32::MAX), 1);
}
