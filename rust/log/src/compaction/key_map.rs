//! Key -> offset of its last record, in a fixed amount of memory: the keys' hashes stand for them.
//!
//! 128 bits of SipHash under a key that nobody outside knows: that two keys meet is out of the question by chance and cannot be
//! brought about by whoever chooses the keys (Kafka uses MD5). Open addressing, 24 bytes a slot; memory that no key reached is not
//! taken from the machine.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::hash::Hasher;

use crate::Offset;

const SLOT_BYTES: u64 = 24;

pub struct KeyMap {
    /// Both halves of the hash, and the offset plus one; 0: empty.
    slots: Vec<[u64; 3]>,
    used: usize,
    /// No more keys than this, so that probes stay short.
    keys_max: usize,
    hash_key: [u8; 16],
    latest: Offset,
}

impl std::fmt::Debug for KeyMap {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "KeyMap({} of {} keys, up to offset {})", self.used, self.keys_max, self.latest)
    }
}

impl KeyMap {
    /// `load_factor` is the share of slots that may be used (`log.cleaner.io.buffer.load.factor`). No more memory than `keys_expected`
    /// need; always room for one key, or a pass would never get on.
    pub fn new(bytes_max: u64, load_factor: f64, keys_expected: u64, hash_key: [u8; 16]) -> KeyMap {
        let load_factor = load_factor.clamp(0.1, 0.95);
        let wanted = ((keys_expected as f64 / load_factor) as u64).saturating_add(2);
        let slots = (bytes_max / SLOT_BYTES).min(wanted).max(2) as usize;
        let keys_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        KeyMap { slots: vec![[0; 3]; slots], used: 0, keys_max, hash_key, latest: -1 }
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let mut hasher = SipHasher13::new_with_key(&self.hash_key);
        hasher.write(key);
        let hash = hasher.finish128();
        (hash.h1, hash.h2)
    }

    /// The slot of this hash, or the empty one where it would go.
    fn slot(&self, (first, second): (u64, u64)) -> usize {
        let count = self.slots.len();
        let mut at = ((u128::from(first) * count as u128) >> 64) as usize;
        loop {
            let [a, b, offset] = self.slots[at];
            // One slot at least is empty: this ends.
            if offset == 0 || (a, b) == (first, second) {
                return at;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
    }

    /// Enters a record of `key`; false when the map is full and does not know the key.
    pub fn insert(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.slot(hash);
        if self.slots[at][2] == 0 {
            if self.used >= self.keys_max {
                return false;
            }
            self.used += 1;
        }
        self.slots[at] = [hash.0, hash.1, offset as u64 + 1];
        self.reached(offset);
        true
    }

    /// The last offset of `key` among the records entered.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let offset = self.slots[self.slot(self.hash(key))][2];
        offset.checked_sub(1).map(|offset| offset as Offset)
    }

    /// Everything up to `offset` has been looked at.
    pub fn reached(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    /// Up to where the map speaks; -1: nowhere.
    pub fn latest(&self) -> Offset {
        self.latest
    }

    pub fn len(&self) -> usize {
        self.used
    }

    pub fn is_empty(&self) -> bool {
        self.used == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The map answers as an unbounded one until it is full, and a full one still updates what it knows.
        #[test]
        fn against_a_map(keys in proptest::collection::vec(0u16..80, 0..300), bytes_max in 48u64..4000) {
            let mut map = KeyMap::new(bytes_max, 0.9, 1000, [5; 16]);
            let mut model: HashMap<u16, i64> = HashMap::new();
            for (offset, key) in keys.iter().enumerate() {
                let offset = offset as i64;
                let known = model.contains_key(key);
                if map.insert(&key.to_be_bytes(), offset) {
                    model.insert(*key, offset);
                    prop_assert_eq!(map.latest(), offset);
                } else {
                    prop_assert!(!known);
                    prop_assert_eq!(map.len(), map.keys_max);
                }
            }
            for key in 0u16..80 {
                prop_assert_eq!(map.get(&key.to_be_bytes()), model.get(&key).copied());
            }
            prop_assert_eq!(map.len(), model.len());
        }
    }

    /// The buffer bounds the slots; few records take little; the smallest buffer still holds one key.
    #[test]
    fn memory() {
        assert_eq!(KeyMap::new(24_000, 0.9, u64::MAX, [0; 16]).slots.len(), 1000);
        assert_eq!(KeyMap::new(24_000, 0.9, u64::MAX, [0; 16]).keys_max, 900);
        assert!(KeyMap::new(128 << 20, 0.9, 10, [0; 16]).slots.len() < 20);
        let mut least = KeyMap::new(0, 0.9, 10, [0; 16]);
        assert!(least.insert(b"a", 0) && least.insert(b"a", 1) && !least.insert(b"b", 2));
        assert_eq!((least.get(b"a"), least.get(b"b"), least.latest()), (Some(1), None, 1));
    }

    /// The empty key is a key.
    #[test]
    fn empty_key() {
        let mut map = KeyMap::new(1 << 20, 0.9, 10, [1; 16]);
        assert_eq!(map.get(b""), None);
        map.insert(b"", 0);
        assert_eq!(map.get(b""), Some(0));
    }
}
