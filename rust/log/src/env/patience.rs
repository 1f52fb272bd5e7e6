//! Whether this thread may wait for the disk.
//!
//! A thread that serves many connections looks things up with [`without_waiting`]: what is in memory it gets, and where the disk would
//! have to be waited for the look-up ends with [`io::ErrorKind::WouldBlock`]; it is then made again by a thread that may wait. It is the
//! thread that is told, not each call on the way down: the kernel treats what must not wait the same way.

use std::cell::Cell;
use std::io;

thread_local! {
    static MAY_WAIT: Cell<bool> = const { Cell::new(true) };
}

/// Does `work`, in which nothing waits for the disk: reads of what is not in memory fail, and so does opening a file.
pub fn without_waiting<T>(work: impl FnOnce() -> T) -> T {
    with(false, work)
}

/// Does `work` as whoever may wait. For a disk that has judged by itself whether this would.
pub(super) fn waiting<T>(work: impl FnOnce() -> T) -> T {
    with(true, work)
}

fn with<T>(may_wait: bool, work: impl FnOnce() -> T) -> T {
    /// Also when `work` panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            MAY_WAIT.set(self.0);
        }
    }
    let _before = Before(MAY_WAIT.replace(may_wait));
    work()
}

/// Whether whoever asks may wait for the disk. Disks ask.
pub fn may_wait() -> bool {
    MAY_WAIT.get()
}

/// The error of what would have to wait.
pub fn would_wait() -> io::Error {
    io::Error::from(io::ErrorKind::WouldBlock)
}

/// Fails where waiting is not allowed: stands before what is never quick.
pub fn allow_waiting() -> io::Result<()> {
    if may_wait() { Ok(()) } else { Err(would_wait()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It ends with the work, also when that panics, and nests.
    #[test]
    fn ends_with_the_work() {
        assert!(may_wait());
        without_waiting(|| {
            assert!(!may_wait());
            without_waiting(|| assert!(allow_waiting().is_err()));
            waiting(|| assert!(allow_waiting().is_ok()));
            assert!(!may_wait());
        });
        assert!(std::panic::catch_unwind(|| without_waiting(|| panic!("on purpose"))).is_err());
        assert!(may_wait() && allow_waiting().is_ok());
    }
}
