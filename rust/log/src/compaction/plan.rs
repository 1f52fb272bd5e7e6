//! What may be cleaned, whether it is time, and which segments become one: a pure choice over facts, so that a test can print it.
//!
//! Clean is what lies below the offset the last pass reached. Dirty is what follows, up to where cleaning must stop: the segment being
//! written, the first offset that is not stable (an open transaction, the high watermark), or the first segment that is younger than
//! `min.compaction.lag.ms`. Rounded down to a segment. It is time when the dirty share of both is above `min.cleanable.dirty.ratio`, or
//! a dirty segment is older than `max.compaction.lag.ms`. Kafka's `LogCleanerManager.cleanableOffsets`.

use std::ops::Range;

use crate::Offset;

/// What the choice needs to know of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    pub base_offset: Offset,
    pub bytes: u64,
    /// Asked for only where `min.compaction.lag.ms` is set.
    pub largest_timestamp_ms: i64,
    /// Of the first batch; asked for only where `max.compaction.lag.ms` is set.
    pub first_timestamp_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub log_start: Offset,
    pub log_end: Offset,
    /// Everything below is committed to: no open transaction, below the high watermark, on disk.
    pub stable: Offset,
    /// Where the last pass ended.
    pub cleaned: Option<Offset>,
    pub now_ms: i64,
    pub dirty_ratio_min: f64,
    pub lag_min_ms: i64,
    pub lag_max_ms: i64,
}

/// Why the dirty part ends where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    BeingWritten,
    NotStable,
    TooYoung,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    DirtyEnough,
    /// Something dirty is older than `max.compaction.lag.ms`, by so much.
    Overdue(i64),
    NotDirtyEnough,
    NothingDirty,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    pub first_dirty: Offset,
    /// Begin of a segment; nothing from here on is touched.
    pub until: Offset,
    pub bound: Bound,
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
    pub verdict: Verdict,
}

impl Plan {
    pub fn dirty_ratio(&self) -> f64 {
        self.dirty_bytes as f64 / (self.clean_bytes + self.dirty_bytes).max(1) as f64
    }

    pub fn is_due(&self) -> bool {
        matches!(self.verdict, Verdict::DirtyEnough | Verdict::Overdue(_))
    }
}

/// Index of the segment that holds `offset`; 0 below the first.
fn holding(segments: &[SegmentFacts], offset: Offset) -> usize {
    segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
}

/// None without a closed segment. The last of `segments` is being written.
pub fn choose(segments: &[SegmentFacts], limits: &Limits) -> Option<Plan> {
    let (active, closed) = segments.split_last()?;
    closed.first()?;
    // An offset outside the log is from before a truncation, or from another life of it.
    let first_dirty =
        limits.cleaned.filter(|at| (limits.log_start..=limits.log_end).contains(at)).unwrap_or(limits.log_start);
    let dirty = if first_dirty < active.base_offset { &closed[holding(closed, first_dirty)..] } else { &[] };

    let (mut end, mut bound) = (active.base_offset, Bound::BeingWritten);
    if limits.stable < end {
        (end, bound) = (limits.stable, Bound::NotStable);
    }
    if limits.lag_min_ms > 0 {
        let young = limits.now_ms.saturating_sub(limits.lag_min_ms);
        if let Some(segment) = dirty.iter().find(|segment| segment.largest_timestamp_ms > young)
            && segment.base_offset < end
        {
            (end, bound) = (segment.base_offset, Bound::TooYoung);
        }
    }
    let end = end.max(first_dirty);
    let until =
        if end >= active.base_offset { active.base_offset } else { segments[holding(segments, end)].base_offset };

    let before = |segment: &&SegmentFacts| segment.base_offset < until;
    let dirty_bytes = dirty.iter().filter(before).map(|segment| segment.bytes).sum();
    let clean_bytes =
        closed.iter().filter(|segment| segment.base_offset < first_dirty).map(|segment| segment.bytes).sum();
    let mut plan = Plan { first_dirty, until, bound, clean_bytes, dirty_bytes, verdict: Verdict::NothingDirty };
    if dirty_bytes > 0 && first_dirty < until {
        let oldest_ms = dirty.iter().map(|segment| segment.first_timestamp_ms).filter(|at| *at > 0).min();
        let overdue_ms =
            limits.now_ms.saturating_sub(limits.lag_max_ms.max(0)).saturating_sub(oldest_ms.unwrap_or(i64::MAX));
        plan.verdict = if overdue_ms > 0 {
            Verdict::Overdue(overdue_ms)
        } else if plan.dirty_ratio() > limits.dirty_ratio_min {
            Verdict::DirtyEnough
        } else {
            Verdict::NotDirtyEnough
        };
    }
    Some(plan)
}

/// Which neighbours become one segment: as many as together are no longer than a segment may be, so that segments do not shrink to
/// crumbs. An index entry holds 31 bits of offset, and no more than `index_bytes_max` of either index may come together.
pub fn group(
    segments: &[SegmentFacts],
    index_bytes: &[(u64, u64)],
    until: Offset,
    segment_bytes_max: u64,
    index_bytes_max: u64,
) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let (mut bytes, mut indexes) = (0, (0, 0));
    for (at, segment) in segments.iter().enumerate() {
        let own = index_bytes.get(at).copied().unwrap_or_default();
        let last_offset = segments.get(at + 1).map_or(until, |next| next.base_offset) - 1;
        if let Some(group) = groups.last_mut()
            && bytes + segment.bytes <= segment_bytes_max
            && indexes.0 + own.0 <= index_bytes_max
            && indexes.1 + own.1 <= index_bytes_max
            && last_offset - segments[group.start].base_offset <= i64::from(i32::MAX)
        {
            group.end = at + 1;
            bytes += segment.bytes;
            indexes = (indexes.0 + own.0, indexes.1 + own.1);
            continue;
        }
        groups.push(at..at + 1);
        (bytes, indexes) = (segment.bytes, own);
    }
    groups
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// One script line: segments as `base/bytes@largest`, the last being written, limits as words; then the plan and its groups.
    fn run(script: &str) -> String {
        let mut output = String::new();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let question = line.split("=>").next().unwrap().trim();
            let spaced = format!("{question} ");
            let mut segments = Vec::new();
            let mut limits = Limits {
                log_start: 0,
                log_end: 1000,
                stable: i64::MAX,
                cleaned: None,
                now_ms: 1000,
                dirty_ratio_min: 0.5,
                lag_min_ms: 0,
                lag_max_ms: i64::MAX,
            };
            let mut segment_bytes_max = 100;
            for word in question.split_whitespace() {
                if let Some((name, value)) = word.split_once('=') {
                    let number = || value.parse::<i64>().unwrap();
                    match name {
                        "start" => limits.log_start = number(),
                        "end" => limits.log_end = number(),
                        "stable" => limits.stable = number(),
                        "cleaned" => limits.cleaned = Some(number()),
                        "now" => limits.now_ms = number(),
                        "ratio" => limits.dirty_ratio_min = value.parse().unwrap(),
                        "lag" => limits.lag_min_ms = number(),
                        "maxlag" => limits.lag_max_ms = number(),
                        "segment" => segment_bytes_max = number() as u64,
                        _ => panic!("{name}"),
                    }
                } else {
                    let (base, rest) = word.split_once('/').unwrap();
                    let (bytes, time) = rest.split_once('@').unwrap_or((rest, "0"));
                    let time = time.parse().unwrap();
                    segments.push(SegmentFacts {
                        base_offset: base.parse().unwrap(),
                        bytes: bytes.parse().unwrap(),
                        largest_timestamp_ms: time,
                        first_timestamp_ms: time,
                    });
                }
            }
            write!(output, "{}=> ", spaced.trim_start()).unwrap();
            let Some(plan) = choose(&segments, &limits) else {
                output.push_str("-\n");
                continue;
            };
            write!(output, "{}..{} {:?} {:?} ", plan.first_dirty, plan.until, plan.bound, plan.verdict).unwrap();
            write!(output, "{}+{}", plan.clean_bytes, plan.dirty_bytes).unwrap();
            if plan.is_due() {
                let touched: Vec<SegmentFacts> =
                    segments.iter().copied().filter(|segment| segment.base_offset < plan.until).collect();
                let sizes: Vec<(u64, u64)> = touched.iter().map(|segment| (segment.bytes / 10, 0)).collect();
                for group in group(&touched, &sizes, plan.until, segment_bytes_max, 30) {
                    let bases: Vec<String> = touched[group].iter().map(|one| one.base_offset.to_string()).collect();
                    write!(output, " [{}]", bases.join(" ")).unwrap();
                }
            }
            output.push('\n');
        }
        output
    }

    /// The golden script: each line says what would be cleaned and why, or why not.
    #[test]
    fn golden() {
        let script = include_str!("plan.golden");
        let expected: String = script
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(run(script), expected);
    }
}
