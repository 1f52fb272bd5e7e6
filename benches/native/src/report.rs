//! One flat JSON object, fields in the order they were told.

use rustix::time::{ClockId, clock_gettime};

use crate::latency::Latency;

#[derive(Debug, Default)]
pub struct Report {
    fields: Vec<(String, String)>,
}

impl Report {
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    pub fn text(&mut self, name: &str, value: &str) {
        self.put(name, quoted(value));
    }

    pub fn count(&mut self, name: &str, value: u64) {
        self.put(name, value.to_string());
    }

    /// Not a number is null.
    pub fn number(&mut self, name: &str, value: f64) {
        self.put(name, if value.is_finite() { format!("{value:.6}") } else { "null".to_owned() });
    }

    pub fn object(&mut self, name: &str, object: &Report) {
        self.put(name, object.json());
    }

    /// In microseconds; nothing was measured: null.
    pub fn latency(&mut self, name: &str, latency: &Latency) {
        let mut told = Report::default();
        for (name, value) in latency.figures_us() {
            told.number(name, value);
        }
        told.count("count", latency.count());
        self.object(name, &told);
    }

    fn put(&mut self, name: &str, json: String) {
        self.fields.push((name.to_owned(), json));
    }

    pub fn json(&self) -> String {
        let fields: Vec<String> =
            self.fields.iter().map(|(name, value)| format!("{}: {value}", quoted(name))).collect();
        format!("{{{}}}", fields.join(", "))
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            character if u32::from(character) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            character => out.push(character),
        }
    }
    out.push('"');
    out
}

fn clock_ns(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The same clock in every process of a machine.
pub fn now_ns() -> u64 {
    clock_ns(ClockId::Monotonic)
}

/// What a record says of its time.
pub fn wall_ms() -> i64 {
    (clock_ns(ClockId::Realtime) / 1_000_000) as i64
}

/// User and system time of this thread.
pub fn thread_cpu_s() -> f64 {
    clock_ns(ClockId::ThreadCPUTime) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quotes, control characters and what is no number leave JSON whole.
    #[test]
    fn json_stays_json() {
        let mut report = Report::default();
        report.text("a\"b", "c\\\n");
        report.number("n", f64::NAN);
        report.count("k", u64::MAX);
        assert_eq!(report.json(), "{\"a\\\"b\": \"c\\\\\\u000a\", \"n\": null, \"k\": 18446744073709551615}");
    }
}
