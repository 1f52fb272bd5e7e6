//! Typed readers and writers for the APIs the data plane serves itself.
//!
//! The table-driven codec in [`crate::codec`] builds a value for every field; these messages are too hot or too large
//! for that. Each file reads its request straight from the frame, names borrowed from it, and writes its response
//! straight into the answer's buffer. The schema table remains the judge: a test decodes what these write, and writes
//! what these read, through the codec, for every version. Like the codec they take memory within the frame's budget.

mod allowance;
pub mod api_versions;
pub mod describe_topic_partitions;
pub mod fetch;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;

use bytes::BytesMut;

use crate::wire::{WriteError, Writer};

/// Where answers are written: the buffer that goes to the socket.
pub type Out<'b> = Writer<'b, BytesMut>;

/// What a writer returns: names and counts may be too long for the protocol.
pub type Written = Result<(), WriteError>;
