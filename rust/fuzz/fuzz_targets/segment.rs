//! See checks/segment.rs, which also runs over seeds/ on stable.

#![no_main]

#[path = "../checks/segment.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
