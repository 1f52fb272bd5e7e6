//! The inputs of the fuzz targets, without a fuzzer (rust/fuzz).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../fuzz/checks/corpus.rs"]
mod corpus;

#[path = "../../fuzz/checks/frame.rs"]
mod frame;

#[test]
fn frame_inputs() {
    corpus::replay("frame", frame::check);
}
