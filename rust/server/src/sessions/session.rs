//! One session: its partitions, what was said of each, and which must be looked at.
//!
//! A partition is *due* until a look finds nothing in it that the consumer could be sent: no error, nothing to read at its offset. Then it
//! leaves a mark with its partition ([`super::marks`]) and is left alone until that is set, or the consumer asks for something else of
//! it. What a fetch costs grows with the partitions that are due, not with those of the session.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::marks::{Marks, Watch};
use super::{INITIAL_EPOCH, PartitionKey, Reader, Said, Target, Ticket, Wanted};
use crate::error_code::ErrorCode;
use crate::waiting::Waiters;

struct Slot {
    key: PartitionKey,
    wanted: Wanted,
    /// As last sent; -1: not yet, or there was an error.
    high_watermark: i64,
    log_start_offset: i64,
    /// Its place in the order of all.
    place: u64,
    /// Counts what may have made it due: a look is no proof against what came after it.
    turn: u64,
    watch: Option<Watch>,
}

impl Slot {
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

/// See the module.
pub struct Session {
    pub(super) id: i32,
    pub(super) epoch: i32,
    pub(super) uses_topic_ids: bool,
    pub(super) created: Duration,
    pub(super) used: Duration,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    by_key: HashMap<PartitionKey, u32>,
    /// By place.
    due: BTreeMap<u64, u32>,
    next_place: u64,
    /// Of all slots together, so that no slot used again has one that was.
    turns: u64,
    marks: Arc<Marks>,
    /// What is not due was looked at with these eyes.
    reader: Reader,
}

impl Session {
    pub(super) fn new(
        id: i32,
        uses_topic_ids: bool,
        reader: Reader,
        partitions: Vec<(PartitionKey, Wanted)>,
        now: Duration,
    ) -> Self {
        let mut session = Self {
            id,
            epoch: super::epoch_after(INITIAL_EPOCH),
            uses_topic_ids,
            created: now,
            used: now,
            slots: Vec::with_capacity(partitions.len()),
            free: Vec::new(),
            by_key: HashMap::with_capacity(partitions.len()),
            due: BTreeMap::new(),
            next_place: 0,
            turns: 0,
            marks: Arc::default(),
            reader,
        };
        for (key, wanted) in partitions {
            session.put(key, wanted);
        }
        session
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Wakes who waits for news.
    #[must_use]
    pub fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }

    fn slot(&mut self, number: u32) -> Option<&mut Slot> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    pub(super) fn put(&mut self, key: PartitionKey, wanted: Wanted) {
        if let Some(number) = self.by_key.get(&key).copied() {
            if let Some(slot) = self.slot(number) {
                slot.wanted = wanted;
            }
            self.make_due(number);
            return;
        }
        let place = self.next_place;
        self.next_place += 1;
        self.turns += 1;
        let turn = self.turns;
        let slot =
            Slot { key: key.clone(), wanted, high_watermark: -1, log_start_offset: -1, place, turn, watch: None };
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = Some(slot);
                number
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() as u32 - 1
            }
        };
        self.by_key.insert(key, number);
        self.due.insert(place, number);
    }

    pub(super) fn remove(&mut self, key: &PartitionKey) {
        let Some(number) = self.by_key.remove(key) else { return };
        if let Some(slot) = self.slots[number as usize].take() {
            self.due.remove(&slot.place);
            self.free.push(number);
        }
    }

    fn make_due(&mut self, number: u32) {
        self.turns += 1;
        let turn = self.turns;
        if let Some(slot) = self.slot(number) {
            slot.turn = turn;
            let place = slot.place;
            self.due.insert(place, number);
        }
    }

    /// Who reads now. To other eyes everything may look different.
    pub(super) fn read_by(&mut self, reader: Reader) {
        if self.reader != reader {
            self.reader = reader;
            (0..self.slots.len() as u32).for_each(|number| self.make_due(number));
        }
    }

    /// What must be looked at, in order. `find`: who waits for a partition, if it exists.
    pub(super) fn due(&mut self, find: impl Fn(&PartitionKey) -> Option<Arc<Waiters>>) -> Vec<Target> {
        self.take_marked();
        let due: Vec<u32> = self.due.values().copied().collect();
        due.into_iter().filter_map(|number| self.target(number, &find)).collect()
    }

    /// The same, of those alone that have moved since the last call of either.
    pub fn moved(&mut self, find: impl Fn(&PartitionKey) -> Option<Arc<Waiters>>) -> Vec<Target> {
        let moved = self.take_marked();
        moved.into_iter().filter_map(|number| self.target(number, &find)).collect()
    }

    fn take_marked(&mut self) -> Vec<u32> {
        let moved = self.marks.take();
        for number in &moved {
            if let Some(watch) = self.slot(*number).and_then(|slot| slot.watch.as_ref()) {
                watch.reset();
            }
            self.make_due(*number);
        }
        moved
    }

    /// One partition to be looked at, its mark left before that.
    fn target(&mut self, number: u32, find: impl Fn(&PartitionKey) -> Option<Arc<Waiters>>) -> Option<Target> {
        let marks = Arc::clone(&self.marks);
        let slot = self.slot(number)?;
        match find(&slot.key) {
            Some(waiters) if slot.watch.as_ref().is_some_and(|watch| watch.is_of(&waiters)) => {}
            Some(waiters) => slot.watch = Some(Watch::begin(&waiters, &marks, number)),
            // There is nobody to tell when it comes to be; the error keeps it due.
            None => slot.watch = None,
        }
        let ticket = Ticket { slot: number, place: slot.place, turn: slot.turn };
        Some(Target { key: slot.key.clone(), wanted: slot.wanted, ticket: Some(ticket) })
    }

    /// Judges one answer: whether it is to be sent. A partition that sends records moves to the end of the order.
    pub(super) fn judge(&mut self, target: &Target, said: &Said) -> bool {
        let Some(number) = self.by_key.get(&target.key).copied() else {
            return true;
        };
        let last = self.next_place;
        let Some(slot) = self.slot(number) else {
            return true;
        };
        let is_news = slot.is_news(said);
        let is_last_word = target.ticket.is_some_and(|ticket| ticket.slot == number && ticket.turn == slot.turn);
        let place = slot.place;
        if said.record_bytes > 0 {
            slot.place = last;
            self.next_place += 1;
            self.due.remove(&place);
            self.due.insert(last, number);
        } else if said.is_exhausted && is_last_word {
            self.due.remove(&place);
        }
        is_news
    }
}
