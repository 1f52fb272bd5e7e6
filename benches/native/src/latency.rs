//! How long things took, kept by HdrHistogram: three digits, from a microsecond to a minute and beyond.

use hdrhistogram::Histogram;

use crate::Outcome;

#[derive(Debug)]
pub struct Latency {
    ns: Histogram<u64>,
}

impl Latency {
    pub fn new() -> Outcome<Latency> {
        let mut ns = Histogram::new_with_bounds(1_000, 60_000_000_000, 3).map_err(|error| error.to_string())?;
        ns.auto(true);
        Ok(Latency { ns })
    }

    /// From one time of the monotonic clock to another; what comes before its time took nothing.
    pub fn record(&mut self, from_ns: u64, to_ns: u64) {
        self.ns.saturating_record(to_ns.saturating_sub(from_ns));
    }

    pub fn count(&self) -> u64 {
        self.ns.len()
    }

    pub fn figures_us(&self) -> [(&'static str, f64); 6] {
        let at = |part: f64| if self.ns.is_empty() { f64::NAN } else { self.ns.value_at_quantile(part) as f64 / 1e3 };
        let max = if self.ns.is_empty() { f64::NAN } else { self.ns.max() as f64 / 1e3 };
        [
            ("p50_us", at(0.5)),
            ("p90_us", at(0.9)),
            ("p99_us", at(0.99)),
            ("p99.9_us", at(0.999)),
            ("p99.99_us", at(0.9999)),
            ("max_us", max),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Percentiles of a thousand known times, and none of none.
    #[test]
    fn percentiles() {
        let mut latency = Latency::new().unwrap();
        assert!(latency.figures_us().iter().all(|(_, value)| value.is_nan()));
        for number in 1..=1000u64 {
            latency.record(500, 500 + number * 1_000_000);
        }
        let figures = latency.figures_us();
        for (at, expected_ms) in [(0, 500.0), (1, 900.0), (2, 990.0), (3, 999.0), (5, 1000.0)] {
            let found_ms = figures[at].1 / 1e3;
            assert!((found_ms - expected_ms).abs() <= expected_ms * 0.002, "{} {found_ms}", figures[at].0);
        }
        latency.record(9, 3);
        assert_eq!(latency.count(), 1001);
    }
}
