//! Plays power cuts against the log, each one from a number, so that a failure can be played again.
//!
//! ```text
//! scenario   what is done: made from a seed and run over the engine, with a plain model beside it that says what must be there after
//! model      a partition as a list of batches, what was promised of it, and what compaction may take
//! disk       a disk that loses, at a cut, any legal part of what was not synced
//! random     numbers from a seed
//! ```
//!
//! Each line uses only those below it. For development: nothing that is shipped depends on this crate.

pub mod disk;
pub mod model;
pub mod random;
pub mod scenario;
