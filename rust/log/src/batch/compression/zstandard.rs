//! Zstandard frames, one or several.

use std::io::Write;

use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use super::{DecompressError, read_capped};

const DEFAULT_LEVEL: i32 = 3;

pub(super) fn compress(level: i32, bytes: &[u8], to: &mut Vec<u8>) {
    let level = if level == -1 { DEFAULT_LEVEL } else { level };
    let start = to.len();
    let packed = Encoder::new(&mut *to, level).and_then(|mut encoder| {
        encoder.write_all(bytes)?;
        encoder.finish().map(|_| ())
    });
    if packed.is_err() {
        // Only a level out of range gets here; levels are checked where settings are read.
        to.truncate(start);
        let mut retry = zstd::stream::encode_all(bytes, DEFAULT_LEVEL).unwrap_or_default();
        to.append(&mut retry);
    }
}

pub(super) fn decompress(bytes: &[u8], bytes_max: usize, to: &mut Vec<u8>) -> Result<(), DecompressError> {
    read_capped(Decoder::with_buffer(bytes)?, bytes_max, to)
}
