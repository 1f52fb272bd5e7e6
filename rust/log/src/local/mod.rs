//! A log that a program keeps for itself: one topic of one partition in a data directory, without a broker.
//!
//! ```text
//! directory   takes the directory and opens its metadata log: what topics there are is for the caller to read, and to write
//! log         the partition with its threads: append, wait, read, trim, close
//! scan        records from a place on, those of aborted transactions left out
//! cursors     named positions, kept in batches of the log and in a file beside it
//! progress    who waits for the log to move
//! page        how far readers in other processes may read
//! follower    such a reader; `files`: what it reads; `watch`: how it hears of more
//! ```
//!
//! It is the broker's engine with one partition: the same directory, metadata log, partition, group commits and housekeeping. So `ottla
//! serve` opens what lies there, and Kafka's tools read it. What differs is who waits: a thread of the program, not a request.

mod cursors;
mod directory;
mod files;
mod follower;
mod log;
mod page;
mod progress;
mod scan;
mod watch;

pub use cursors::{CURSOR_HEADER, Cursor, CursorError, check_name};
pub use directory::LocalDirectory;
pub use follower::{Follower, FollowerStatus};
pub use log::{LocalLog, LocalStatus, TruncateError, Wait};
pub use page::{Page, remove_published};
pub use progress::{Move, Subscription};
pub use scan::{Batches, UnpackedBatch};
