//! The one door that releases the GIL.
//!
//! Every call from Python that may take a lock, touch a disk or wait goes through [`released`]: a thread that waits
//! inside Rust never keeps Python from running, and no Rust lock is ever taken while the GIL is held, so that the two
//! cannot deadlock.

use pyo3::Python;
use pyo3::marker::Ungil;

/// Runs `work` without the GIL.
pub fn released<T: Ungil + Send>(py: Python<'_>, work: impl FnOnce() -> T + Ungil + Send) -> T {
    py.detach(work)
}
