//! Which segments may go: a pure choice over facts, so that a test can print it.
//!
//! Always a run from the oldest segment on, and never one that holds anything at or above the high watermark. In Kafka's order:
//! those wholly below the log start, then those whose youngest record is older than `retention.ms`, then the oldest while the log
//! without them is still at least `retention.bytes` long. The segment being written may go too when it is not empty: the log is then
//! rolled first, so that one always remains.

use crate::Offset;

/// What the choice needs to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    pub base_offset: Offset,
    /// Where the next segment begins, or the log ends.
    pub end_offset: Offset,
    pub bytes: u64,
    pub largest_timestamp_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub log_start: Offset,
    pub high_watermark: Offset,
    pub now_ms: i64,
    /// None: no limit, or `cleanup.policy` has no `delete`.
    pub retention_ms: Option<i64>,
    pub retention_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// All its records lie before the log start (DeleteRecords, or a snapshot).
    BeforeLogStart,
    TooOld,
    TooMuch,
}

/// Why each of the leading segments goes; the first that stays ends the list.
pub fn choose(segments: &[SegmentFacts], limits: &Limits) -> Vec<Reason> {
    let total: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut over = limits.retention_bytes.map_or(0, |limit| total.saturating_sub(limit));
    let mut reasons = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        if segment.end_offset > limits.high_watermark || (is_last && segment.bytes == 0) {
            break;
        }
        let old =
            limits.retention_ms.is_some_and(|limit| limits.now_ms.saturating_sub(segment.largest_timestamp_ms) > limit);
        let reason = if segment.end_offset <= limits.log_start && !is_last {
            Reason::BeforeLogStart
        } else if old {
            Reason::TooOld
        } else if segment.bytes <= over && over > 0 {
            Reason::TooMuch
        } else {
            break;
        };
        over = over.saturating_sub(segment.bytes);
        reasons.push(reason);
    }
    reasons
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// One script line: segments as `base..end/bytes@time`, limits as words, and what goes.
    fn run(script: &str) -> String {
        let mut output = String::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let question = line.split(" => ").next().unwrap().trim();
            let mut segments = Vec::new();
            let mut limits = Limits {
                log_start: 0,
                high_watermark: i64::MAX,
                now_ms: 1000,
                retention_ms: None,
                retention_bytes: None,
            };
            for word in question.split_whitespace() {
                if let Some((name, value)) = word.split_once('=') {
                    let value: i64 = value.parse().unwrap();
                    match name {
                        "start" => limits.log_start = value,
                        "hw" => limits.high_watermark = value,
                        "now" => limits.now_ms = value,
                        "ms" => limits.retention_ms = Some(value),
                        "bytes" => limits.retention_bytes = Some(value as u64),
                        _ => panic!("{name}"),
                    }
                } else {
                    let (range, rest) = word.split_once('/').unwrap();
                    let (base, end) = range.split_once("..").unwrap();
                    let (bytes, time) = rest.split_once('@').unwrap();
                    segments.push(SegmentFacts {
                        base_offset: base.parse().unwrap(),
                        end_offset: end.parse().unwrap(),
                        bytes: bytes.parse().unwrap(),
                        largest_timestamp_ms: time.parse().unwrap(),
                    });
                }
            }
            let went: Vec<String> = choose(&segments, &limits).iter().map(|reason| format!("{reason:?}")).collect();
            writeln!(output, "{question} => {}", if went.is_empty() { "-".to_owned() } else { went.join(" ") })
                .unwrap();
        }
        output
    }

    /// The golden script: each line says which segments go and why.
    #[test]
    fn golden() {
        let script = include_str!("retention.golden");
        let expected: String = script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(run(script), expected);
    }
}
