//! An ordered map whose copies share what they have in common: a publication that changes one topic of ten thousand copies a few hundred.
//!
//! Entries lie in order in pieces; a copy has the same pieces, and a change makes its own of the one it concerns.

use std::borrow::Borrow;
use std::sync::Arc;

/// A piece that grows past this is cut in two.
const PIECE_MAX: usize = 256;

pub struct SharedMap<K, V> {
    /// In order; none is empty.
    pieces: Vec<Arc<Vec<(K, V)>>>,
    length: usize,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self { pieces: Vec::new(), length: 0 }
    }
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self { pieces: self.pieces.clone(), length: self.length }
    }
}

impl<K, V> SharedMap<K, V> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// In order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.pieces.iter().flat_map(|piece| piece.iter()).map(|(key, value)| (key, value))
    }

    /// In order of the keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Those whose key is not below `key`, in order.
    pub fn iter_from<Q: Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = (&K, &V)>
    where
        K: Borrow<Q>,
    {
        let first = self.piece_of(key);
        let skipped = self
            .pieces
            .get(first)
            .map_or(0, |piece| piece.partition_point(|(known, _)| Borrow::<Q>::borrow(known) < key));
        let pieces = self.pieces.iter().skip(first);
        pieces.flat_map(|piece| piece.iter()).skip(skipped).map(|(key, value)| (key, value))
    }

    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let piece = self.pieces.get(self.piece_of(key))?;
        let place = piece.binary_search_by(|(known, _)| Borrow::<Q>::borrow(known).cmp(key)).ok()?;
        piece.get(place).map(|(_, value)| value)
    }

    /// The piece that has the key, or would.
    fn piece_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let begins_by =
            |piece: &Arc<Vec<(K, V)>>| piece.first().is_some_and(|(first, _)| Borrow::<Q>::borrow(first) <= key);
        self.pieces.partition_point(begins_by).saturating_sub(1)
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// Puts the value there, in the place of the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let at = self.piece_of(&key);
        let Some(piece) = self.pieces.get_mut(at) else {
            self.pieces.push(Arc::new(vec![(key, value)]));
            self.length += 1;
            return None;
        };
        let piece = Arc::make_mut(piece);
        match piece.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(place) => Some(std::mem::replace(&mut piece[place].1, value)),
            Err(place) => {
                piece.insert(place, (key, value));
                self.length += 1;
                if piece.len() > PIECE_MAX {
                    let second = piece.split_off(PIECE_MAX / 2);
                    self.pieces.insert(at + 1, Arc::new(second));
                }
                None
            }
        }
    }

    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let at = self.piece_of(key);
        let piece = self.pieces.get_mut(at)?;
        let place = piece.binary_search_by(|(known, _)| Borrow::<Q>::borrow(known).cmp(key)).ok()?;
        let piece = Arc::make_mut(piece);
        let (_, value) = piece.remove(place);
        self.length -= 1;
        if piece.is_empty() {
            self.pieces.remove(at);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The same numbers in each run, in no order.
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }
    }

    fn check(map: &SharedMap<u64, u64>, model: &BTreeMap<u64, u64>) {
        assert_eq!(map.len(), model.len());
        assert_eq!(map.is_empty(), model.is_empty());
        assert!(map.iter().eq(model.iter()));
        assert!(map.pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE_MAX));
    }

    /// Whatever is put in and taken out, in whatever order, the map says what an ordinary one does, and its copies stay as they were.
    #[test]
    fn like_an_ordinary_one() {
        let mut numbers = Numbers(7);
        let (mut map, mut model) = (SharedMap::default(), BTreeMap::new());
        let mut copies = Vec::new();
        for round in 0..30 {
            for step in 0..400 {
                let key = numbers.below(3_000);
                // It grows, shrinks, and grows again.
                if numbers.below(10) < if round / 10 == 1 { 2 } else { 8 } {
                    assert_eq!(map.insert(key, step), model.insert(key, step));
                } else {
                    assert_eq!(map.remove(&key), model.remove(&key));
                }
                assert_eq!(map.get(&key), model.get(&key));
                let from = numbers.below(3_100);
                assert!(map.iter_from(&from).take(3).eq(model.range(from..).take(3)));
            }
            check(&map, &model);
            copies.push((map.clone(), model.clone()));
        }
        copies.iter().for_each(|(map, model)| check(map, model));
        for key in 0..3_000 {
            assert_eq!(map.remove(&key), model.remove(&key));
        }
        check(&map, &model);
        assert!(map.pieces.is_empty());
    }

    /// A change of one entry leaves almost everything to both.
    #[test]
    fn copies_share() {
        let mut map = SharedMap::default();
        for key in 0..10_000 {
            map.insert(key, ());
        }
        let before = map.clone();
        map.insert(10_001, ());
        map.remove(&5_000);
        let shared = map.pieces.iter().filter(|piece| before.pieces.iter().any(|other| Arc::ptr_eq(piece, other)));
        assert_eq!(map.pieces.len() - shared.count(), 2);
    }
}
