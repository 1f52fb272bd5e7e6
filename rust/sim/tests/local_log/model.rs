//! What a log must hold, said plainly.

use std::collections::{BTreeMap, BTreeSet};

use ottla_log::Durability;

use crate::bench::{Line, Seen};
use crate::history::Step;

type Cursors = BTreeMap<String, i64>;

/// A log end, and the cursors that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub end: usize,
    pub cursors: Cursors,
}

#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The place of each is its offset.
    records: Vec<Line>,
    /// Those that compaction may have taken, for later ones that may be cut by now.
    passed: BTreeSet<i64>,
    /// Where batches end.
    ends: Vec<usize>,
    /// What lies below is on the disk.
    floor: usize,
    start: usize,
    settled: Cursors,
    /// Those of batches that may not be on the disk, each with where its batch ends.
    pending: Vec<(usize, String, i64)>,
    /// So many records were appended ever.
    count: usize,
}

impl Model {
    pub fn new() -> Model {
        Model { ends: vec![0], ..Model::default() }
    }

    pub fn end(&self) -> usize {
        self.records.len().max(self.start)
    }

    /// The records of the next append. Few keys, and values that never come again.
    pub fn next(&self, step: Step) -> Vec<Line> {
        let Step::Append(count, _) = step else { return Vec::new() };
        let record = |index: usize| {
            let (offset, number) = (self.end() + index, self.count + index);
            let (key, value) = (vec![b'0' + (offset % 5) as u8], format!("value {number}").into_bytes());
            Line { offset: offset as i64, key, value }
        };
        (0..count).map(record).collect()
    }

    fn settle(&mut self) {
        self.settled.extend(self.pending.drain(..).map(|(_, name, position)| (name, position)));
        self.floor = self.end();
    }

    /// The step was acknowledged.
    pub fn after(&self, step: Step, durability: Durability) -> Model {
        let mut model = self.clone();
        match step {
            Step::Append(count, cursors) => {
                // Deleted over its end by a cut.
                let records = self.next(step);
                let gap = model.end() - model.records.len();
                model.records.extend(vec![Line { offset: -1, key: Vec::new(), value: Vec::new() }; gap]);
                model.records.extend(records);
                model.count += count;
                let end = model.end();
                model.ends.push(end);
                model.pending.extend(cursors.iter().map(|(name, position)| (end, (*name).to_owned(), *position)));
                if durability == Durability::Fsync {
                    model.settle();
                }
            }
            Step::Sync | Step::Compact => {
                model.settle();
                if matches!(step, Step::Compact) {
                    model.pass();
                }
            }
            Step::Checkpoint => {}
            Step::Commit(cursors) => {
                model.settle();
                model.settled.extend(cursors.iter().map(|(name, position)| ((*name).to_owned(), *position)));
            }
            Step::Forget(name) => {
                model.settle();
                model.settled.remove(name);
            }
            Step::Delete(offset) => {
                if !model.pending.is_empty() {
                    model.settle();
                }
                model.start = offset as usize;
            }
            Step::Truncate(offset) => {
                model.settle();
                model.cut(offset as usize);
            }
        }
        model
    }

    fn pass(&mut self) {
        for (index, record) in self.records.iter().enumerate() {
            if self.records[index + 1..].iter().any(|later| later.key == record.key) {
                self.passed.insert(record.offset);
            }
        }
    }

    fn cut(&mut self, end: usize) {
        self.records.truncate(end);
        self.passed.split_off(&(end as i64));
        self.ends.retain(|other| *other < end);
        self.ends.push(end);
        self.floor = self.floor.min(end);
    }

    /// What a power cut may leave.
    fn states(&self) -> Vec<State> {
        let ends = self.ends.iter().filter(|end| **end >= self.floor);
        let state = |end: &usize| {
            let mut cursors = self.settled.clone();
            let kept = self.pending.iter().filter(|(at, ..)| at <= end);
            cursors.extend(kept.map(|(_, name, position)| (name.clone(), *position)));
            State { end: (*end).max(self.start), cursors }
        };
        ends.map(state).collect()
    }

    /// Where compaction may have left nothing right before it, a log that is cut at `end` may end as low as here.
    fn lowest_cut(&self, end: usize) -> usize {
        let passed = (self.start..end).rev().take_while(|offset| self.passed.contains(&(*offset as i64)));
        end - passed.count()
    }

    /// The log was cut, and ends there.
    pub fn fit(&mut self, end: i64) {
        let end = end as usize;
        if end < self.end() && end >= self.lowest_cut(self.end()) {
            self.cut(end);
        }
    }

    /// Before it, after it, and on the way.
    fn states_within(&self, step: Option<(Step, Durability)>) -> Vec<State> {
        let mut states = self.states();
        if let Some((step, durability)) = step {
            states.extend(self.after(step, durability).states());
            if let Step::Truncate(offset) = step {
                // Segments go one by one, and cursors are brought to safety first.
                let mut settled = self.clone();
                settled.settle();
                let on_the_way = self.ends.iter().filter(|end| **end >= offset as usize);
                let in_a_gap = self.lowest_cut(offset as usize)..offset as usize;
                let state = |end| State { end, cursors: settled.settled.clone() };
                states.extend(on_the_way.copied().chain(in_a_gap).map(state));
            }
        }
        states
    }

    /// What is wrong with what was found after a cut in the middle of `step`.
    pub fn check(&self, seen: &Seen, step: Option<(Step, Durability)>) -> Result<(), String> {
        let found = State { end: seen.end as usize, cursors: seen.cursors.clone() };
        let after = step.map_or_else(|| self.clone(), |(step, durability)| self.after(step, durability));
        let states = self.states_within(step);
        if !states.contains(&found) {
            return Err(format!("{found:?}, none of {states:?}"));
        }
        let start = seen.start as usize;
        if start != self.start && start != after.start {
            return Err(format!("it starts at {start}, neither at {} nor at {}", self.start, after.start));
        }
        let longer = if after.records.len() > self.records.len() { &after } else { self };
        longer.check_lines(&seen.lines, start, found.end, &self.passed.union(&after.passed).copied().collect())
    }

    /// Each record as it was appended, and none missing between the two but those that were passed.
    fn check_lines(&self, lines: &[Line], start: usize, end: usize, passed: &BTreeSet<i64>) -> Result<(), String> {
        for pair in lines.windows(2) {
            if pair[0].offset >= pair[1].offset {
                return Err(format!("{pair:?} in this order"));
            }
        }
        for line in lines {
            if !(start..end).contains(&(line.offset as usize)) || self.records.get(line.offset as usize) != Some(line) {
                return Err(format!("{line:?} was not appended there, or lies outside of {start}..{end}"));
            }
        }
        for record in self.records.iter().take(end).skip(start) {
            let is_there = lines.iter().any(|line| line.offset == record.offset);
            if !is_there && !passed.contains(&record.offset) && record.offset >= 0 {
                return Err(format!("{record:?} is missing of {start}..{end}"));
            }
        }
        Ok(())
    }

    /// Before, or by a step that was cut.
    pub fn was_appended(&self, line: &Line, step: Option<(Step, Durability)>) -> bool {
        let holds = |model: &Model| model.records.get(line.offset as usize) == Some(line);
        holds(self) || step.is_some_and(|(step, durability)| holds(&self.after(step, durability)))
    }

    /// Goes on from what was found: that is on the disk.
    pub fn adopt(&mut self, seen: &Seen, step: Option<(Step, Durability)>) {
        if let Some((step @ (Step::Append(..) | Step::Compact), durability)) = step {
            *self = self.after(step, durability);
        }
        self.pending.clear();
        self.start = seen.start as usize;
        self.cut((seen.end as usize).min(self.records.len()));
        self.settled.clone_from(&seen.cursors);
        self.floor = self.end();
    }
}
