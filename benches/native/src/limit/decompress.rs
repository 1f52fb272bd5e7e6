//! `limit decompress`: unpacking batches, and nothing else. Each into the same buffer, as nothing else would be fair.

use std::hint::black_box;

use ottla_log::batch::Compression;
use ottla_log::batch::compression::decompress;

use crate::Outcome;
use crate::batch::Body;
use crate::flags::Flags;
use crate::payload::Payload;
use crate::produce::{GIB, cut};
use crate::report::{Report, now_ns, thread_cpu_s};
use crate::wire::words;

pub fn run(mut flags: Flags, report: &mut Report) -> Outcome<()> {
    let payload = Payload::from_flags(&mut flags, 1024)?;
    let cut = cut(&mut flags, usize::MAX)?;
    let distinct = flags.count("distinct", 64)?;
    let duration_ns = flags.seconds_ns("seconds", 5.0)?;
    flags.finish()?;
    if cut.compression == Compression::None {
        return Err("--codec is needed".to_owned());
    }
    let mut next = 0;
    let bodies: Vec<Body> =
        (0..distinct).map(|_| Body::make(&payload, &[], &mut next, &cut)).collect::<Outcome<_>>()?;
    let mut plain = Vec::new();
    let unpacked_max = cut.bytes + (1 << 20) + payload.value(0).len();
    let (begun_ns, cpu_s) = (now_ns(), thread_cpu_s());
    let (mut value_bytes, mut plain_bytes, mut packed_bytes) = (0, 0, 0);
    while now_ns() < begun_ns + duration_ns {
        for body in &bodies {
            decompress(cut.compression, black_box(&body.bytes), unpacked_max, &mut plain).map_err(words)?;
            black_box(&plain);
            value_bytes += body.value_bytes;
            plain_bytes += plain.len() as u64;
            packed_bytes += body.bytes.len() as u64;
        }
    }
    let cpu_s = thread_cpu_s() - cpu_s;
    report.text("codec", cut.compression.name());
    report.count("value_bytes", value_bytes);
    report.number("compressed_to", packed_bytes as f64 / plain_bytes as f64);
    report.number("limit_cpu_s", cpu_s);
    report.number("limit_cpu_s_per_gib", cpu_s * GIB / value_bytes as f64);
    Ok(())
}
