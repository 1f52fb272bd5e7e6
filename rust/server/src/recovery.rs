//! What is done to many partitions at once: the first look after a crash at everything that has files, and closing all at a stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla_log::{Partition, StorageError};
use parking_lot::Mutex;

use crate::image::Image;
use crate::replica::Replica;
use crate::slow_stop::SlowStop;

/// So many partitions are closed at once. Each waits for a few syncs, and the file system makes one of those that come together.
const CLOSING_THREADS: usize = 16;

/// Opens what has files: `threads` for each data directory, so that one slow disk does not hold up the others.
pub fn open_in_parallel(image: &Image, paths: &[PathBuf], threads: usize) {
    let mut waiting: Vec<Vec<Arc<Replica>>> = paths.iter().map(|_| Vec::new()).collect();
    for state in image.by_name.values().flat_map(|topic| &topic.partitions) {
        let directory = state.replica.path().parent();
        let place = paths.iter().position(|path| Some(path.as_path()) == directory);
        if let (true, Some(place)) = (state.replica.has_files(), place) {
            waiting[place].push(Arc::clone(&state.replica));
        }
    }
    let waiting: Vec<Mutex<Vec<Arc<Replica>>>> = waiting.into_iter().map(Mutex::new).collect();
    std::thread::scope(|scope| {
        for directory in &waiting {
            for _ in 0..threads.clamp(1, directory.lock().len().max(1)) {
                scope.spawn(|| {
                    while let Some(replica) = { directory.lock().pop() } {
                        // A failure is logged where it happens, and the partition answers with it.
                        let _ = replica.partition();
                    }
                });
            }
        }
    });
}

/// Closes all of them; those that failed, in their order.
pub(crate) fn close_in_parallel<'a>(
    opened: &'a [Arc<Partition>],
    slow: &SlowStop,
) -> Vec<(&'a Arc<Partition>, StorageError)> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..CLOSING_THREADS.min(opened.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(partition) = opened.get(at) else { return };
                    slow.closing(at, partition.path(), opened.len());
                    if let Err(failure) = partition.close() {
                        failures.lock().push((at, failure));
                    }
                    slow.closed(at);
                }
            });
        }
    });
    let mut failures = failures.into_inner();
    failures.sort_unstable_by_key(|(at, _)| *at);
    let alone = |(at, failure): (usize, StorageError)| {
        let partition = &opened[at];
        // On a full disk they take the reserve away from each other; one by one there is room.
        let failure = if failure.is_no_room() { partition.close().err()? } else { failure };
        Some((partition, failure))
    };
    failures.into_iter().filter_map(alone).collect()
}
