//! Messages of the formats before record batches (magic 0 and 1: Apache Kafka before 0.11). They are not served; they are told from damage,
//! so that nobody cuts them off.
//!
//! ```text
//! offset i64 | length i32, of all that follows | crc u32 (CRC32, not CRC32C, of all that follows) | magic i8 | the rest
//! ```

use std::io;

use crc_fast::{CrcAlgorithm, checksum};

use crate::batch::header::{FRAMING_BYTES, MAGIC, MAGIC_AT};
use crate::env::File;

const CHECKSUMMED_FROM: usize = FRAMING_BYTES + 4;
/// Checksum, magic, attributes, and the lengths of key and value.
const LENGTH_MIN: usize = 14;
const _: () = assert!(CHECKSUMMED_FROM == MAGIC_AT);

/// The format of the message that begins at `position`, if a whole one does before `limit`.
pub(crate) fn message_format(file: &dyn File, position: u64, limit: u64) -> io::Result<Option<i8>> {
    let mut head = [0; MAGIC_AT + 1];
    if file.read_at(&mut head, position)? < head.len() {
        return Ok(None);
    }
    let magic = head[MAGIC_AT] as i8;
    let length = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
    let Some(length) = usize::try_from(length).ok().filter(|length| *length >= LENGTH_MIN) else { return Ok(None) };
    let total = FRAMING_BYTES + length;
    if !(0..MAGIC).contains(&magic) || total as u64 > limit.saturating_sub(position) {
        return Ok(None);
    }
    let mut message = vec![0; total];
    if file.read_at(&mut message, position)? < total {
        return Ok(None);
    }
    let stored = u32::from_be_bytes([head[12], head[13], head[14], head[15]]);
    let computed = checksum(CrcAlgorithm::Crc32IsoHdlc, &message[CHECKSUMMED_FROM..]);
    Ok((computed == u64::from(stored)).then_some(magic))
}
