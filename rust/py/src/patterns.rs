//! Subscriptions by regular expression, and the hash that tells whether topics have changed.
//!
//! The syntax is RE2's, which Kafka's consumer protocol asks for, as far as the `regex` crate has it: matching takes time
//! linear in the text, whatever the pattern. `\Q...\E`, which Java's clients write around a literal, is translated. Left
//! out: `\C`; and in a class `&&`, `--` and `~~` are operators here.

use pyo3::prelude::*;
use regex::{Regex, RegexBuilder};

use crate::gil;

/// Of one compiled pattern: a counted repetition in a counted repetition grows with their product.
const COMPILED_BYTES_MAX: usize = 1 << 20;
const PATTERN_BYTES_MAX: usize = 16 * 1024;

#[pyfunction]
pub fn check_pattern(pattern: &str) -> Option<String> {
    compile(pattern).err()
}

#[pyfunction]
pub fn match_patterns(py: Python<'_>, patterns: Vec<String>, names: Vec<String>) -> Vec<Vec<String>> {
    gil::released(py, || {
        patterns
            .iter()
            .map(|pattern| match compile(pattern) {
                Ok(regex) => names.iter().filter(|name| regex.is_match(name)).cloned().collect(),
                Err(_) => Vec::new(),
            })
            .collect()
    })
}

#[pyfunction]
pub fn xxh3_64(data: &[u8]) -> u64 {
    twox_hash::XxHash3_64::oneshot(data)
}

/// A pattern that has to match the whole of a text.
fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(format!("longer than {PATTERN_BYTES_MAX} bytes"));
    }
    let pattern = unquoted(pattern);
    // Alone first: `a)(b` is none, though it would be one between the brackets.
    build(&pattern)?;
    // Where the pattern ends in a comment (flag x), a new line ends that.
    build(&format!(r"\A(?:{pattern})\z")).or_else(|_| build(&format!("\\A(?:{pattern}\n)\\z")))
}

fn build(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).build().map_err(|error| match error {
        regex::Error::Syntax(text) => text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
        other => other.to_string(),
    })
}

/// What stands between `\Q` and `\E` (or the end) as a literal.
fn unquoted(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at..];
        if let Some(quoted) = escape.strip_prefix(r"\Q") {
            let (literal, after) = quoted.split_once(r"\E").unwrap_or((quoted, ""));
            out.push_str(&regex::escape(literal));
            rest = after;
        } else {
            // A backslash and what it escapes stay together, so that `\\Q` is a backslash and a Q.
            let end = escape.char_indices().nth(2).map_or(escape.len(), |(index, _)| index);
            out.push_str(&escape[..end]);
            rest = &escape[end..];
        }
    }
    out.push_str(rest);
    out
}
