//! Waiting for something that others bring about, and tell of.

use tokio::sync::Notify;

/// Returns once it is so. Who makes it so calls `notify_waiters` afterwards.
pub async fn until(told: &Notify, is_so: impl Fn() -> bool) {
    loop {
        // Listens from here on, before it looks: what is told in between is not missed.
        let told = told.notified();
        if is_so() {
            return;
        }
        told.await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    /// What is told between a look and the wait is heard, and being told is not enough.
    #[test]
    fn nothing_is_missed() {
        let (told, looks) = (Notify::new(), Cell::new(0));
        let waits = until(&told, || {
            looks.set(looks.get() + 1);
            told.notify_waiters();
            looks.get() == 3
        });
        assert!(pin!(waits).poll(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(looks.get(), 3);
    }
}
