//! LZ4 frames as Kafka's own reader takes them: independent blocks of 64 KiB, no checksum over the content.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::{DecompressError, read_capped};

pub(super) fn compress(bytes: &[u8], to: &mut Vec<u8>) {
    let info = FrameInfo::new().block_size(BlockSize::Max64KB).block_mode(BlockMode::Independent);
    let mut encoder = FrameEncoder::with_frame_info(info, to);
    // A vector takes every write.
    let _ = encoder.write_all(bytes).and_then(|()| encoder.try_finish().map_err(std::io::Error::other));
}

pub(super) fn decompress(bytes: &[u8], bytes_max: usize, to: &mut Vec<u8>) -> Result<(), DecompressError> {
    read_capped(FrameDecoder::new(bytes), bytes_max, to)
}
