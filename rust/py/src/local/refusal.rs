//! What a log can meet, as the classes of `ottla.errors`.

use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
use std::path::Path;

use ottla_log::local::{CursorError, TruncateError};
use ottla_log::{AppendError, ReadError, StorageError};
use pyo3::prelude::*;

use crate::errors;

pub fn forked() -> PyErr {
    errors::named("Forked", "this log was opened by the process that this one was forked from: open it again here")
}

pub fn closed() -> PyErr {
    errors::named("Closed", "this log is closed: open it again")
}

pub fn read_only() -> PyErr {
    errors::named("ReadOnly", "this log was opened with read_only=True: only its owner writes")
}

pub fn invalid(what: impl std::fmt::Display) -> PyErr {
    errors::named("InvalidInput", what)
}

pub fn too_large(what: impl std::fmt::Display) -> PyErr {
    errors::named("RecordTooLarge", what)
}

pub fn storage(error: &StorageError) -> PyErr {
    match error {
        StorageError::DirectoryInUse { .. } => errors::in_use(error),
        StorageError::NewerFormat { .. } => errors::newer_format(error),
        StorageError::Closed { .. } => closed(),
        StorageError::Overtaken { .. } => errors::named("Overtaken", error),
        error if error.is_no_room() => errors::named("NoRoom", error),
        _ => errors::storage(error),
    }
}

/// Why a directory was not opened to be written. Nothing in it was changed.
pub fn opening(error: &AppendError) -> PyErr {
    let AppendError::Storage(error) = error else { return append(error) };
    match error {
        StorageError::DirectoryInUse { .. } => {
            errors::in_use(format!("{error}: close it there, or read along with read_only=True"))
        }
        StorageError::NewerFormat { .. } => errors::newer_format(format!("{error}. Use that one; nothing was changed")),
        StorageError::Io { source, .. } if matches!(source.kind(), PermissionDenied | ReadOnlyFilesystem) => {
            errors::storage(format!("{error}. Opened with read_only=True nothing need be written"))
        }
        error => storage(error),
    }
}

pub fn append(error: &AppendError) -> PyErr {
    match error {
        AppendError::Storage(error) => storage(error),
        AppendError::MessageTooLarge(_) | AppendError::RecordListTooLarge(_) => too_large(error),
        // The batch was built here: these are what is left that a value can be refused for.
        AppendError::InvalidRecord { .. } | AppendError::InvalidTimestamp { .. } => invalid(error),
        _ => errors::storage(error),
    }
}

pub fn read(error: &ReadError, path: &Path) -> PyErr {
    match error {
        ReadError::Storage(error) => storage(error),
        ReadError::OffsetOutOfRange { requested, log_start, log_end } => {
            errors::out_of_range(*requested, *log_start, *log_end, path)
        }
        // Only who asks for it is told.
        other @ ReadError::WouldWait => errors::storage(other),
    }
}

pub fn cursor(error: &CursorError) -> PyErr {
    match error {
        CursorError::Storage(error) => storage(error),
        CursorError::Name(_) | CursorError::Negative { .. } | CursorError::TooMany => invalid(error),
    }
}

/// So many are named in a message.
const NAMED_MAX: usize = 5;

pub fn truncate(error: &TruncateError, offset: i64, path: &Path) -> PyErr {
    match error {
        TruncateError::InsideBatch(begin) => invalid(format!(
            "offset {offset} lies inside the batch that begins at {begin}; a batch stays or goes as a whole: truncate at {begin}, or at the begin of another"
        )),
        TruncateError::EndsBefore(end) => invalid(format!(
            "compaction has left nothing right before offset {offset}: the log would end at {end}, before a cursor that is to stand at {offset}. Truncate at {end}; nothing was changed"
        )),
        TruncateError::Cursors(left) => {
            let mut named: Vec<String> =
                left.iter().take(NAMED_MAX).map(|(name, position)| format!("{name} at {position}")).collect();
            if left.len() > NAMED_MAX {
                named.push(format!("{} more", left.len() - NAMED_MAX));
            }
            invalid(format!(
                "cursors stand beyond offset {offset}, or moved with records that would be taken away: {}. Say where each is to stand, as in truncate({offset}, cursors={{{:?}: {offset}}}); nothing was changed",
                named.join(", "),
                left.first().map_or("", |(name, _)| name)
            ))
        }
        TruncateError::Cursor(error) => cursor(error),
        TruncateError::Read(error) => read(error, path),
        TruncateError::Storage(error) => storage(error),
    }
}
