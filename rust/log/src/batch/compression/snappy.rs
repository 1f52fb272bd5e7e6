//! Snappy in the framing of the Java library (xerial), which Kafka's Java clients write:
//!
//! ```text
//! 82 53 4e 41 50 50 59 00   magic "\x82SNAPPY\0"
//! i32 version (1)   i32 oldest compatible version (1)
//! then blocks: i32 length, one raw snappy block of that length
//! ```
//!
//! librdkafka writes one raw block without any framing; both are read.

use super::DecompressError;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_BYTES: usize = 16;
const VERSION: i32 = 1;
/// Bytes per block, as the Java library's default.
const BLOCK_BYTES: usize = 32 * 1024;

pub(super) fn compress(bytes: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(&MAGIC);
    to.extend_from_slice(&VERSION.to_be_bytes());
    to.extend_from_slice(&VERSION.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(BLOCK_BYTES) {
        let at = to.len() + 4;
        to.resize(at + snap::raw::max_compress_len(block.len()), 0);
        // The room is what the encoder asks for: it cannot fail.
        let length = encoder.compress(block, &mut to[at..]).unwrap_or(0);
        to.truncate(at + length);
        to[at - 4..at].copy_from_slice(&(length as i32).to_be_bytes());
    }
}

pub(super) fn decompress(bytes: &[u8], bytes_max: usize, to: &mut Vec<u8>) -> Result<(), DecompressError> {
    let Some(mut rest) = bytes.strip_prefix(&MAGIC) else {
        return block(bytes, bytes_max, to);
    };
    rest = rest
        .get(HEADER_BYTES - MAGIC.len()..)
        .ok_or_else(|| DecompressError::Corrupt("snappy header is cut".into()))?;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        let (packed, tail) = length
            .and_then(|length| tail.split_at_checked(length))
            .ok_or_else(|| DecompressError::Corrupt("a snappy block is cut".into()))?;
        block(packed, bytes_max, to)?;
        rest = tail;
    }
    if rest.is_empty() { Ok(()) } else { Err(DecompressError::Corrupt("a snappy block length is cut".into())) }
}

/// Unpacks one raw block behind what is there. The block says its size first, so the cap holds before anything is reserved.
fn block(packed: &[u8], bytes_max: usize, to: &mut Vec<u8>) -> Result<(), DecompressError> {
    let corrupt = |error: snap::Error| DecompressError::Corrupt(error.to_string());
    let length = snap::raw::decompress_len(packed).map_err(corrupt)?;
    let start = to.len();
    if length > bytes_max.saturating_sub(start) {
        return Err(DecompressError::TooLarge(bytes_max));
    }
    to.resize(start + length, 0);
    let written = snap::raw::Decoder::new().decompress(packed, &mut to[start..]).map_err(corrupt)?;
    to.truncate(start + written);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A raw block without framing, as librdkafka sends it, is read.
    #[test]
    fn raw_block() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
        let mut unpacked = Vec::new();
        decompress(&packed, 100, &mut unpacked).unwrap();
        assert_eq!(unpacked, b"hello hello hello");
    }
}
