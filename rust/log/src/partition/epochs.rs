//! Which leader epoch begins where, as OffsetForLeaderEpoch and truncation need it. Kept in `leader-epoch-checkpoint`; rebuilt from the
//! batches that recovery scans.
//!
//! Epochs grow strictly, starts do not go back. The newest epoch may begin at the log end: a leader that has not written yet.

use super::EpochEnd;
use crate::Offset;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<(i32, Offset)>,
}

impl Epochs {
    pub fn new(entries: Vec<(i32, Offset)>) -> Epochs {
        Epochs { entries }
    }

    pub fn entries(&self) -> &[(i32, Offset)] {
        &self.entries
    }

    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    pub fn is_news(&self, epoch: i32) -> bool {
        epoch >= 0 && self.latest().is_none_or(|latest| epoch > latest)
    }

    /// An epoch begins at `start`; true when that was news. An epoch that wrote nothing gives way to one beginning at the same offset,
    /// as in Kafka (`LeaderEpochFileCache.truncateFromEnd` on conflict).
    pub fn assign(&mut self, epoch: i32, start: Offset) -> bool {
        if !self.is_news(epoch) {
            return false;
        }
        while self.entries.last().is_some_and(|(_, last_start)| *last_start >= start) {
            self.entries.pop();
        }
        self.entries.push((epoch, start));
        true
    }

    /// What OffsetForLeaderEpoch answers: where the greatest epoch not above `epoch` ends.
    pub fn end_of(&self, epoch: i32, log_end: Offset) -> EpochEnd {
        let unknown = EpochEnd { epoch: -1, end_offset: -1 };
        let Some(latest) = self.latest() else { return unknown };
        if epoch < 0 || epoch > latest {
            return unknown;
        }
        if epoch == latest {
            return EpochEnd { epoch, end_offset: log_end };
        }
        // One above exists, since `epoch < latest`.
        let above = self.entries.partition_point(|(known, _)| *known <= epoch);
        let end_offset = self.entries[above].1;
        match above {
            // Below everything known: the question is about records that are gone (KIP-320).
            0 => EpochEnd { epoch, end_offset },
            above => EpochEnd { epoch: self.entries[above - 1].0, end_offset },
        }
    }

    /// The epoch of the record at `offset`.
    pub fn at(&self, offset: Offset) -> Option<i32> {
        let above = self.entries.partition_point(|(_, start)| *start <= offset);
        above.checked_sub(1).map(|index| self.entries[index].0)
    }

    /// The log now ends at `log_end`; true when entries went.
    pub fn truncate_end(&mut self, log_end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < log_end);
        self.entries.len() != before
    }

    /// The log now starts at `log_start`; the epoch in force there begins there.
    pub fn truncate_start(&mut self, log_start: Offset) -> bool {
        let below = self.entries.partition_point(|(_, start)| *start <= log_start);
        let Some(current) = below.checked_sub(1) else { return false };
        if current == 0 && self.entries[0].1 == log_start {
            return false;
        }
        self.entries.drain(..current);
        self.entries[0].1 = log_start;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs() -> Epochs {
        Epochs::new(vec![(1, 0), (3, 10), (7, 25)])
    }

    /// The table of answers KIP-279 and KIP-320 describe.
    #[test]
    fn end_of_an_epoch() {
        let end = |epoch| {
            let end = epochs().end_of(epoch, 40);
            (end.epoch, end.end_offset)
        };
        assert_eq!(end(-1), (-1, -1));
        assert_eq!(end(0), (0, 0));
        assert_eq!(end(1), (1, 10));
        assert_eq!(end(2), (1, 10));
        assert_eq!(end(3), (3, 25));
        assert_eq!(end(6), (3, 25));
        assert_eq!(end(7), (7, 40));
        assert_eq!(end(8), (-1, -1));
        assert_eq!(Epochs::default().end_of(0, 5), EpochEnd { epoch: -1, end_offset: -1 });
    }

    /// Epochs only grow; one that wrote nothing is replaced.
    #[test]
    fn assign() {
        let mut epochs = epochs();
        assert!(!epochs.assign(7, 30));
        assert!(!epochs.assign(2, 30));
        assert!(epochs.assign(8, 40));
        assert!(epochs.assign(9, 40));
        assert_eq!(epochs.entries(), [(1, 0), (3, 10), (7, 25), (9, 40)]);
    }

    /// Cutting either end keeps the epoch of every record left.
    #[test]
    fn truncate() {
        let mut cut = epochs();
        assert!(cut.truncate_end(25));
        assert_eq!(cut.entries(), [(1, 0), (3, 10)]);
        let mut cut = epochs();
        assert!(cut.truncate_start(12));
        assert_eq!(cut.entries(), [(3, 12), (7, 25)]);
        assert_eq!((cut.at(11), cut.at(12), cut.at(30)), (None, Some(3), Some(7)));
    }
}
