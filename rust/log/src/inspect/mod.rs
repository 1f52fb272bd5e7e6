//! A partition's files as they lie on the disk, looked at from outside: no log is opened, and nothing is changed but by [`repair`].
//!
//! ```text
//! walk      a log file from front to end, over whatever is damaged in it
//! verify    everything that can be compared: batches, records, indexes, snapshots, checkpoints
//! repair    what can be mended of that, planned and done
//! ```
//!
//! Apache Kafka's files are looked at as Ottla's are. A partition that somebody writes meanwhile may be looked at too: what is behind the
//! last whole batch of its last segment is then on its way, and not damage.

mod repair;
mod verify;
mod walk;

pub use repair::{Action, plan, repair};
pub use verify::{Finding, Kind, Report, SegmentReport, verify};
pub use walk::{Damage, Walked, walk};
