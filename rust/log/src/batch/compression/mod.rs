//! The five codecs. What comes out is capped: a batch that would unpack to more is refused, however small it is.

mod gzip;
mod lz4;
mod snappy;
mod zstandard;

use std::cell::RefCell;
use std::io::{self, Read};

use thiserror::Error;

/// The codec of a batch, attribute bits 0-2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Compression {
    pub fn from_bits(bits: i16) -> Option<Compression> {
        Some(match bits {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            _ => return None,
        })
    }

    /// Kafka's name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

#[derive(Debug, Error)]
pub enum DecompressError {
    #[error("unpacks to more than {0} bytes")]
    TooLarge(usize),
    #[error("cannot be unpacked: {0}")]
    Corrupt(String),
}

impl From<io::Error> for DecompressError {
    fn from(error: io::Error) -> DecompressError {
        DecompressError::Corrupt(error.to_string())
    }
}

/// Appends the packed form of `bytes` to `to`. `level` is the codec's own; -1 its default. Snappy has none, and LZ4's are accepted and
/// without effect (the encoder has one).
pub fn compress(compression: Compression, level: i32, bytes: &[u8], to: &mut Vec<u8>) {
    match compression {
        Compression::None => to.extend_from_slice(bytes),
        Compression::Gzip => gzip::compress(level, bytes, to),
        Compression::Snappy => snappy::compress(bytes, to),
        Compression::Lz4 => lz4::compress(bytes, to),
        Compression::Zstd => zstandard::compress(level, bytes, to),
    }
}

/// Replaces the content of `to` by the unpacked form of `bytes`, at most `bytes_max` long.
pub fn decompress(
    compression: Compression,
    bytes: &[u8],
    bytes_max: usize,
    to: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    to.clear();
    match compression {
        Compression::None if bytes.len() > bytes_max => Err(DecompressError::TooLarge(bytes_max)),
        Compression::None => {
            to.extend_from_slice(bytes);
            Ok(())
        }
        Compression::Gzip => gzip::decompress(bytes, bytes_max, to),
        Compression::Snappy => snappy::decompress(bytes, bytes_max, to),
        Compression::Lz4 => lz4::decompress(bytes, bytes_max, to),
        Compression::Zstd => zstandard::decompress(bytes, bytes_max, to),
    }
}

/// Reads to the end, or to one byte past the cap.
fn read_capped(reader: impl Read, bytes_max: usize, to: &mut Vec<u8>) -> Result<(), DecompressError> {
    reader.take(bytes_max as u64 + 1).read_to_end(to)?;
    if to.len() > bytes_max { Err(DecompressError::TooLarge(bytes_max)) } else { Ok(()) }
}

/// What a thread keeps of its scratch buffer between batches.
const SCRATCH_KEPT_BYTES: usize = 4 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer of this thread, so that batches are unpacked without allocating each time. Not to be nested: the inner use gets a
/// fresh one.
pub fn with_scratch<T>(work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
    let mut buffer = SCRATCH.take();
    let result = work(&mut buffer);
    buffer.clear();
    buffer.shrink_to(SCRATCH_KEPT_BYTES);
    SCRATCH.set(buffer);
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Every codec gives back what it was given, in blocks or not.
        #[test]
        fn round_trip(seed in proptest::collection::vec(any::<u8>(), 0..2000), repeat in 1usize..200, level in -1i32..=9) {
            let bytes = seed.repeat(repeat);
            for compression in ALL {
                let mut packed = Vec::new();
                compress(compression, level, &bytes, &mut packed);
                let mut unpacked = Vec::new();
                decompress(compression, &packed, bytes.len(), &mut unpacked).unwrap();
                prop_assert_eq!(&unpacked, &bytes);
            }
        }

        /// Bytes that were never packed give an error or some bytes, never a panic and never more than allowed.
        #[test]
        fn garbage(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            for compression in ALL {
                let mut unpacked = Vec::new();
                if decompress(compression, &bytes, 10_000, &mut unpacked).is_ok() {
                    prop_assert!(unpacked.len() <= 10_000);
                }
            }
        }
    }

    /// A bomb stops at the cap: 64 MiB of zeroes pack to little, and little memory is spent to find that out.
    #[test]
    fn bombs_are_capped() {
        let bytes = vec![0; 64 << 20];
        for compression in ALL {
            let mut packed = Vec::new();
            compress(compression, -1, &bytes, &mut packed);
            let mut unpacked = Vec::new();
            let result = decompress(compression, &packed, 1 << 20, &mut unpacked);
            assert!(matches!(result, Err(DecompressError::TooLarge(1_048_576))), "{compression:?}: {result:?}");
            assert!(unpacked.capacity() <= 4 << 20, "{compression:?} took {}", unpacked.capacity());
        }
    }

    /// What is broken, or stops at the cap, leaves nothing behind that the next batch of the thread would meet.
    #[test]
    fn each_begins_anew() {
        let bytes: Vec<u8> = (0..30_000u32).map(|byte| ((byte * byte) >> 5) as u8).collect();
        for compression in ALL {
            let (mut packed, mut unpacked) = (Vec::new(), Vec::new());
            compress(compression, -1, &bytes, &mut packed);
            for length in (0..packed.len()).step_by(97) {
                let _ = decompress(compression, &packed[..length], bytes.len(), &mut unpacked);
                let _ = decompress(compression, &packed, bytes.len() / 2, &mut unpacked);
                decompress(compression, &packed, bytes.len(), &mut unpacked).unwrap();
                assert_eq!(unpacked, bytes, "{compression:?} after {length} bytes");
            }
        }
    }

    /// A packed form cut anywhere is an error or a shorter result, never a panic.
    #[test]
    fn cut_anywhere() {
        let bytes: Vec<u8> = (0..3000u32).map(|byte| ((byte * byte) >> 3) as u8).collect();
        for compression in ALL {
            let mut packed = Vec::new();
            compress(compression, -1, &bytes, &mut packed);
            for length in 0..packed.len() {
                let mut unpacked = Vec::new();
                if decompress(compression, &packed[..length], 1 << 20, &mut unpacked).is_ok() {
                    assert!(bytes.starts_with(&unpacked));
                }
            }
        }
    }
}
