//! The three files beside a segment that make it searchable. All are rebuilt from the log when they are missing, of an impossible
//! length, or beside a segment that a crash may have torn; none is checksummed.
//!
//! [`offset`] offset -> position, [`time`] timestamp -> offset: sparse, one entry per `index.interval.bytes` of log.
//! [`txn`] the aborted transactions of the segment.

pub mod offset;
pub mod sparse;
pub mod time;
pub mod txn;
