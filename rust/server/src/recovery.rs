//! The first look after a crash at everything that has files.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::image::Image;
use crate::replica::Replica;

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
