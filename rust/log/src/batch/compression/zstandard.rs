//! Zstandard frames, one or several.

use std::cell::RefCell;
use std::io::Write;

use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;
use zstd::zstd_safe::DCtx;

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

/// What a thread keeps of its context between batches. How much one takes is up to the window of the frame: 2 MiB with the usual level.
const CONTEXT_KEPT_BYTES: usize = 4 << 20;

thread_local! {
    /// Made once: that alone took a twentieth of the time of a Produce of 256 KiB.
    static CONTEXT: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

pub(super) fn decompress(bytes: &[u8], bytes_max: usize, to: &mut Vec<u8>) -> Result<(), DecompressError> {
    let Some(mut context) = CONTEXT.take().or_else(DCtx::try_create) else {
        return Err(DecompressError::Corrupt("there is no memory for it".to_owned()));
    };
    // Whatever the last batch left behind, broken ones too, is forgotten first.
    let result = read_capped(Decoder::with_context(bytes, &mut context), bytes_max, to);
    if context.sizeof() <= CONTEXT_KEPT_BYTES {
        CONTEXT.set(Some(context));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a large window does not make the thread keep that much.
    #[test]
    fn little_is_kept() {
        let bytes = b"of no great size".repeat(1000);
        for (level, is_kept) in [(DEFAULT_LEVEL, true), (19, false), (DEFAULT_LEVEL, true)] {
            let (mut packed, mut unpacked) = (Vec::new(), Vec::new());
            compress(level, &bytes, &mut packed);
            decompress(&packed, bytes.len(), &mut unpacked).unwrap();
            assert_eq!(unpacked, bytes);
            let kept = CONTEXT.take();
            assert_eq!(kept.is_some(), is_kept, "level {level}");
            CONTEXT.set(kept);
        }
    }
}
