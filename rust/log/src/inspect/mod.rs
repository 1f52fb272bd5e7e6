//! A partition's files as they lie on the disk, looked at from outside: no log is opened, and nothing is changed but by [`repair`].
//!
//! ```text
//! layout    which files count, where a compaction was cut off too
//! walk      a log file from front to end, over whatever is damaged in it
//! reader    the batches of all of them, while somebody changes them
//! verify    everything that can be compared: batches, records, indexes, snapshots, checkpoints
//! repair    what can be mended of that, planned and done
//! ```
//!
//! Apache Kafka's files are looked at as Ottla's are. A partition that somebody writes meanwhile may be looked at too: what is behind the
//! last whole batch of its last segment is then on its way, and not damage.

mod layout;
mod look;
mod reader;
mod repair;
mod report;
mod verify;
mod walk;

pub use layout::{Layout, SegmentFiles};
pub use reader::Reader;
pub use repair::{Action, plan, repair};
pub use report::{Finding, Kind, Report, SegmentReport};
pub use verify::verify;
pub use walk::{Damage, Walked, walk};
