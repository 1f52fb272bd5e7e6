//! The native data plane: sockets, framing, and the APIs that move records.
//!
//! Reading order: [`listener`] accepts, [`connection`] frames and orders, [`dispatch`] decides who answers, `api/`
//! answers natively, [`control`] is the way up to everything else. [`engine`] owns the data directory and publishes
//! the [`image`]; a [`replica`] is one partition with its waiters. What clients may make the broker hold is bounded in [`quotas`],
//! [`memory`] and [`unsent`]. Who waits: [`waiting`] and [`sessions`] for records, `walk`, [`readers`] and `crew` for the disk.
//!
//! No pyo3 here: who implements [`control::ControlPlane`] is not this crate's business.

pub mod activity;
pub mod api;
pub mod batch_peek;
pub mod connection;
pub mod control;
pub mod coordination;
pub mod counters;
mod crew;
pub mod deadlines;
mod deletion;
pub mod disks;
pub mod dispatch;
pub mod engine;
pub mod error_code;
mod found;
pub mod frame;
pub mod held_up;
pub mod image;
pub mod inbox;
pub mod isolation;
pub mod limits;
pub mod listener;
pub mod lookups;
pub mod memory;
pub mod plane;
pub mod quotas;
pub mod random;
pub mod rate;
pub mod readers;
mod recovery;
pub mod refusal;
pub mod replica;
pub mod reply;
pub mod room;
mod same_machine;
pub mod sessions;
pub mod shared_map;
mod slow_stop;
pub mod transport;
pub mod unsent;
mod until;
pub mod upkeep;
pub mod waiting;
mod walk;
pub mod workers;
