//! A log of one's own under power cuts: an append and the cursors committed with it are there together or not at all, what was
//! acknowledged is there, and who reads it from another process is told nothing that the disk does not hold, wherever the power goes.
//!
//! Every changing operation of a history is a place to cut, with compaction, truncation, deletion, checkpoints, and commits of cursors
//! among them; then the opening after it is cut too.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod cuts;
mod follower;
mod history;
mod live;
mod model;
