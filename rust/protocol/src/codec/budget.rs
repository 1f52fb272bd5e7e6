//! How much memory one frame may become.

/// Memory that may still be taken.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    left: usize,
}

impl Budget {
    /// How many times its own size a frame may take once decoded.
    pub const TIMES_FRAME: usize = 32;

    /// What even the smallest frame may take: a message of some bytes is a struct of some hundred.
    pub const BYTES_MIN: usize = 16 * 1024;

    /// The budget of a frame of that size.
    #[must_use]
    pub const fn for_frame(bytes: usize) -> Self {
        let left = bytes.saturating_mul(Self::TIMES_FRAME);
        Self { left: if left < Self::BYTES_MIN { Self::BYTES_MIN } else { left } }
    }

    /// Takes `bytes`; false if there are not that many.
    #[must_use]
    pub const fn take(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}
