//! The ordered five: where a partition starts, what is stable, what may be read, what is there, what would survive a power cut.

use crate::Offset;

/// `log_start <= last_stable <= high_watermark <= log_end`, and `durable <= log_end`; all but the first are exclusive ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The first offset a consumer may ask for; moved by retention and DeleteRecords.
    pub log_start: Offset,
    /// No open transaction lies below; what read_committed sees.
    pub last_stable: Offset,
    /// What any consumer sees.
    pub high_watermark: Offset,
    /// The offset the next record gets.
    pub log_end: Offset,
    /// Everything below has been synced.
    pub durable: Offset,
}

impl Offsets {
    /// The one place where the order is asserted.
    #[must_use]
    pub(crate) fn checked(self) -> Offsets {
        assert!(
            0 <= self.log_start
                && self.log_start <= self.last_stable
                && self.last_stable <= self.high_watermark
                && self.high_watermark <= self.log_end
                && self.durable <= self.log_end,
            "offsets out of order: {self:?}"
        );
        self
    }
}
