//! `_core.LogDirectory` and `_core.Log`: `ottla_log::local` as Python sees it.
//!
//! ```text
//! directory  a data directory whose metadata Python reads, and writes where the topic is new
//! log        append, read, trim, close
//! encode     Python's values into a batch          columns   many records in one crossing
//! arrow      records as Arrow's columns
//! records    an iterator, which may wait           record    one record: a place in a batch that is in memory
//! native     a log of one's own, or another process's
//! view       that place as a buffer, not copied
//! files      a partition's files, looked at from outside
//! process    nothing here outlives a fork          refusal   errors as `ottla.errors`
//! ```

mod arrow;
mod columns;
mod directory;
mod encode;
mod files;
mod log;
mod native;
mod process;
mod record;
mod records;
mod refusal;
mod view;

pub use arrow::ArrowRecords;
pub use columns::Columns;
pub use directory::LogDirectory;
pub use files::{DirectoryLock, FileBatches, PartitionFiles, check_format, is_locked};
pub use log::Log;
pub use native::LogFollower;
pub use process::after_fork_in_child;
pub use record::Record;
pub use records::{Arrival, Records};
pub use view::View;
