//! The flags of a producing load.

use ottla_log::batch::Compression;

use crate::Outcome;
use crate::batch::Cut;
use crate::flags::Flags;
use crate::payload::Payload;
use crate::report::Report;

/// What is usual for one of the commands.
#[derive(Debug)]
pub struct Preset {
    pub connections: usize,
    pub in_flight: usize,
    pub record_bytes: usize,
    pub batch_records: usize,
}

#[derive(Debug)]
pub struct Options {
    pub connections: usize,
    pub in_flight: usize,
    pub acks: i16,
    pub timeout_ms: i32,
    pub payload: Payload,
    pub cut: Cut,
    pub batches_per_request: usize,
    pub keys: usize,
    pub distinct: usize,
    pub idempotent: bool,
    pub duration_ns: u64,
    pub records: u64,
    /// Records per s; closed loop without.
    pub rate: Option<f64>,
}

pub fn compression(flags: &mut Flags) -> Outcome<Compression> {
    let name = flags.text("codec").unwrap_or_else(|| "none".to_owned());
    let all = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    all.into_iter().find(|codec| codec.name() == name).ok_or_else(|| format!("there is no codec {name}"))
}

pub fn cut(flags: &mut Flags, batch_records: usize) -> Outcome<Cut> {
    Ok(Cut {
        compression: compression(flags)?,
        level: flags.number("level", -1)?,
        bytes: flags.count("batch-bytes", 256 << 10)?.min(512 << 20),
        records: flags.count("batch-records", batch_records)?,
    })
}

impl Options {
    pub fn from_flags(flags: &mut Flags, preset: &Preset) -> Outcome<Options> {
        let options = Options {
            connections: flags.count("connections", preset.connections)?,
            in_flight: flags.count("in-flight", preset.in_flight)?,
            acks: match flags.text("acks").as_deref() {
                Some("0") => 0,
                None | Some("1") => 1,
                Some("all" | "-1") => -1,
                Some(other) => return Err(format!("--acks cannot be {other}")),
            },
            timeout_ms: flags.number("timeout-ms", 30_000)?,
            payload: Payload::from_flags(flags, preset.record_bytes)?,
            cut: cut(flags, preset.batch_records)?,
            batches_per_request: flags.count("batches-per-request", 1)?,
            keys: flags.number("keys", 0)?,
            distinct: flags.count("distinct", 8)?,
            idempotent: flags.on("idempotent"),
            duration_ns: flags.seconds_ns("seconds", 10.0)?,
            records: flags.number("records", u64::MAX)?,
            rate: flags.maybe("rate")?,
        };
        // Kafka remembers the last five batches of a producer, in order; without answers nothing tells a gap.
        if options.idempotent && (options.in_flight > 5 || options.acks != -1) {
            return Err("--idempotent wants --acks all and --in-flight 5 at most".to_owned());
        }
        if options.rate.is_some() && (options.acks == 0 || options.keys > 0) {
            return Err("--rate measures answers: not with --acks 0; nor with --keys".to_owned());
        }
        Ok(options)
    }

    pub fn tell(&self, report: &mut Report) {
        report.count("connections", self.connections as u64);
        report.count("in_flight", self.in_flight as u64);
        report.text("codec", self.cut.compression.name());
        report.text("loop", if self.rate.is_some() { "open" } else { "closed" });
        if let Some(rate) = self.rate {
            report.number("rate_per_s", rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &str) -> Outcome<Options> {
        let mut flags = Flags::read(words.split_whitespace().map(str::to_owned).collect())?;
        let options = Options::from_flags(&mut flags, &super::super::PRODUCE)?;
        flags.finish()?;
        Ok(options)
    }

    /// What cannot be meant together is refused.
    #[test]
    fn what_goes_together() {
        assert_eq!(options("--acks all --idempotent").unwrap().acks, -1);
        for wrong in
            ["--idempotent", "--idempotent --acks all --in-flight 6", "--rate 5 --acks 0", "--codec zip", "--acks 2"]
        {
            assert!(options(wrong).is_err(), "{wrong}");
        }
    }
}
