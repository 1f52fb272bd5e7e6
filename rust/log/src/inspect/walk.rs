//! A log file from front to end. Where a batch is damaged the walk goes on with the next one that is whole.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::Offset;
use crate::batch::BatchHeader;
use crate::batch::header::{HEADER_BYTES, MAGIC, MAGIC_AT, checksum};
use crate::env::{File, read_exact_at};
use crate::segment::scan::{Gaps, Scan, Step};

/// Looked through at once for a batch that is whole.
const CHUNK_BYTES: usize = 1 << 20;

/// Bytes that are no batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// In the file.
    pub bytes: Range<u64>,
    /// Offsets that may have been in there: up to the next batch, or segment. Where neither follows it ends as it begins.
    pub offsets: Range<Offset>,
    pub what: String,
}

impl Damage {
    /// Nothing whole lies behind it.
    pub fn is_tail(&self) -> bool {
        self.offsets.is_empty()
    }
}

/// What a walk comes by.
#[derive(Debug)]
pub enum Walked<'w> {
    Batch { position: u32, header: &'w BatchHeader, batch: &'w [u8] },
    Damage(Damage),
}

/// Walks over a file up to byte `limit`, from `position` on, where offsets are `base` or higher; they lie below `end` if another segment
/// begins there. `each` says whether to go on.
pub fn walk(
    file: &Arc<dyn File>,
    position: u64,
    base: Offset,
    end: Option<Offset>,
    limit: u64,
    mut each: impl FnMut(Walked<'_>) -> bool,
) -> io::Result<()> {
    let gaps = Gaps::Before(end.unwrap_or(Offset::MAX));
    let mut scan = Scan::from(file.clone(), position, base, limit, gaps);
    loop {
        let stop = match scan.step()? {
            Step::Batch(found) => {
                let (position, header, batch) = (found.position, &found.header, found.batch);
                if !each(Walked::Batch { position, header, batch }) {
                    return Ok(());
                }
                continue;
            }
            Step::End => return Ok(()),
            Step::Stopped(stop) => stop,
        };
        let from = scan.next_offset();
        let found = next_whole(file, stop.position + 1..limit, from..end.unwrap_or(Offset::MAX))?;
        let (to, goes_on) = match found {
            Some((position, header)) => (position, header.base_offset),
            // The rest of a segment that another follows is lost with all the offsets up to that.
            None => (limit, end.unwrap_or(from)),
        };
        let damage = Damage { bytes: stop.position..to, offsets: from..goes_on, what: stop.what };
        if !each(Walked::Damage(damage)) || to == limit {
            return Ok(());
        }
        scan = Scan::from(file.clone(), to, goes_on, limit, gaps);
    }
}

/// The first whole batch in `bytes` of a file whose offsets all lie in `offsets`.
fn next_whole(
    file: &Arc<dyn File>,
    bytes: Range<u64>,
    offsets: Range<Offset>,
) -> io::Result<Option<(u64, BatchHeader)>> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = bytes.start;
    while at + HEADER_BYTES as u64 <= bytes.end {
        let wish = CHUNK_BYTES.min((bytes.end - at) as usize);
        let read = file.read_at(&mut chunk[..wish], at)?;
        let Some(places) = (read + 1).checked_sub(HEADER_BYTES).filter(|places| *places > 0) else { return Ok(None) };
        for place in 0..places {
            if chunk[place + MAGIC_AT] != MAGIC as u8 {
                continue;
            }
            let position = at + place as u64;
            let Some(header) = BatchHeader::read(&chunk[place..]) else { continue };
            let Some(total) = header.total_bytes().filter(|total| u64::from(*total) <= bytes.end - position) else {
                continue;
            };
            let is_in = header.last_offset_delta >= 0
                && header.base_offset >= offsets.start
                && header.last_offset() < offsets.end
                && header.last_offset() >= header.base_offset;
            if !is_in {
                continue;
            }
            let mut batch = vec![0; total as usize];
            match read_exact_at(file.as_ref(), &mut batch, position) {
                // It was cut meanwhile.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                read => read?,
            }
            if checksum(&batch) == header.crc {
                return Ok(Some((position, header)));
            }
        }
        at += places as u64;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OpenMode;
    use crate::env::scratch::scratch_disk;

    /// Behind the end of a file, which somebody may have cut since it was last looked at, lies nothing.
    #[test]
    fn behind_the_end() {
        let disk = scratch_disk();
        disk.create_dir_all(std::path::Path::new("/t")).unwrap();
        let file = disk.open(std::path::Path::new("/t/0.log"), OpenMode::Create).unwrap();
        for position in [0, 1, u64::MAX] {
            walk(&file, position, 0, None, 0, |walked| panic!("{walked:?}")).unwrap();
        }
    }
}
