//! What the values of records are.

use std::fs::File;
use std::io::Read;

use crate::Outcome;
use crate::flags::Flags;

/// More than this is not read of a file: its beginning will do.
const FILE_BYTES_MAX: u64 = 256 << 20;
const MADE_UP: usize = 1024;

/// Values that come round again and again.
#[derive(Debug)]
pub struct Payload {
    values: Vec<Vec<u8>>,
}

impl Payload {
    pub fn from_flags(flags: &mut Flags, record_bytes: usize) -> Outcome<Payload> {
        let record_bytes: usize = flags.number("record-bytes", record_bytes)?;
        let random_part: f64 = flags.number("compress-to", 1.0)?;
        match flags.text("payload") {
            Some(path) => Payload::lines(&path),
            None if record_bytes > 16 << 20 => Err("--record-bytes is at most 16777216".to_owned()),
            None => Ok(Payload::made_up(record_bytes, random_part.clamp(0.0, 1.0))),
        }
    }

    fn lines(path: &str) -> Outcome<Payload> {
        let mut text = Vec::new();
        File::open(path)
            .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text))
            .map_err(|error| format!("{path}: {error}"))?;
        let values: Vec<Vec<u8>> =
            text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
        if values.is_empty() { Err(format!("{path} holds no lines")) } else { Ok(Payload { values }) }
    }

    /// The first `random_part` of each value is random, the rest is one letter.
    fn made_up(bytes: usize, random_part: f64) -> Payload {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            // xorshift64*: the same bytes in every run.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
        };
        let random_bytes = (bytes as f64 * random_part).round() as usize;
        let many = (MADE_UP * 1024 / bytes.max(1)).clamp(1, MADE_UP);
        let values =
            (0..many).map(|_| (0..bytes).map(|at| if at < random_bytes { random() } else { b'x' }).collect()).collect();
        Payload { values }
    }

    pub fn value(&self, number: usize) -> &[u8] {
        &self.values[number % self.values.len()]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ottla_log::batch::Compression;
    use ottla_log::batch::compression::compress;

    use super::*;

    /// Made-up values compress to about what was asked for.
    #[test]
    fn compressibility() {
        for part in [0.0, 0.25, 1.0] {
            let payload = Payload::made_up(1000, part);
            let all: Vec<u8> = (0..50).flat_map(|number| payload.value(number).to_vec()).collect();
            let mut packed = Vec::new();
            compress(Compression::Zstd, 3, &all, &mut packed);
            let ratio = packed.len() as f64 / all.len() as f64;
            assert!((ratio - part).abs() < 0.05, "{part}: {ratio}");
        }
        assert_ne!(Payload::made_up(100, 1.0).value(0), Payload::made_up(100, 1.0).value(1));
        assert_eq!(Payload::made_up(0, 1.0).value(5), b"");
    }

    /// A file's lines, without their ends; a file without lines is refused.
    #[test]
    fn lines_of_a_file() {
        let path = std::env::temp_dir().join(format!("ottla-load-lines-{}", std::process::id()));
        fs::write(&path, "{\"a\":1}\n\n{\"b\":2}").unwrap();
        let payload = Payload::lines(path.to_str().unwrap()).unwrap();
        assert_eq!(
            (payload.value(0), payload.value(1), payload.value(2)),
            (&b"{\"a\":1}"[..], &b"{\"b\":2}"[..], &b"{\"a\":1}"[..])
        );
        fs::write(&path, "\n").unwrap();
        assert!(Payload::lines(path.to_str().unwrap()).is_err());
        fs::remove_file(&path).unwrap();
    }
}
