//! Passes of compaction.

use super::*;
use ottla_log::compaction::Unhurried;
use ottla_log::env::Clock;
use ottla_log::partition::MapSize;

use crate::model::compaction::Pass;

impl World {
    pub(super) fn compact(&mut self, name: &str) -> Step<()> {
        let Some(topic) = self.topics.get(name).filter(|topic| topic.config.cleanup_policy.compact) else {
            return Ok(());
        };
        let delete_retention_ms = topic.config.delete_retention_ms;
        let partition = self.partition(name);
        // An open transaction bounds a pass.
        for producer in self.model(name).transactions().0.into_keys() {
            if !self.random.one_in(4) {
                self.end_transaction_of(name, producer)?;
            }
        }
        if !self.random.one_in(4) {
            self.plain(name, "roll", |partition| partition.roll())?;
        }
        let plan = self.unless_cut(partition.compaction_plan(), "planning a compaction")?;
        let until = plan.map_or(0, |plan| plan.until);
        let whole = Pass { cleaned: until, until, now_ms: self.clock.now_ms(), delete_retention_ms };
        let keys = [1, 2, 4, 1000][self.random.below(4)];
        let map = MapSize { bytes_max: 24 * (keys + 2), load_factor: 0.9, hash_key: [1; 16] };
        if self.random.flip() {
            let operations = self.random.below(50) as u64;
            self.disk.cut_after(Some(operations));
        }
        self.note(format!("compact {name} up to {until}, {keys} keys at once: {plan:?}"));
        let committed = partition.offsets().high_watermark;
        if until > 0 {
            self.model(name).compacted_by = committed;
        }
        let before = self.model(name).clone();
        self.model(name).begin_compaction(&whole);
        let result = partition.compact(map, &mut Unhurried);
        if result.is_err() && !self.disk.is_on() {
            self.outcome.cuts_in_compaction += 1;
        }
        self.note_durable(name);
        let done = self.unless_cut(result, "compaction")?;
        // It got to its end, or had nothing to do.
        let durable = self.model(name).durable;
        *self.model(name) = before;
        self.model(name).durable = durable;
        if let Some(done) = done {
            self.outcome.compactions += 1;
            self.note(format!("clean up to {}: {:?}", done.cleaned, done.stats));
            self.model(name).end_compaction(&Pass { cleaned: done.cleaned, ..whole });
        }
        if self.disk.is_on() { self.check_all(name) } else { Ok(()) }
    }
}
