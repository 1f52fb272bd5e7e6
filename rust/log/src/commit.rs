//! Group commits.

use std::sync::Arc;

use crate::env::Env;

/// What the partitions of one engine share: disk and clock, and the threads that commit.
#[derive(Debug)]
pub struct Host {
    env: Env,
}

impl Host {
    /// `threads` commit threads; 0: every append in `fsync` mode syncs before it returns.
    pub fn new(env: Env, threads: usize) -> Arc<Host> {
        let _ = threads;
        Arc::new(Host { env })
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Finishes what was begun and ends the threads.
    pub fn stop(&self) {}
}
