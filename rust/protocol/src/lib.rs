//! Kafka's wire protocol without any I/O: bytes in, values out, and back.
//!
//! - [`wire`] reads and writes the protocol's primitives. Every read is bounded by the frame it reads from.
//! - [`schema`] is the table of all messages this project speaks, generated from Kafka's own schema files: facts only.
//! - [`codec`] interprets that table in both directions, towards whatever values the caller has (`Sink`, `Source`).
//! - [`native`] holds hand-written readers and writers for the APIs of the data plane, which look into the frame in place.
//!
//! Nothing here knows sockets, clocks, Python or the log.

pub mod codec;
pub mod header;
pub mod native;
pub mod schema;
pub mod wire;
