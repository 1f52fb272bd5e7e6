//! See checks/batch.rs, which also runs over seeds/ on stable.

#![no_main]

#[path = "../checks/batch.rs"]
mod check;

libfuzzer_sys::fuzz_target!(|data: &[u8]| check::check(data));
