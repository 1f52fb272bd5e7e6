//! How often something happens, and how long the next must wait for it not to be too often: Kafka's `Rate` with a `Quota`
//! (`quota.window.num`, `quota.window.size.seconds`).
//!
//! What happened is counted in samples of one window each. The rate is all of it over the time since the first sample that
//! still counts, but over all windows but one at least: after a rest so many windows' worth may come at once.

use std::collections::VecDeque;
use std::time::Duration;

/// How a rate is measured.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    pub count: u32,
    pub each: Duration,
}

struct Sample {
    start_ms: i64,
    last_ms: i64,
    count: u64,
}

/// What happened in the last windows.
pub struct Rate {
    windows: Windows,
    samples: VecDeque<Sample>,
}

impl Rate {
    #[must_use]
    pub fn new(windows: Windows) -> Self {
        Self { windows, samples: VecDeque::new() }
    }

    /// Counts one more, and returns how long that one must wait if there may be `max` in a second: one window at most.
    pub fn record(&mut self, now_ms: i64, max: u32) -> Duration {
        let window_ms = i64::try_from(self.windows.each.as_millis()).unwrap_or(i64::MAX).max(1);
        let windows = i64::from(self.windows.count);
        let kept_ms = windows.saturating_mul(window_ms);
        while self.samples.front().is_some_and(|first| now_ms.saturating_sub(first.last_ms) >= kept_ms) {
            self.samples.pop_front();
        }
        match self.samples.back_mut() {
            Some(last) if now_ms.saturating_sub(last.start_ms) < window_ms => {
                last.count += 1;
                last.last_ms = now_ms;
            }
            _ => self.samples.push_back(Sample { start_ms: now_ms, last_ms: now_ms, count: 1 }),
        }
        let elapsed_ms = self.samples.front().map_or(0, |first| now_ms.saturating_sub(first.start_ms).max(0));
        let missing = (windows - 1 - elapsed_ms / window_ms).max(0);
        let measured_ms = elapsed_ms.saturating_add(missing.saturating_mul(window_ms)).max(1);
        let count: u64 = self.samples.iter().map(|sample| sample.count).sum();
        // So long it takes until `count` are as many as there may be.
        let max = u64::from(max);
        let needed_ms = count.saturating_mul(1000).saturating_add(max / 2).checked_div(max).unwrap_or(u64::MAX);
        let needed_ms = i64::try_from(needed_ms);
        let wait_ms = needed_ms.unwrap_or(i64::MAX).saturating_sub(measured_ms).clamp(0, window_ms);
        Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: Windows = Windows { count: 11, each: Duration::from_secs(1) };

    fn ms(duration: Duration) -> i64 {
        i64::try_from(duration.as_millis()).unwrap()
    }

    /// Ten seconds' worth come at once; from then on each waits for its time.
    #[test]
    fn a_burst_goes_through_and_then_the_rate_is_kept() {
        let mut rate = Rate::new(WINDOWS);
        let mut now_ms = 5_000_000;
        for _ in 0..100 {
            assert_eq!(rate.record(now_ms, 10), Duration::ZERO);
        }
        let begun_ms = now_ms;
        for _ in 0..1000 {
            let wait = rate.record(now_ms, 10);
            assert!(wait <= Duration::from_millis(1000));
            now_ms += ms(wait);
        }
        let per_second = 1000 * 1000 / (now_ms - begun_ms);
        assert!((9..=11).contains(&per_second), "{per_second}");
    }

    /// The waits that Kafka 4.3.1 gives (`Rate`, `QuotaUtils.boundedThrottleTime`) where one comes every so often.
    #[test]
    fn waits_are_those_of_kafka() {
        let waits = |windows, max, apart_ms, of: std::ops::Range<i64>| -> Vec<_> {
            let mut rate = Rate::new(windows);
            let waits: Vec<_> = (0..of.end).map(|step| ms(rate.record(apart_ms * step, max))).collect();
            let (free, last) = waits.split_at(usize::try_from(of.start).unwrap());
            assert!(free.iter().all(|wait| *wait == 0), "{free:?}");
            last.to_vec()
        };
        assert_eq!(waits(WINDOWS, 2, 10, 20..25), [300, 790, 1000, 1000, 1000]);
        assert_eq!(waits(WINDOWS, 7, 13, 76..79), [12, 1000, 1000]);
        let wide = Windows { count: 4, each: Duration::from_secs(2) };
        assert_eq!(waits(wide, 3, 170, 23..26), [90, 2000, 2000]);
    }

    #[test]
    fn what_happened_is_forgotten() {
        let mut rate = Rate::new(WINDOWS);
        (0..40).for_each(|_| _ = rate.record(0, 2));
        assert_eq!(rate.record(10_999, 2), Duration::from_secs(1));
        // The first sample is gone, the other one not.
        assert_eq!(rate.record(11_000, 2), Duration::ZERO);
        assert_eq!(rate.samples.len(), 1);
    }

    /// Kafka lets one in for each window where none may come.
    #[test]
    fn none_at_all_waits_for_one_window_each() {
        let mut rate = Rate::new(WINDOWS);
        assert_eq!(rate.record(0, 0), Duration::from_secs(1));
        let mut other = Rate::new(Windows { count: 1, each: Duration::from_secs(3) });
        assert_eq!(other.record(i64::MAX, 0), Duration::from_secs(3));
    }
}
