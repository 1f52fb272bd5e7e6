//! What is asked of a log, in which order.

use ottla_log::Durability;

/// Names and where they stand.
type Cursors = &'static [(&'static str, i64)];

#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// So many records in one batch, with these.
    Append(usize, Cursors),
    Sync,
    /// What housekeeping does now and then.
    Checkpoint,
    Commit(Cursors),
    Forget(&'static str),
    Delete(i64),
    Truncate(i64),
    Compact,
}

pub struct History {
    pub name: &'static str,
    pub durability: Durability,
    pub steps: &'static [Step],
}

use Step::{Append, Checkpoint, Commit, Compact, Delete, Forget, Sync, Truncate};

/// Each append is on the disk when it is acknowledged.
pub const SYNCED: History = History {
    name: "synced",
    durability: Durability::Fsync,
    steps: &[
        Append(1, &[("with", 10)]),
        Append(1, &[("with", 11)]),
        Commit(&[("alone", 1)]),
        Append(1, &[("with", 12)]),
        Append(1, &[("with", 13), ("alone", 500)]),
        Compact,
        Append(1, &[("with", 14)]),
        Commit(&[("alone", 2)]),
        Delete(3),
        Append(1, &[("with", 15)]),
        Append(1, &[("with", 16), ("alone", 501)]),
        Commit(&[("alone", 6)]),
        Truncate(5),
        Append(1, &[("with", 17)]),
        Append(1, &[("with", 18)]),
        Compact,
        Append(1, &[("with", 19), ("alone", 502)]),
        Truncate(6),
        Append(1, &[("with", 20)]),
        Append(1, &[("with", 21), ("alone", 503)]),
    ],
};

/// Appends are on the disk when somebody asks for it, or something else needs it: cursors are pending most of the time.
pub const UNSYNCED: History = History {
    name: "un-synced",
    durability: Durability::Os,
    steps: &[
        Append(1, &[("a", 1)]),
        Append(2, &[]),
        Append(1, &[("a", 2), ("b", 7)]),
        Sync,
        Append(1, &[("a", 3)]),
        Append(2, &[("b", 8)]),
        // Some are settled, some are pending.
        Checkpoint,
        Append(1, &[("a", 4)]),
        Commit(&[("c", 3)]),
        Append(1, &[("a", 5)]),
        Append(1, &[("b", 9)]),
        Forget("b"),
        Append(1, &[("b", 10)]),
        Append(1, &[("a", 6)]),
        Checkpoint,
        Sync,
        Checkpoint,
        Append(1, &[("a", 7)]),
        Append(1, &[]),
        Truncate(12),
        Append(1, &[("a", 8)]),
        Append(1, &[("c", 20)]),
        Compact,
        Append(1, &[("a", 9)]),
        Append(1, &[]),
        Append(2, &[]),
        Truncate(16),
        Sync,
        Checkpoint,
        Append(1, &[]),
        Append(1, &[]),
        Truncate(17),
        Append(1, &[("a", 11)]),
        Delete(6),
        Append(2, &[("b", 11)]),
        Append(1, &[("a", 12)]),
        Sync,
        // Over several segments, and then other records take the offsets.
        Truncate(9),
        Append(1, &[("a", 13)]),
        Append(1, &[("b", 12)]),
        Compact,
        Append(1, &[("a", 14)]),
        Append(1, &[("c", 21)]),
        // The second pass makes one segment of several that the first has left small.
        Append(2, &[]),
        Append(2, &[]),
        Append(2, &[]),
        Append(2, &[("b", 13)]),
        Compact,
        Append(2, &[]),
        Compact,
        Append(1, &[("a", 15)]),
    ],
};
