//! Bytes on disk become a partition: Kafka's log format, written, read, recovered and trimmed. Synchronous; knows no runtime, no
//! network and no Python. `FORMAT.md` beside this crate draws every file.
//!
//! ```text
//! local         a log that a program keeps for itself: one topic in a data directory, without a broker
//! directory     a data directory: lock, meta.properties, checkpoints, which partitions lie there
//! partition     append, read, look up, truncate, recover: the partition as the broker sees it
//! metadata_log  __cluster_metadata-0 and its snapshots, over a partition
//! commit        group commits on a pool of threads; the high watermark follows
//! health        whether a data directory's disk can be relied on; the room kept for a full one
//! maintenance   the thread that rolls, flushes, expires, deletes and writes checkpoints, on the env clock
//! cleaner       the threads that compact, dirtiest partition first
//! retention     which segments may go (a pure choice)
//! compaction    what may be cleaned (a pure choice), and how: rewrite, swap
//! open_files    how many segments keep descriptors
//! new_names     one sync of a data directory for the names of many partitions
//! segment, index, checkpoint   the files
//! batch         record batch v2: header, records, compression, validation, building
//! env           the only door to disk and clock
//! ```
//!
//! Each line uses only those below it.

pub mod batch;
pub mod checkpoint;
pub mod cleaner;
pub mod commit;
pub mod compaction;
pub mod directory;
pub mod env;
pub mod error;
pub mod health;
pub mod index;
pub mod inspect;
pub mod local;
pub mod maintenance;
pub mod metadata_log;
mod new_names;
mod open_files;
pub mod partition;
pub mod retention;
pub mod segment;

pub use error::{AppendError, ReadError, RecordError, StorageError};
pub use partition::config::{CleanupPolicy, CompressionSetting, Durability, PartitionConfig, TimestampType};
pub use partition::offsets::Offsets;
pub use partition::{Identity, Partition};

/// The place of a record in its partition.
pub type Offset = i64;
/// A topic id: 16 bytes, as on the wire.
pub type TopicId = [u8; 16];
