//! What is known of the cursors of one log: those that are on the disk, and those whose records are not yet.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::{Cursor, CursorError, FILE_BYTES_MAX};
use crate::Offset;

/// `cursor: <topic id> <name> <position>`, with the longest position there is.
const LINE_BYTES: usize = 8 + 22 + 1 + 1 + 19 + 1;
/// The other lines of the file.
const FRAME_BYTES: usize = 128;

/// One that came with a record.
#[derive(Debug)]
struct Pending {
    at: Offset,
    name: Arc<str>,
    position: Offset,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// From records that are on the disk, and from commits.
    settled: BTreeMap<String, Offset>,
    /// In the order of their records.
    pending: VecDeque<Pending>,
    /// The last of those, by name.
    latest: HashMap<Arc<str>, Cursor>,
    /// What the lines of all of them take in the file, at most.
    line_bytes: usize,
    /// The file is older than `settled`.
    pub moved: bool,
    /// Up to where the file says that the log was looked through.
    pub noted: Offset,
    /// Those of other topics in the directory, as they stand in the file.
    pub others: Vec<String>,
}

impl Known {
    /// What the file says.
    pub fn of_file(settled: BTreeMap<String, Offset>, others: Vec<String>) -> Known {
        let mut known = Known { settled, others, ..Known::default() };
        known.recount();
        known
    }

    pub fn settled(&self) -> &BTreeMap<String, Offset> {
        &self.settled
    }

    /// How many moves wait for a sync.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The record of the first of them.
    pub fn first_pending(&self) -> Option<Offset> {
        self.pending.front().map(|pending| pending.at)
    }

    pub fn get(&self, name: &str) -> Option<Cursor> {
        let settled = || self.settled.get(name).map(|position| Cursor { position: *position, pending_at: None });
        self.latest.get(name).copied().or_else(settled)
    }

    pub fn list(&self) -> Vec<(String, Offset)> {
        let mut cursors = self.settled.clone();
        cursors.extend(self.latest.iter().map(|(name, cursor)| (name.to_string(), cursor.position)));
        cursors.into_iter().collect()
    }

    /// # Errors
    /// With these the file would be too long.
    pub fn check_room(&self, cursors: &[(String, Offset)]) -> Result<(), CursorError> {
        let is_new = |name: &str| !self.latest.contains_key(name) && !self.settled.contains_key(name);
        let more: usize =
            cursors.iter().filter(|(name, _)| is_new(name)).map(|(name, _)| LINE_BYTES + name.len()).sum();
        if more > 0 && FRAME_BYTES + self.line_bytes + more > FILE_BYTES_MAX {
            return Err(CursorError::TooMany);
        }
        Ok(())
    }

    /// These came with the record at `at`.
    pub fn push(&mut self, at: Offset, cursors: &[(String, Offset)]) {
        for (name, position) in cursors {
            let known = self.latest.get_key_value(name.as_str()).map(|(name, _)| name.clone());
            if known.is_none() && !self.settled.contains_key(name) {
                self.line_bytes += LINE_BYTES + name.len();
            }
            let (name, position) = (known.unwrap_or_else(|| name.as_str().into()), *position);
            self.latest.insert(name.clone(), Cursor { position, pending_at: Some(at) });
            self.pending.push_back(Pending { at, name, position });
        }
    }

    /// What lies below `durable` is settled.
    pub fn settle(&mut self, durable: Offset) {
        while let Some(Pending { at, name, position }) = self.pending.pop_front_if(|pending| pending.at < durable) {
            self.moved = true;
            if self.latest.get(&name).is_some_and(|latest| latest.pending_at == Some(at)) {
                self.latest.remove(&name);
            }
            match self.settled.get_mut(&*name) {
                Some(known) => *known = position,
                None => _ = self.settled.insert(name.to_string(), position),
            }
        }
    }

    /// One that a record on the disk names.
    pub fn found(&mut self, name: String, position: Offset) {
        self.settled.insert(name, position);
        self.moved = true;
    }

    pub fn change(&mut self, change: impl FnOnce(&mut BTreeMap<String, Offset>)) {
        change(&mut self.settled);
        self.recount();
    }

    /// After anything but a push.
    pub fn recount(&mut self) {
        let of = |name: &str| LINE_BYTES + name.len();
        let settled: usize = self.settled.keys().map(|name| of(name)).sum();
        let new = self.latest.keys().filter(|name| !self.settled.contains_key(&***name));
        let others: usize = self.others.iter().map(|line| line.len() + 1).sum();
        self.line_bytes = settled + new.map(|name| of(name)).sum::<usize>() + others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(name: &str, position: Offset) -> Vec<(String, Offset)> {
        vec![(name.to_owned(), position)]
    }

    /// Of a cursor the last move counts, whether its record is on the disk or not, and what is on the disk waits no more.
    #[test]
    fn moves_settle_in_order() {
        let mut known = Known::default();
        for at in 0..100_000 {
            known.settle(at - 1);
            known.push(at, &moves("c", at + 1));
            assert!(known.pending() <= 2);
        }
        known.push(100_000, &moves("other", 7));
        assert_eq!(known.get("c"), Some(Cursor { position: 100_000, pending_at: Some(99_999) }));
        assert_eq!(known.get("other"), Some(Cursor { position: 7, pending_at: Some(100_000) }));
        assert_eq!(known.list(), vec![("c".to_owned(), 100_000), ("other".to_owned(), 7)]);
        known.settle(99_999);
        assert_eq!(known.settled(), &BTreeMap::from([("c".to_owned(), 99_999)]));
        assert_eq!(known.get("c"), Some(Cursor { position: 100_000, pending_at: Some(99_999) }));
        known.settle(100_001);
        assert_eq!((known.pending(), known.latest.len()), (0, 0));
        assert_eq!(known.get("other"), Some(Cursor { position: 7, pending_at: None }));
    }

    /// The lines that are reckoned with are the longest there may be, and each name has one.
    #[test]
    fn room_is_reckoned_with() {
        let mut known = Known::of_file(BTreeMap::from([("a".to_owned(), 1)]), vec!["cursor: x y 3".to_owned()]);
        let before = known.line_bytes;
        assert_eq!(before, LINE_BYTES + 1 + 14);
        for at in 0..10 {
            known.push(at, &moves("a", i64::MAX));
            known.push(at, &moves("long", i64::MAX));
        }
        let after = before + LINE_BYTES + 4;
        assert_eq!(known.line_bytes, after);
        known.recount();
        assert_eq!(known.line_bytes, after);
        known.settle(10);
        known.recount();
        assert_eq!(known.line_bytes, after);
        known.change(|settled| _ = settled.remove("long"));
        assert_eq!(known.line_bytes, before);

        known.line_bytes = FILE_BYTES_MAX - FRAME_BYTES - LINE_BYTES - 3;
        assert!(known.check_room(&moves("a", 2)).is_ok() && known.check_room(&moves("new", 2)).is_ok());
        assert!(matches!(known.check_room(&moves("more", 2)), Err(CursorError::TooMany)));
    }
}
