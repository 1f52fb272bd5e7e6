//! The inputs of the fuzz targets, without a fuzzer (rust/fuzz).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "../../fuzz/checks/corpus.rs"]
mod corpus;

#[path = "../../fuzz/checks/batch.rs"]
mod batch;

#[path = "../../fuzz/checks/segment.rs"]
mod segment;

#[path = "../../fuzz/checks/index.rs"]
mod index;

#[test]
fn batch_inputs() {
    corpus::replay("batch", batch::check);
}

#[test]
fn segment_inputs() {
    corpus::replay("segment", segment::check);
}

#[test]
fn index_inputs() {
    corpus::replay("index", index::check);
}
