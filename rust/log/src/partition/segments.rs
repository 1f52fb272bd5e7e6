//! The segments of a partition in ascending order, and in which of them a look-up by time should begin.
//!
//! Timestamps need not grow, so that the greatest ones of the segments are in no order. They are kept as a tree of maxima: `levels[0]` has
//! one for each segment, in `levels[n + 1]` each is the greater of two below. The first segment with a record not older than a
//! timestamp is then a climb and a descent away, however many there are. The tree is filled by look-ups and costs no other a read; the
//! segment being written is not in it, since its greatest timestamp is in memory and moves.

use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::segment::{self, Segment};

/// No record of the segment has a timestamp.
pub const NO_TIME_MS: i64 = -1;

/// See the module. Reads as a slice; whatever takes segments away or exchanges them goes through here, so that the tree fits them.
#[derive(Debug, Default)]
pub struct Segments {
    list: Vec<Arc<Segment>>,
    youngest: Maxima,
    /// [`segment::rebuilds`] as it was when the tree was begun: a segment whose indexes were wrong said something else before.
    rebuilds: u64,
}

impl From<Vec<Arc<Segment>>> for Segments {
    fn from(list: Vec<Arc<Segment>>) -> Segments {
        Segments { list, ..Segments::default() }
    }
}

impl Deref for Segments {
    type Target = [Arc<Segment>];

    fn deref(&self) -> &[Arc<Segment>] {
        &self.list
    }
}

impl Segments {
    /// The one being written so far is closed: its greatest timestamp is the last word.
    pub fn push(&mut self, segment: Arc<Segment>) {
        self.list.push(segment);
    }

    /// Takes the last one, so that the one before is written on.
    pub fn pop(&mut self) -> Option<Arc<Segment>> {
        let last = self.list.pop();
        self.youngest.truncate(self.list.len().saturating_sub(1));
        last
    }

    /// Takes the first `count`.
    pub fn take_front(&mut self, count: usize) -> Vec<Arc<Segment>> {
        self.youngest.clear();
        let rest = self.list.split_off(count);
        std::mem::replace(&mut self.list, rest)
    }

    /// Puts one in the place of several.
    pub fn replace(&mut self, range: Range<usize>, by: Arc<Segment>) {
        self.youngest.clear();
        self.list.splice(range, [by]);
    }

    /// The first segment from `from` on whose greatest timestamp is not below `timestamp_ms`: Ok(None) if there is none. Err: how many
    /// are known; the next ones must be learned first.
    pub fn first_since(&self, from: usize, timestamp_ms: i64) -> Result<Option<usize>, usize> {
        let known = if self.rebuilds == segment::rebuilds() { self.youngest.len() } else { 0 };
        if known > from
            && let Some(index) = self.youngest.first_since(from, timestamp_ms)
        {
            return Ok(Some(index));
        }
        let Some(last) = self.list.len().checked_sub(1) else { return Ok(None) };
        if known < last {
            return Err(known);
        }
        let is_in_last =
            last >= from && self.list[last].largest_known_ms().is_none_or(|youngest_ms| youngest_ms >= timestamp_ms);
        Ok(is_in_last.then_some(last))
    }

    /// Enters the greatest timestamps of closed segments, the `from`th and those behind it, as far as they are still these.
    pub fn learn(&mut self, from: usize, looked_at: &[(Arc<Segment>, i64)], rebuilds: u64) {
        if self.rebuilds != rebuilds {
            self.youngest.clear();
            self.rebuilds = rebuilds;
        }
        if self.youngest.len() != from {
            return;
        }
        let closed = self.list.len().saturating_sub(1);
        for (segment, youngest_ms) in looked_at {
            let at = self.youngest.len();
            if at >= closed || !Arc::ptr_eq(&self.list[at], segment) {
                return;
            }
            self.youngest.push(*youngest_ms);
        }
    }

    /// The first segment with the greatest timestamp of all; None when no record has one. Err: as above.
    pub fn with_greatest(&self) -> Result<Option<usize>, usize> {
        // Nothing is younger than this; it is asked for so that everything is known.
        self.first_since(0, i64::MAX)?;
        let last_ms = self.list.last().and_then(|last| last.largest_known_ms()).unwrap_or(NO_TIME_MS);
        let greatest_ms = self.youngest.greatest().unwrap_or(NO_TIME_MS).max(last_ms);
        if greatest_ms == NO_TIME_MS { Ok(None) } else { self.first_since(0, greatest_ms) }
    }
}

#[derive(Debug, Default)]
struct Maxima {
    levels: Vec<Vec<i64>>,
}

impl Maxima {
    fn len(&self) -> usize {
        self.levels.first().map_or(0, Vec::len)
    }

    fn clear(&mut self) {
        self.levels = Vec::new();
    }

    fn push(&mut self, value: i64) {
        let at = self.len();
        for (height, level) in self.levels.iter_mut().enumerate() {
            match level.get_mut(at >> height) {
                Some(node) => *node = value.max(*node),
                None => level.push(value),
            }
        }
        match self.levels.last().map(Vec::as_slice) {
            None => self.levels.push(vec![value]),
            Some([left, right]) => self.levels.push(vec![*left.max(right)]),
            Some(_) => {}
        }
    }

    fn truncate(&mut self, count: usize) {
        if count < self.len() {
            let mut rest = std::mem::take(&mut self.levels).swap_remove(0);
            rest.truncate(count);
            rest.into_iter().for_each(|value| self.push(value));
        }
    }

    fn greatest(&self) -> Option<i64> {
        self.levels.last().and_then(|top| top.first()).copied()
    }

    /// Index of the first value from `from` on that is not below `wanted`.
    fn first_since(&self, from: usize, wanted: i64) -> Option<usize> {
        let (mut at, mut height) = (from, 0);
        // Where there is no node at this height there is no value behind.
        while *self.levels.get(height)?.get(at)? < wanted {
            at += 1;
            while at.is_multiple_of(2) && height + 1 < self.levels.len() {
                (at, height) = (at / 2, height + 1);
            }
        }
        while height > 0 {
            (at, height) = (at * 2, height - 1);
            at += usize::from(self.levels[height][at] < wanted);
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The tree finds what a plain search finds, from everywhere, however it came to be.
        #[test]
        fn as_a_plain_search(steps in prop::collection::vec((0i64..20, prop::option::weighted(0.1, 0usize..40)), 0..60)) {
            let (mut maxima, mut plain) = (Maxima::default(), Vec::new());
            for (value, cut) in steps {
                maxima.push(value);
                plain.push(value);
                if let Some(cut) = cut {
                    maxima.truncate(cut);
                    plain.truncate(cut);
                }
                prop_assert_eq!(maxima.len(), plain.len());
                prop_assert_eq!(maxima.greatest(), plain.iter().max().copied());
                for from in 0..=plain.len() + 1 {
                    for wanted in 0..=20 {
                        let expected = (from..plain.len()).find(|at| plain[*at] >= wanted);
                        prop_assert_eq!(maxima.first_since(from, wanted), expected);
                    }
                }
            }
        }
    }
}
