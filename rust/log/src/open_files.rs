//! How many segments keep their files open. One that is opened when there are too many closes the one that was used least lately, so
//! that neither many partitions nor many segments run into the limit of descriptors (RLIMIT_NOFILE).
//!
//! A segment whose last appends are not synced keeps its descriptor as long as there is any other to close: the kernel tells of lost
//! writes only those who have the file open.

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

    /// Call after a segment was read or written.
    pub fn used(&self, segment: &Arc<Segment>) {
        if !segment.enter_list() {
            return;
        }
        let mut segments = self.segments.lock();
        segments.push_back(Arc::downgrade(segment));
        // Twice round at most: in the first one everybody may have been used, or be waiting for its sync.
        for round in 0..2 {
            let mut left = segments.len();
            while segments.len() > self.most && left > 0 {
                left -= 1;
                let Some(oldest) = segments.pop_front() else { return };
                let Some(found) = oldest.upgrade() else { continue };
                if !found.close_files(round > 0) {
                    segments.push_back(oldest);
                }
            }
        }
    }
}
