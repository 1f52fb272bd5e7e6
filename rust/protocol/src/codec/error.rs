//! Why a message was not decoded or encoded.

use crate::wire::{self, WriteError};

/// A frame that is not the message it claims to be. `E` is the sink's own error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError<E> {
    /// The bytes are wrong.
    #[error("{message} version {version}: {error}")]
    Wire {
        /// The message.
        message: &'static str,
        /// Its version.
        version: i16,
        /// Where and what.
        error: wire::Error,
    },
    /// No such version.
    #[error("{message} has no version {version}")]
    UnknownVersion {
        /// The message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// The bytes are right, but would take more memory than a frame of their size may.
    #[error("{message} version {version}: byte {at}: more than {times} times its frame in memory", times = super::Budget::TIMES_FRAME)]
    TooMuchMemory {
        /// The message.
        message: &'static str,
        /// Its version.
        version: i16,
        /// Where the budget ran out.
        at: usize,
    },
    /// The sink failed.
    #[error("{0}")]
    Sink(E),
}

/// A value that the message has no room for. `E` is the source's own error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{owner}.{field} in version {version}: {fault}")]
pub struct EncodeError<E> {
    /// The struct.
    pub owner: &'static str,
    /// Its field.
    pub field: &'static str,
    /// The version asked for.
    pub version: i16,
    /// What is wrong.
    pub fault: EncodeFault<E>,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeFault<E> {
    /// No such version.
    #[error("no such version")]
    UnknownVersion,
    /// Null where the version does not allow it.
    #[error("null is not allowed")]
    Null,
    /// A number its type does not hold.
    #[error("{0} is out of range")]
    OutOfRange(i64),
    /// A value other than the default in a field the version lacks.
    #[error("the version lacks the field, and its value is not the default")]
    Absent,
    /// Too long for the protocol.
    #[error("{0}")]
    Write(#[from] WriteError),
    /// The source failed.
    #[error("{0}")]
    Source(E),
}
