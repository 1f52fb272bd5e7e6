//! What of a file is in the page cache, and how the rest gets there.
//!
//! A range is asked for with one `cachestat`. Pages on their way from the disk count there as if they had come, so its first and its last
//! byte are read too, without waiting; that finds what is still on its way, since the disk brings a range from its begin to its end, or
//! nearly so. Measured on Linux 6.18 for 1 MiB: `cachestat` 0.2 us (3 us where the cache has it in single pages), a byte 0.3 to 0.5 us,
//! `sendfile` of it to a socket 110 to 200 us. Without `cachestat` a byte of every [`SAMPLE_BYTES`] is read.
//!
//! Bringing in: the kernel is told of the whole range, then it is sent to nowhere, which waits for each page and copies none (25 us of CPU
//! for 1 MiB that is there, 330 us for one that comes from the disk; `pread` 140 and 500 us).

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::Advice;
use rustix::io::Errno;

use super::cachestat::cached_pages;
use super::fast_paths::{FastPath, FastPaths, read_now};

const SAMPLE_BYTES: u64 = 128 * 1024;
/// The kernel brings in no more than the read-ahead of the device for one call; 128 KiB is Linux' default of that.
const ADVICE_BYTES: u64 = 128 * 1024;
const COPY_BYTES: usize = 128 * 1024;

/// How much the page cache has of a range, as `cachestat` tells; None: it does not.
fn all_cached(paths: &FastPaths, file: &fs::File, position: u64, bytes: u64) -> Option<bool> {
    if !paths.is_on(FastPath::Cachestat) {
        return None;
    }
    let page_bytes = rustix::param::page_size() as u64;
    let pages = (position + bytes).div_ceil(page_bytes) - position / page_bytes;
    cached_pages(file, position, bytes).ok().map(|cached| cached >= pages)
}

/// Whether this byte can be read without waiting; None: that cannot be told.
fn has_byte(paths: &FastPaths, file: &fs::File, position: u64) -> Option<bool> {
    if !paths.is_on(FastPath::Nowait) {
        return None;
    }
    match read_now(file, &mut [0], position) {
        Ok(_) => Some(true),
        Err(Errno::AGAIN) => Some(false),
        Err(_) => None,
    }
}

/// See [`super::File::is_resident`].
pub(super) fn is_resident(paths: &FastPaths, file: &fs::File, position: u64, bytes: u64) -> bool {
    if bytes == 0 {
        return true;
    }
    let last = position + bytes - 1;
    if position == last
        && let Some(has) = has_byte(paths, file, position)
    {
        return has;
    }
    match all_cached(paths, file, position, bytes) {
        Some(false) => false,
        Some(true) => {
            let has = |at| has_byte(paths, file, at).unwrap_or(true);
            has(position) && (position == last || has(last))
        }
        None => {
            let samples = (position..last).step_by(SAMPLE_BYTES as usize).chain([last]);
            samples.into_iter().all(|at| has_byte(paths, file, at).unwrap_or(false))
        }
    }
}

/// See [`super::File::is_coming`]. One page is looked at, the last: what was read ahead came in the order of the file, and who needs a page
/// that has left since brings it in himself. (The kernel marks one page of its own read-ahead in the same way.)
pub(super) fn is_coming(paths: &FastPaths, file: &fs::File, position: u64, bytes: u64) -> bool {
    if bytes == 0 {
        return true;
    }
    let last = position + bytes - 1;
    all_cached(paths, file, last, 1).or_else(|| has_byte(paths, file, last)).unwrap_or(true)
}

/// See [`super::File::read_ahead`].
pub(super) fn read_ahead(file: &fs::File, position: u64, bytes: u64) {
    let end = position + bytes;
    for at in (position..end).step_by(ADVICE_BYTES as usize) {
        let length = std::num::NonZeroU64::new(ADVICE_BYTES.min(end - at));
        // It is only advice: what the kernel does not follow is waited for later.
        let _ = rustix::fs::fadvise(file, at, length, Advice::WillNeed);
    }
}

/// See [`super::File::bring_in`].
pub(super) fn bring_in(paths: &FastPaths, file: &fs::File, mut position: u64, bytes: u64) -> io::Result<()> {
    read_ahead(file, position, bytes);
    let end = position + bytes;
    if paths.is_on(FastPath::Sendfile)
        && let Some(nowhere) = paths.nowhere()
    {
        while position < end {
            let most = usize::try_from(end - position).unwrap_or(usize::MAX);
            match rustix::fs::sendfile(nowhere, file, Some(&mut position), most) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::INVAL) => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    let mut buffer = vec![0; if position < end { COPY_BYTES } else { 0 }];
    while position < end {
        let most = buffer.len().min(usize::try_from(end - position).unwrap_or(usize::MAX));
        match file.read_at(&mut buffer[..most], position) {
            Ok(0) => return Ok(()),
            Ok(read) => position += read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 3 << 20;

    fn filled() -> (tempfile::TempDir, fs::File) {
        let folder = tempfile::tempdir().unwrap();
        let file = fs::File::options().read(true).write(true).create_new(true).open(folder.path().join("f")).unwrap();
        file.write_all_at(&vec![7; BYTES], 0).unwrap();
        file.sync_all().unwrap();
        (folder, file)
    }

    /// Whether the kernel has let go of the whole file; on tmpfs it cannot.
    fn drop_cache(file: &fs::File) -> bool {
        rustix::fs::fadvise(file, 0, None, Advice::DontNeed).unwrap();
        cached_pages(file, 0, BYTES as u64) == Ok(0)
    }

    /// With each combination of short cuts: what was dropped is not taken for resident, and is once it was brought in.
    #[test]
    fn dropped_and_brought_in() {
        let (_folder, file) = filled();
        for allowed in 0..8 {
            let on = FastPath::ALL.into_iter().enumerate().filter(|(bit, _)| allowed >> bit & 1 == 1);
            let on: Vec<FastPath> = on.map(|(_, path)| path).collect();
            let paths = FastPaths::only(&on);
            let can_tell = paths.is_on(FastPath::Cachestat) || paths.is_on(FastPath::Nowait);
            if !drop_cache(&file) {
                return;
            }
            for (position, bytes) in [(0, 1), (5000, 1 << 20), (BYTES as u64 - 1, 1)] {
                assert!(!is_resident(&paths, &file, position, bytes), "{on:?}: {bytes} at {position}");
            }
            bring_in(&paths, &file, 5000, 1 << 20).unwrap();
            assert_eq!(is_resident(&paths, &file, 5000, 1 << 20), can_tell, "{on:?}");
            assert!(is_coming(&paths, &file, 5000, 1 << 20), "{on:?}");
            if paths.is_on(FastPath::Cachestat) {
                assert!(!is_resident(&paths, &file, 0, BYTES as u64), "{on:?}: the end was not brought in");
            }
            bring_in(&paths, &file, 0, 2 * BYTES as u64).unwrap();
            assert_eq!(is_resident(&paths, &file, 0, BYTES as u64), can_tell, "{on:?}");
        }
    }

    /// Reading ahead brings pages without being waited for: they are coming at once.
    #[test]
    fn ahead() {
        let (_folder, file) = filled();
        let paths = FastPaths::only(&[FastPath::Cachestat]);
        if !drop_cache(&file) {
            return;
        }
        assert!(!is_coming(&paths, &file, 0, BYTES as u64));
        read_ahead(&file, 0, BYTES as u64);
        assert!(is_coming(&paths, &file, 0, BYTES as u64));
    }
}
