//! CRC32C of something new before bytes whose checksum is known, for the price of 32 steps.
//!
//! What the front's checksum adds is its own, moved on by the length of what follows: a linear map of 32 bits, the same for each front
//! (zlib's `crc32_combine`). The library makes that map anew for each call, 5 us; here it is made once for each batch.

use crc_fast::CrcAlgorithm::Crc32Iscsi;
use crc_fast::{checksum, checksum_combine};

/// Castagnoli's polynomial, its lowest power in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

#[derive(Debug)]
pub struct Checksummed {
    crc: u32,
    /// Where each bit of the front's checksum comes to be.
    moved: [u32; 32],
}

impl Checksummed {
    pub fn new(bytes: &[u8]) -> Checksummed {
        let mut moved = [0; 32];
        // The highest bit is the power 0; each bit below is one power more.
        let mut power = checksum_combine(Crc32Iscsi, 1 << 31, 0, bytes.len() as u64) as u32;
        for bit in moved.iter_mut().rev() {
            *bit = power;
            power = (power >> 1) ^ if power & 1 == 1 { POLYNOMIAL } else { 0 };
        }
        Checksummed { crc: checksum(Crc32Iscsi, bytes) as u32, moved }
    }

    /// The checksum of both, the front's being this.
    pub fn behind(&self, mut front: u32) -> u32 {
        let mut crc = self.crc;
        for bit in self.moved {
            crc ^= bit & (front & 1).wrapping_neg();
            front >>= 1;
        }
        crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if both had been hashed together, for fronts of all kinds and what follows of any length.
    #[test]
    fn fronts_and_lengths() {
        let bytes: Vec<u8> = (0..100_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for length in [0, 1, 2, 7, 61, 100, 4096, 65_537, 90_000] {
            let rest = &bytes[..length];
            let checksummed = Checksummed::new(rest);
            for front in [&bytes[90_000..], &bytes[5..6], b"", &[0; 40], &[0xff; 49]] {
                let whole = checksum(Crc32Iscsi, &[front, rest].concat()) as u32;
                assert_eq!(
                    checksummed.behind(checksum(Crc32Iscsi, front) as u32),
                    whole,
                    "{length} after {}",
                    front.len()
                );
            }
        }
    }
}
