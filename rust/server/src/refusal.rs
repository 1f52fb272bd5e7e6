//! A batch that was not appended, as the client is to read it.

use ottla_log::{AppendError, Partition};
use ottla_protocol::native::produce::RecordError;

use crate::error_code::ErrorCode;

/// Why a batch was not appended, ready for the wire.
#[derive(Debug)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
    pub record_errors: Vec<RecordError>,
    pub log_start_offset: i64,
}

impl Refusal {
    pub(crate) fn of(code: ErrorCode, message: &str) -> Self {
        Self { code, message: message.to_owned(), record_errors: Vec::new(), log_start_offset: -1 }
    }

    pub(crate) fn from_append(partition: &Partition, failure: &AppendError, is_of_request: bool) -> Self {
        let record_errors = failure
            .record_errors()
            .iter()
            .map(|record| RecordError { batch_index: record.batch_index, message: Some(record.message.clone()) })
            .collect();
        // Kafka tells the log start of what the log itself refused (`ReplicaManager.appendToLocalLog`), but for these.
        let is_silent = is_of_request
            || matches!(
                failure,
                AppendError::NotOneBatch(_)
                    | AppendError::CorruptMessage(_)
                    | AppendError::MessageTooLarge(_)
                    | AppendError::RecordListTooLarge(_)
                    | AppendError::Storage(_)
            );
        Self {
            code: ErrorCode(failure.code()),
            message: failure.to_string(),
            record_errors,
            log_start_offset: if is_silent { -1 } else { partition.offsets().log_start },
        }
    }
}
