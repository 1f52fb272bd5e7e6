//! How many segments keep their files open. One that is opened when there are too many closes the one that was used least lately, so
//! that neither many partitions nor many segments run into the limit of descriptors (RLIMIT_NOFILE).
//!
//! A segment whose last appends are not synced keeps its descriptor as long as there is any other to close: the kernel tells of lost
//! writes only those who have the file open. Where there is no other, many give way at once, so that not every append to one partition
//! of very many looks at all of them.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::segment::Segment;

/// A segment has up to this many: the log and its two indexes.
const DESCRIPTORS_EACH: u64 = 3;
/// Sockets and everything else get as many as the segments.
const SHARE: u64 = 2;
const SEGMENTS_MIN: usize = 64;
/// So many give way when somebody finds no descriptor.
const SEGMENTS_CLOSED: usize = 8;
/// Where nothing is limited.
const SEGMENTS_MAX: usize = 65_536;
/// So many of them give way at once where none can do without, but not more than an eighth.
const CLOSED_AT_ONCE: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct OpenFiles {
    most: usize,
    /// Least lately opened, or seen to be used, first.
    segments: Mutex<VecDeque<Weak<Segment>>>,
}

impl OpenFiles {
    pub fn new(most: usize) -> OpenFiles {
        OpenFiles { most: most.max(1), segments: Mutex::default() }
    }

    /// As many as this process may have.
    pub fn for_this_process() -> OpenFiles {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let most = limit.map_or(SEGMENTS_MAX, |limit| {
            usize::try_from(limit / (SHARE * DESCRIPTORS_EACH))
                .unwrap_or(SEGMENTS_MAX)
                .clamp(SEGMENTS_MIN, SEGMENTS_MAX)
        });
        OpenFiles::new(most)
    }

    /// There is no descriptor left: closes those of a few segments that can do best without.
    pub fn make_room(&self) {
        let mut segments = self.segments.lock();
        let mut closed = 0;
        for must in [false, false, true] {
            for _ in 0..segments.len() {
                if closed == SEGMENTS_CLOSED {
                    return;
                }
                let Some(oldest) = segments.pop_front() else { return };
                let Some(found) = oldest.upgrade() else { continue };
                if found.close_files(must) {
                    closed += 1;
                } else {
                    segments.push_back(oldest);
                }
            }
        }
    }

    /// Call after a segment was read or written. How many segments had to be looked at for it.
    pub fn used(&self, segment: &Arc<Segment>) -> usize {
        if !segment.enter_list() {
            return 0;
        }
        let mut segments = self.segments.lock();
        segments.push_back(Arc::downgrade(segment));
        let mut looked_at = 0;
        // Twice round at most: in the first one everybody may have been used, or be waiting for its sync.
        for (must, most) in [(false, self.most), (true, self.most - (self.most / 8).min(CLOSED_AT_ONCE))] {
            if segments.len() <= self.most {
                break;
            }
            let mut left = segments.len();
            while segments.len() > most && left > 0 {
                left -= 1;
                looked_at += 1;
                let Some(oldest) = segments.pop_front() else { break };
                let Some(found) = oldest.upgrade() else { continue };
                if !found.close_files(must) {
                    segments.push_back(oldest);
                }
            }
        }
        looked_at
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::batch::builder::{BatchShape, build};
    use crate::batch::{BatchHeader, Compression, NewRecord};
    use crate::env::scratch::scratch_disk;

    /// As many segments as are asked for, each with an append that is not synced.
    fn written(count: usize) -> Vec<Arc<Segment>> {
        let disk = scratch_disk();
        let directory = Path::new("/d");
        disk.create_dir_all(directory).unwrap();
        let record = NewRecord { timestamp_ms: 0, key: None, value: None, headers: &[] };
        let batch = build(BatchShape::plain(Compression::None, -1), &[record]).unwrap();
        let header = BatchHeader::read(&batch).unwrap();
        let unsynced = |offset| {
            let segment = Segment::create(disk.as_ref(), directory, offset, 0).unwrap();
            segment.append(disk.as_ref(), &header, &batch, 4096).unwrap();
            Arc::new(segment)
        };
        (0..).take(count).map(unsynced).collect()
    }

    /// Where no segment can do without its files, appends to ever others look at a few of them each, not at all.
    #[test]
    fn written_in_turn() {
        const MOST: usize = 64;
        let open_files = OpenFiles::new(MOST);
        let segments = written(1_000);
        let mut looked_at = 0;
        for segment in &segments {
            looked_at += open_files.used(segment);
            assert!(open_files.segments.lock().len() <= MOST);
        }
        assert!(looked_at <= 20 * segments.len(), "{looked_at}");
        // Those that gave way come in again when they are written to.
        assert!(segments[0].enter_list());
        assert!(!segments[999].enter_list());
    }

    /// However many there are, one append takes their files from some hundred at most that are not synced.
    #[test]
    fn closed_by_one() {
        let (segments, most) = (written(4_097), 4_096);
        let open_files = OpenFiles::new(most);
        segments.iter().for_each(|segment| _ = open_files.used(segment));
        assert_eq!(open_files.segments.lock().len(), most - CLOSED_AT_ONCE);
        let closed = segments.iter().filter(|segment| segment.enter_list()).count();
        assert_eq!(closed, CLOSED_AT_ONCE + 1);
    }
}
