//! One request as it came, without its length prefix, and the memory it holds.

use std::ops::{Deref, DerefMut};

use bytes::{Bytes, BytesMut};

use crate::memory::Lease;

/// Keeps its lease as long as its bytes.
pub struct Frame {
    bytes: BytesMut,
    lease: Option<Lease>,
}

impl Frame {
    #[must_use]
    pub fn new(bytes: BytesMut, lease: Option<Lease>) -> Self {
        Self { bytes, lease }
    }

    /// The bytes from `start` on, to be shared, and what must be kept as long as they are.
    #[must_use]
    pub fn split(self, start: usize) -> (Bytes, Option<Lease>) {
        (self.bytes.freeze().split_off(start), self.lease)
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Frame {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}
