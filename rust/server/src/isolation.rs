//! Whether a reader sees what open transactions have written.

use ottla_log::partition::ReadUpTo;

/// How far a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
}

impl Isolation {
    /// The number on the wire: 1 is read_committed.
    #[must_use]
    pub fn from_wire(level: i8) -> Self {
        if level == 1 { Self::ReadCommitted } else { Self::ReadUncommitted }
    }

    pub(crate) fn bound(self) -> ReadUpTo {
        match self {
            Self::ReadUncommitted => ReadUpTo::HighWatermark,
            Self::ReadCommitted => ReadUpTo::LastStable,
        }
    }
}
