//! Which partition a commit thread takes up next: what somebody waits for first, but the rest in the end.

use std::collections::VecDeque;

/// So many who are waited for go first; on a disk that never rests the others would never have their turn, and what they hold in
/// memory would make appenders wait.
const FIRST_MAX: u32 = 32;

/// What one data directory has to commit.
#[derive(Debug)]
pub(super) struct Turns<T> {
    waited_for: VecDeque<T>,
    /// These are written out first, one at a time.
    unhurried: VecDeque<T>,
    is_writing_out: bool,
    went_first: u32,
    pub stopping: bool,
}

/// What a thread takes up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<T> {
    Commit(T),
    /// And then commit, see [`Turns::written_out`].
    WriteOut(T),
}

impl<T> Default for Turns<T> {
    fn default() -> Turns<T> {
        Turns {
            waited_for: VecDeque::new(),
            unhurried: VecDeque::new(),
            is_writing_out: false,
            went_first: 0,
            stopping: false,
        }
    }
}

impl<T> Turns<T> {
    pub fn commit(&mut self, whose: T) {
        self.waited_for.push_back(whose);
    }

    pub fn write_out(&mut self, whose: T) {
        self.unhurried.push_back(whose);
    }

    /// What was written out is to be committed, and the next may be written out.
    pub fn written_out(&mut self, whose: T) {
        self.is_writing_out = false;
        self.waited_for.push_back(whose);
    }

    /// None: there is nothing to do now; at a stop: nor ever again.
    pub fn next(&mut self) -> Option<Turn<T>> {
        let may_write_out = !self.is_writing_out && !self.stopping && !self.unhurried.is_empty();
        if !(may_write_out && self.went_first >= FIRST_MAX)
            && let Some(whose) = self.waited_for.pop_front()
        {
            self.went_first += u32::from(may_write_out);
            return Some(Turn::Commit(whose));
        }
        if self.stopping {
            return self.unhurried.pop_front().map(Turn::Commit);
        }
        if self.is_writing_out {
            return None;
        }
        let whose = self.unhurried.pop_front()?;
        (self.is_writing_out, self.went_first) = (true, 0);
        Some(Turn::WriteOut(whose))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is waited for goes first; one of the others at a time, and at a stop they are committed at once.
    #[test]
    fn in_order() {
        let mut turns = Turns::default();
        turns.write_out("a");
        turns.write_out("b");
        turns.commit("c");
        assert_eq!(turns.next(), Some(Turn::Commit("c")));
        assert_eq!(turns.next(), Some(Turn::WriteOut("a")));
        assert_eq!(turns.next(), None, "a second one at the same time");
        turns.commit("d");
        assert_eq!(turns.next(), Some(Turn::Commit("d")));
        turns.written_out("a");
        assert_eq!([turns.next(), turns.next()], [Some(Turn::Commit("a")), Some(Turn::WriteOut("b"))]);
        turns.write_out("e");
        turns.stopping = true;
        assert_eq!([turns.next(), turns.next()], [Some(Turn::Commit("e")), None]);
    }

    /// A disk on which somebody always waits comes to the others too.
    #[test]
    fn nobody_is_passed_over_for_ever() {
        let mut turns = Turns::default();
        turns.write_out("patient");
        let before = (0..1000).take_while(|_| {
            turns.commit("hurried");
            turns.next() == Some(Turn::Commit("hurried"))
        });
        assert_eq!(before.count(), FIRST_MAX as usize);
        turns.commit("hurried");
        turns.write_out("next");
        // While one is written out, that is not counted.
        for _ in 0..=FIRST_MAX {
            turns.commit("hurried");
            assert_eq!(turns.next(), Some(Turn::Commit("hurried")));
        }
    }
}
