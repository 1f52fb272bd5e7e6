//! Transactions whose first batch was seen coming and whose coordinators are being asked, by producer. Kafka's `VerificationStateEntry`.
//!
//! One ends with the batch it lets in, with the marker that makes it void, or with its producer's expiration. Anybody can have one begun
//! for a producer nobody knows, and write nothing: so they are bounded, and the oldest gives way. Its batch, if it comes after all, is
//! refused like one that comes behind a marker.

use std::collections::{BTreeMap, HashMap};

use super::VerificationGuard;

/// More transactions than begin in a partition while coordinators think.
pub const VERIFICATIONS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug)]
pub struct Verification {
    pub guard: VerificationGuard,
    pub epoch: i16,
    pub lowest_sequence: i32,
    /// Its epoch is bumped with every transaction (KIP-890, transaction version 2): a transaction begins with sequence 0.
    pub bumps_epoch: bool,
    pub started_ms: i64,
}

#[derive(Clone, Debug, Default)]
pub struct Verifications {
    by_producer: HashMap<i64, Verification>,
    /// Guard -> producer, oldest first.
    begun: BTreeMap<u64, i64>,
    next_guard: u64,
}

impl Verifications {
    pub fn get(&self, producer_id: i64) -> Option<&Verification> {
        self.by_producer.get(&producer_id)
    }

    /// Begins one, or goes on with that of the same epoch. A zombie's coordinator will refuse it, and what its successor has under way stays.
    pub fn start(
        &mut self,
        producer_id: i64,
        epoch: i16,
        first_sequence: i32,
        bumps_epoch: bool,
        now_ms: i64,
    ) -> VerificationGuard {
        if let Some(verification) = self.by_producer.get_mut(&producer_id).filter(|current| current.epoch >= epoch) {
            if verification.epoch == epoch {
                verification.lowest_sequence = verification.lowest_sequence.min(first_sequence);
            }
            return verification.guard;
        }
        self.remove(producer_id);
        if self.by_producer.len() >= VERIFICATIONS_MAX
            && let Some((_, oldest)) = self.begun.pop_first()
        {
            self.by_producer.remove(&oldest);
        }
        self.next_guard += 1;
        let guard = VerificationGuard(self.next_guard);
        self.begun.insert(self.next_guard, producer_id);
        self.by_producer.insert(
            producer_id,
            Verification { guard, epoch, lowest_sequence: first_sequence, bumps_epoch, started_ms: now_ms },
        );
        guard
    }

    pub fn remove(&mut self, producer_id: i64) {
        if let Some(verification) = self.by_producer.remove(&producer_id) {
            self.begun.remove(&verification.guard.0);
        }
    }

    /// Forgets those nobody finished for `expiration_ms`.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.by_producer.retain(|_, verification| {
            let stays = now_ms.saturating_sub(verification.started_ms) < expiration_ms;
            if !stays {
                self.begun.remove(&verification.guard.0);
            }
            stays
        });
    }

    /// Forgets all; no guard is given again.
    pub fn clear(&mut self) {
        *self = Verifications { next_guard: self.next_guard, ..Verifications::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever begins them and comes no more, or ends them in whatever way: no more are kept than allowed, the newest ones.
    #[test]
    fn bounded() {
        let mut verifications = Verifications::default();
        let begin = |verifications: &mut Verifications, id: i64, epoch| verifications.start(id, epoch, 0, true, id);
        let held = |verifications: &Verifications| (verifications.by_producer.len(), verifications.begun.len());
        let most = VERIFICATIONS_MAX as i64;
        for id in 0..most {
            begin(&mut verifications, id, 0);
        }
        for id in [0, 1] {
            begin(&mut verifications, id, 1);
        }
        assert_eq!(held(&verifications), (VERIFICATIONS_MAX, VERIFICATIONS_MAX));
        begin(&mut verifications, most, 0);
        assert_eq!(held(&verifications), (VERIFICATIONS_MAX, VERIFICATIONS_MAX));
        let kept = [0, 1, 2, 3, most].map(|id| verifications.get(id).is_some());
        assert_eq!(kept, [true, true, false, true, true], "0 and 1 began again after 2");
        (0..most / 2).for_each(|id| verifications.remove(id));
        verifications.expire(most + 10, 11);
        assert_eq!(held(&verifications), (1, 1));
        let guard = begin(&mut verifications, most, 0);
        verifications.clear();
        assert_eq!(held(&verifications), (0, 0));
        assert_ne!(begin(&mut verifications, most, 0), guard);
    }
}
