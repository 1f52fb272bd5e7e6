//! gzip, RFC 1952. Several members one after another are one stream, as for Java's `GZIPInputStream`.

use std::io::Write;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::{DecompressError, read_capped};

const DEFAULT_LEVEL: u32 = 6;

pub(super) fn compress(level: i32, bytes: &[u8], to: &mut Vec<u8>) {
    let level = u32::try_from(level).map_or(DEFAULT_LEVEL, |level| level.min(9));
    let mut encoder = GzEncoder::new(to, Compression::new(level));
    // A vector takes every write.
    let _ = encoder.write_all(bytes).and_then(|()| encoder.try_finish());
}

pub(super) fn decompress(bytes: &[u8], bytes_max: usize, to: &mut Vec<u8>) -> Result<(), DecompressError> {
    read_capped(MultiGzDecoder::new(bytes), bytes_max, to)
}
