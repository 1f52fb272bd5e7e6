//! What can go wrong, by what the caller does next.
//!
//! ```text
//! StorageError   the disk or what lies on it: the partition or the directory cannot go on (report, reopen)
//! AppendError    this batch is refused, the partition is fine (fix the input, retry); one Kafka error code each
//! ReadError      this offset is not there (start elsewhere), or StorageError
//! ```

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::Offset;

/// Kafka's error codes, as far as the log gives them (`org.apache.kafka.common.protocol.Errors`).
pub mod code {
    pub const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub const CORRUPT_MESSAGE: i16 = 2;
    pub const MESSAGE_TOO_LARGE: i16 = 10;
    pub const RECORD_LIST_TOO_LARGE: i16 = 18;
    pub const INVALID_TIMESTAMP: i16 = 32;
    pub const UNSUPPORTED_FOR_MESSAGE_FORMAT: i16 = 43;
    pub const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
    pub const INVALID_PRODUCER_EPOCH: i16 = 47;
    pub const INVALID_TXN_STATE: i16 = 48;
    pub const TRANSACTION_COORDINATOR_FENCED: i16 = 52;
    pub const KAFKA_STORAGE_ERROR: i16 = 56;
    pub const UNKNOWN_PRODUCER_ID: i16 = 59;
    pub const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
    pub const INVALID_RECORD: i16 = 87;
}

/// The disk failed, or what lies on it cannot be used. Cheap to clone: everybody who waits gets it.
#[derive(Clone, Debug, Error)]
pub enum StorageError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: Arc<io::Error> },
    /// Bytes that can only be there by damage or by another program.
    #[error("{} is damaged at byte {position}: {what}", path.display())]
    Corrupt { path: PathBuf, position: u64, what: String },
    /// An earlier error took this partition or directory out of service; nothing is retried until it is opened again.
    #[error("offline: {reason}")]
    Offline { reason: Arc<StorageError> },
    #[error("{} is closed", path.display())]
    Closed { path: PathBuf },
    #[error("{} is in use by another owner{}", path.display(), owner)]
    DirectoryInUse { path: PathBuf, owner: String },
    #[error("{} has format version {found}, this program knows {known}: it was written by a newer one", path.display())]
    NewerFormat { path: PathBuf, found: String, known: i32 },
    /// Its owner has taken away, or rewritten, what a reader in another process was going through.
    #[error("{}: {what}", path.display())]
    Overtaken { path: PathBuf, what: String },
    #[error("{}: {what}", path.display())]
    Invalid { path: PathBuf, what: String },
}

impl StorageError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> StorageError {
        StorageError::Io { action, path: path.to_path_buf(), source: Arc::new(source) }
    }

    pub(crate) fn corrupt(path: &Path, position: u64, what: impl fmt::Display) -> StorageError {
        StorageError::Corrupt { path: path.to_path_buf(), position, what: what.to_string() }
    }

    pub(crate) fn invalid(path: &Path, what: impl fmt::Display) -> StorageError {
        StorageError::Invalid { path: path.to_path_buf(), what: what.to_string() }
    }

    pub fn code(&self) -> i16 {
        code::KAFKA_STORAGE_ERROR
    }

    /// The disk is full, or a quota is.
    pub fn is_no_room(&self) -> bool {
        match self {
            StorageError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    /// The disk would have to be waited for ([`crate::env::patience`]): nothing is wrong.
    pub fn would_wait(&self) -> bool {
        matches!(self, StorageError::Io { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
    }

    /// This process, or the machine, has no descriptor left to open a file with. That says nothing about the disk, and passes.
    pub fn is_no_descriptor(&self) -> bool {
        match self {
            StorageError::Io { source, .. } => matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)),
            _ => false,
        }
    }
}

/// Adds "cannot `action` `path`" to an I/O error.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, StorageError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, StorageError> {
        self.map_err(|error| StorageError::io(action, path, error))
    }
}

/// One refused record of a batch, as Produce answers it from version 8 on (KIP-467).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordError {
    pub batch_index: i32,
    pub message: String,
}

/// Why a batch was not appended. Nothing was written and no state changed.
#[derive(Clone, Debug, Error)]
pub enum AppendError {
    #[error("{0}")]
    CorruptMessage(String),
    /// What a Produce request brought for the partition is not exactly one batch of this format; refused before the log is asked.
    #[error("{0}")]
    NotOneBatch(String),
    #[error("{message}")]
    InvalidRecord { message: String, records: Vec<RecordError> },
    #[error("{message}")]
    InvalidTimestamp { message: String, records: Vec<RecordError> },
    #[error("{0}")]
    MessageTooLarge(String),
    /// The batch does not fit in a segment.
    #[error("{0}")]
    RecordListTooLarge(String),
    #[error("{0}")]
    UnsupportedCompressionType(String),
    #[error("{0}")]
    UnsupportedForMessageFormat(String),
    #[error("{0}")]
    OutOfOrderSequence(String),
    #[error("{0}")]
    InvalidProducerEpoch(String),
    #[error("{0}")]
    UnknownProducerId(String),
    #[error("{0}")]
    InvalidTxnState(String),
    #[error("{0}")]
    TransactionCoordinatorFenced(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AppendError {
    /// The Kafka error code a client gets.
    pub fn code(&self) -> i16 {
        match self {
            AppendError::CorruptMessage(_) => code::CORRUPT_MESSAGE,
            AppendError::NotOneBatch(_) | AppendError::InvalidRecord { .. } => code::INVALID_RECORD,
            AppendError::InvalidTimestamp { .. } => code::INVALID_TIMESTAMP,
            AppendError::MessageTooLarge(_) => code::MESSAGE_TOO_LARGE,
            AppendError::RecordListTooLarge(_) => code::RECORD_LIST_TOO_LARGE,
            AppendError::UnsupportedCompressionType(_) => code::UNSUPPORTED_COMPRESSION_TYPE,
            AppendError::UnsupportedForMessageFormat(_) => code::UNSUPPORTED_FOR_MESSAGE_FORMAT,
            AppendError::OutOfOrderSequence(_) => code::OUT_OF_ORDER_SEQUENCE_NUMBER,
            AppendError::InvalidProducerEpoch(_) => code::INVALID_PRODUCER_EPOCH,
            AppendError::UnknownProducerId(_) => code::UNKNOWN_PRODUCER_ID,
            AppendError::InvalidTxnState(_) => code::INVALID_TXN_STATE,
            AppendError::TransactionCoordinatorFenced(_) => code::TRANSACTION_COORDINATOR_FENCED,
            AppendError::Storage(error) => error.code(),
        }
    }

    /// The records at fault, for `record_errors` of the Produce answer; empty when the batch as a whole is.
    pub fn record_errors(&self) -> &[RecordError] {
        match self {
            AppendError::InvalidRecord { records, .. } | AppendError::InvalidTimestamp { records, .. } => records,
            _ => &[],
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> AppendError {
        AppendError::InvalidRecord { message: message.into(), records: Vec::new() }
    }
}

/// Why a read has no answer.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    #[error("offset {requested} is outside {log_start}..={log_end}")]
    OffsetOutOfRange { requested: Offset, log_start: Offset, log_end: Offset },
    /// Who asked may not wait for the disk: the same read by somebody who may has an answer.
    #[error("the disk would have to be waited for")]
    WouldWait,
    #[error(transparent)]
    Storage(StorageError),
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> ReadError {
        if error.would_wait() { ReadError::WouldWait } else { ReadError::Storage(error) }
    }
}

impl ReadError {
    pub fn code(&self) -> i16 {
        match self {
            ReadError::OffsetOutOfRange { .. } => code::OFFSET_OUT_OF_RANGE,
            ReadError::WouldWait => code::KAFKA_STORAGE_ERROR,
            ReadError::Storage(error) => error.code(),
        }
    }
}
