//! What a file holds: what was synced, and what was done to it since.

use super::Fate;
use crate::random::Random;

/// What a disk writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// The live bytes are what a reader sees; the synced ones with some of the changes are what a power cut leaves.
#[derive(Clone, Debug, Default)]
pub struct Content {
    live: Vec<u8>,
    synced: Vec<u8>,
    changes: Vec<Change>,
}

impl Content {
    pub fn length(&self) -> usize {
        self.live.len()
    }

    pub fn read(&self, buffer: &mut [u8], at: usize) -> usize {
        let from = at.min(self.live.len());
        let until = at.saturating_add(buffer.len()).min(self.live.len());
        buffer[..until - from].copy_from_slice(&self.live[from..until]);
        until - from
    }

    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        self.change(Change::Write { at, bytes: bytes.to_vec() });
    }

    pub fn set_length(&mut self, length: usize) {
        if length != self.live.len() {
            self.change(Change::Length(length));
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.live, &change);
        self.changes.push(change);
    }

    pub fn sync(&mut self) {
        self.synced.clone_from(&self.live);
        self.changes.clear();
    }

    /// The power goes: the length as it was after some change, each sector as it was after some change, that one not before the
    /// length was cut below it (cutting and growing are journalled in order; data is not). A sector the disk never got is zeroes.
    pub fn cut(&mut self, fate: Fate, random: &mut Random) {
        if !self.changes.is_empty() {
            self.live = self.survivor(fate.or(random), random);
        }
        self.sync();
    }

    fn survivor(&self, fate: Fate, random: &mut Random) -> Vec<u8> {
        let mut versions = vec![self.synced.clone()];
        for change in &self.changes {
            let mut next = versions[versions.len() - 1].clone();
            apply(&mut next, change);
            versions.push(next);
        }
        let last = versions.len() - 1;
        let pick = |random: &mut Random, first: usize| match fate {
            Fate::Nothing => first,
            Fate::Everything => last,
            Fate::Chance => first + random.below(last - first + 1),
        };
        let length_version = pick(random, 0);
        let length = versions[length_version].len();
        let mut bytes = vec![0; length];
        for start in (0..length).step_by(SECTOR_BYTES) {
            let end = (start + SECTOR_BYTES).min(length);
            let cut_last = (1..=length_version).rev().find(|version| {
                versions[*version].len() < versions[version - 1].len() && versions[*version].len() < end
            });
            let version = &versions[pick(random, cut_last.unwrap_or(0))];
            let there = version.get(start..end.min(version.len())).unwrap_or_default();
            bytes[start..start + there.len()].copy_from_slice(there);
        }
        bytes
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => bytes.resize(*length, 0),
        Change::Write { at, bytes: written } => {
            let end = at + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at..end].copy_from_slice(written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(content: &Content) -> Vec<Vec<u8>> {
        let mut found: Vec<Vec<u8>> = (0..2000)
            .map(|seed| {
                let mut copy = content.clone();
                copy.cut(Fate::Chance, &mut Random::new(seed));
                copy.live
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }

    /// What was synced stays; what was not may be there, may not, and may be a length with zeroes behind it.
    #[test]
    fn unsynced_bytes() {
        let mut content = Content::default();
        content.write(0, b"synced");
        content.sync();
        assert_eq!(outcomes(&content), [b"synced"]);
        content.write(6, b"+");
        assert_eq!(outcomes(&content), [b"synced".to_vec(), b"synced\0".to_vec(), b"synced+".to_vec()]);
    }

    /// A write over several sectors may be torn between any two of them.
    #[test]
    fn torn_writes() {
        let mut content = Content::default();
        content.write(0, &[1; 3 * SECTOR_BYTES]);
        content.sync();
        content.write(0, &[2; 3 * SECTOR_BYTES]);
        let torn: Vec<Vec<u8>> = outcomes(&content);
        assert_eq!(torn.len(), 8, "each sector is the old or the new one");
        assert!(
            torn.iter().all(|bytes| bytes.chunks(SECTOR_BYTES).all(|sector| sector.iter().all(|b| *b == sector[0])))
        );
    }

    /// Bytes that were cut off do not come back under what was written in their place.
    #[test]
    fn cut_and_written_again() {
        let mut content = Content::default();
        content.write(0, &[1; 1024]);
        content.sync();
        content.set_length(0);
        content.write(0, &[2; 512]);
        let found = outcomes(&content);
        assert!(found.contains(&vec![1; 1024]) && found.contains(&vec![]), "nothing of it, or the cut alone");
        assert!(found.contains(&vec![0; 512]) && found.contains(&vec![2; 512]));
        assert!(!found.contains(&vec![1; 512]), "the new length over the old bytes");
    }
}
