//! What is wrong with a frame, and where.

/// A read that failed: `at` is the byte of the frame where the value begins, `reading` names the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}, reading {reading}: {kind}")]
pub struct Error {
    /// Position in the frame (of the reader's slice) where the value begins.
    pub at: usize,
    /// The value being read, as its caller named it.
    pub reading: &'static str,
    /// What is wrong with it.
    pub kind: ErrorKind,
}

/// What can be wrong with bytes that claim to be a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The frame ends before the value does.
    #[error("needs {needed} bytes, {remaining} remain")]
    Truncated {
        /// Bytes the value needs.
        needed: usize,
        /// Bytes left in the frame.
        remaining: usize,
    },
    /// A length or count below -1.
    #[error("length {0} is negative")]
    NegativeLength(i64),
    /// A null where the message does not allow one.
    #[error("null, which this version does not allow")]
    UnexpectedNull,
    /// A string over [`super::STRING_BYTES_MAX`].
    #[error("string of {0} bytes is longer than 32767")]
    StringTooLong(usize),
    /// A string that is not UTF-8.
    #[error("string is not UTF-8")]
    NotUtf8,
    /// A variable-length integer that does not end, or is wider than its type.
    #[error("variable-length integer is wider than its type")]
    VarintTooWide,
    /// An array that cannot fit into what is left of the frame.
    #[error("{count} elements cannot fit into the remaining {remaining} bytes")]
    TooManyElements {
        /// The count the frame claims.
        count: usize,
        /// Bytes left in the frame.
        remaining: usize,
    },
    /// Lists that would take more memory than a frame of that size may.
    #[error("its lists take more than {} times the memory of the frame", crate::codec::Budget::TIMES_FRAME)]
    TooMuchMemory,
    /// A value ended before the bytes it was given.
    #[error("{0} bytes follow the value")]
    TrailingBytes(usize),
    /// An API key this project has no schema for.
    #[error("unknown API key {0}")]
    UnknownApiKey(i16),
}

/// What reading returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A value the protocol has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A string over [`super::STRING_BYTES_MAX`].
    #[error("string of {0} bytes is longer than 32767")]
    StringTooLong(usize),
    /// Bytes or an array whose length does not fit into an int32.
    #[error("length {0} does not fit into an int32")]
    TooLong(usize),
}
