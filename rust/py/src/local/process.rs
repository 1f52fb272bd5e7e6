//! A forked child has copies of our objects and none of the threads behind them. Locks may be held for ever there by threads that are
//! gone, so a child touches nothing: every call is refused, and what is dropped is left as it is.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

use super::refusal;

/// How many forks this process is away from the one that loaded the module.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// See `_core.pyi`.
#[pyfunction]
pub fn after_fork_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Something of the process that made it.
pub struct Owned<T> {
    /// None only while it is dropped.
    value: Option<T>,
    forks: u64,
}

impl<T> Owned<T> {
    pub fn new(value: T) -> Owned<T> {
        Owned { value: Some(value), forks: FORKS.load(Ordering::Relaxed) }
    }

    pub fn is_ours(&self) -> bool {
        self.forks == FORKS.load(Ordering::Relaxed)
    }

    /// # Errors
    /// `Forked`: this is another process.
    pub fn get(&self) -> PyResult<&T> {
        match &self.value {
            Some(value) if self.is_ours() => Ok(value),
            _ => Err(refusal::forked()),
        }
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self) -> PyResult<&mut T> {
        if !self.is_ours() {
            return Err(refusal::forked());
        }
        self.value.as_mut().ok_or_else(refusal::forked)
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.is_ours() {
            std::mem::forget(self.value.take());
        }
    }
}
