//! What can be compared in a partition's directory without anything but its files.

use std::collections::BTreeMap;
use std::path::Path;

use super::layout::{Layout, SegmentFiles, is_gone};
use super::look::{INDEX_BYTES_MAX, Look, look_at};
use super::report::{Finding, Kind, Report};
use crate::Offset;
use crate::checkpoint;
use crate::compaction::swap::Ends;
use crate::env::{Disk, read_file};
use crate::error::{IoContext, StorageError};
use crate::partition::is_producer_snapshot;
use crate::segment::names;

/// A directory that changes is looked at so often.
const LOOKS_MAX: usize = 100;

/// Reads everything in a partition's directory and says what does not fit. `is_live`: somebody may be writing. `progress` is told how many
/// bytes were read, now and then.
pub fn verify(
    disk: &dyn Disk,
    directory: &Path,
    is_live: bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Report, StorageError> {
    let mut looks = Looks { disk, directory, is_live, ends: Ends::default(), seen: BTreeMap::new(), until: None };
    let layout = looks.at_all(progress)?;
    let mut report = looks.report(layout)?;
    let is_of_epochs = |finding: &Finding| finding.kind == Kind::LeaderEpochs;
    if is_live && report.findings.iter().any(is_of_epochs) {
        // A truncation takes batches away, and then epochs. Closed segments that it changed are looked at again in any case.
        looks.seen.pop_last();
        let layout = looks.at_all(progress)?;
        let again = looks.report(layout)?;
        let wrong: Vec<Finding> = report.findings.extract_if(.., |finding| is_of_epochs(finding)).collect();
        report = again;
        report.findings.retain(|finding| !is_of_epochs(finding) || wrong.contains(finding));
    }
    Ok(report)
}

/// What was seen of a directory, segment by segment.
struct Looks<'v> {
    disk: &'v dyn Disk,
    directory: &'v Path,
    is_live: bool,
    ends: Ends,
    seen: BTreeMap<Offset, Look>,
    /// The last segment when it began.
    until: Option<Offset>,
}

impl Looks<'_> {
    /// Looks at segments until a listing has none that was not looked at: what was replaced, cut or removed meanwhile does not count.
    fn at_all(&mut self, progress: &mut dyn FnMut(u64)) -> Result<Layout, StorageError> {
        let mut looks = 0;
        loop {
            let layout = Layout::take(self.disk, self.directory, &mut self.ends)?;
            let until = *self.until.get_or_insert(layout.segments.last().map_or(0, |files| files.base_offset));
            let wanted = || layout.segments.iter().enumerate().filter(|(_, files)| files.base_offset <= until);
            self.seen.retain(|base, look| wanted().any(|(_, files)| files.base_offset == *base && look.is_of(files)));
            let missing: Vec<usize> = wanted()
                .filter(|(_, files)| !self.seen.contains_key(&files.base_offset))
                .map(|(place, _)| place)
                .collect();
            looks += 1;
            if missing.is_empty() || looks > LOOKS_MAX {
                return Ok(layout);
            }
            for place in missing {
                let files = &layout.segments[place];
                let next = layout.segments.get(place + 1).map(|next| next.base_offset);
                match self.at(files, next, progress) {
                    Err(error) if self.is_live && is_gone(&error) && looks < LOOKS_MAX => break,
                    look => self.seen.insert(files.base_offset, look?),
                };
            }
            if !self.is_live {
                return Ok(layout);
            }
        }
    }

    /// Two looks, where somebody may be writing and the first finds something: what was half-way done is not found again.
    fn at(
        &self,
        files: &SegmentFiles,
        next: Option<Offset>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Look, StorageError> {
        let is_written = self.is_live && next.is_none();
        let look = look_at(self.disk, files, next, is_written, progress)?;
        if !self.is_live || look.findings.is_empty() {
            return Ok(look);
        }
        let mut again = look_at(self.disk, files, next, is_written, progress)?;
        again.findings.retain(|finding| look.findings.contains(finding));
        Ok(again)
    }

    fn report(&self, layout: Layout) -> Result<Report, StorageError> {
        let mut report = Report::default();
        for look in self.seen.values() {
            report.segments.push(look.segment.clone());
            report.findings.extend(look.findings.iter().cloned());
            report.on_its_way_bytes += look.on_its_way_bytes;
            for (epoch, start) in &look.epochs {
                if report.epochs.last().is_none_or(|(last, _)| last < epoch) {
                    report.epochs.push((*epoch, *start));
                }
            }
        }
        let mut beside = Beside { disk: self.disk, directory: self.directory, is_live: self.is_live, report };
        beside.look(&layout)?;
        let mut report = beside.report;
        report.cut_off = layout.cut_off;
        Ok(report)
    }
}

/// Looks at what is no segment.
struct Beside<'v> {
    disk: &'v dyn Disk,
    directory: &'v Path,
    is_live: bool,
    report: Report,
}

impl Beside<'_> {
    fn find(&mut self, kind: Kind, path: &Path, what: impl Into<String>) {
        self.report.findings.push(Finding::new(kind, path, None, what));
    }

    fn look(&mut self, layout: &Layout) -> Result<(), StorageError> {
        if !self.is_live {
            self.cut_off(layout);
        }
        for entry in layout.entries.iter().filter(|entry| !entry.is_dir) {
            let (name, path) = (entry.name.as_str(), self.directory.join(&entry.name));
            if [names::DELETED_SUFFIX, ".tmp"].iter().any(|suffix| name.ends_with(suffix)) {
                if !self.is_live {
                    self.find(Kind::Leftover, &path, "was to be removed");
                }
            } else if names::offset_of(name, names::PRODUCER_SNAPSHOT).is_some_and(|at| !layout.cut_off.is_old(at)) {
                let bytes = match read_file(self.disk, &path, INDEX_BYTES_MAX).at("read", &path) {
                    // Removed meanwhile.
                    Err(error) if self.is_live && is_gone(&error) => continue,
                    bytes => bytes?,
                };
                if !is_producer_snapshot(&bytes) && !self.is_live {
                    self.find(Kind::ProducerSnapshot, &path, "cannot be read; an older one is used");
                }
            }
        }
        let path = self.directory.join(names::LEADER_EPOCHS);
        let has = |name: &str| layout.entries.iter().any(|entry| entry.name == name);
        if has(names::LEADER_EPOCHS) {
            match checkpoint::read_epochs(self.disk, &path)? {
                None => self.find(Kind::LeaderEpochs, &path, "cannot be read"),
                Some(known) => {
                    if let Some(what) = self.wrong_epoch(&known) {
                        self.find(Kind::LeaderEpochs, &path, what);
                    }
                }
            }
        }
        let path = self.directory.join(names::PARTITION_METADATA);
        if has(names::PARTITION_METADATA) && checkpoint::read_topic_id(self.disk, &path)?.is_none() {
            self.find(Kind::TopicId, &path, "cannot be read");
        }
        Ok(())
    }

    fn cut_off(&mut self, layout: &Layout) {
        let of = |base: Offset| names::file(self.directory, base, names::LOG);
        let (cut_off, mut found) = (&layout.cut_off, Vec::new());
        for base in &cut_off.unfinished {
            found.push((*base, "its compaction was cut off before it was whole, and does not count".to_owned()));
        }
        for (base, what) in cut_off.damaged.iter().zip(&cut_off.damage) {
            found.push((*base, format!("its compaction was cut off, and does not count: {what}")));
        }
        for replacement in &cut_off.replacements {
            found.push((replacement.base, "its compaction was cut off when it was whole: it counts".to_owned()));
        }
        for (base, what) in found {
            self.find(Kind::Compaction, &of(base), what);
        }
    }

    /// An epoch of the batches that the checkpoint does not know, or lets begin elsewhere. What lies below its first entry is below the log
    /// start, too.
    fn wrong_epoch(&self, known: &[(i32, Offset)]) -> Option<String> {
        let first = known.first().map_or(0, |(_, start)| *start);
        let ends = self.report.epochs.iter().skip(1).map(|(_, start)| *start).chain([Offset::MAX]);
        let of = |offset: Offset| known.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch);
        let told = |((epoch, start), end): (&(i32, Offset), Offset)| {
            let at = (*start).max(first);
            let said = of(at);
            let is_wrong = *epoch >= 0 && at < end && said != Some(*epoch);
            let said = said.map_or("none".to_owned(), |said| said.to_string());
            is_wrong.then(|| format!("says that offset {at} is of epoch {said}, its batch is of {epoch}"))
        };
        self.report.epochs.iter().zip(ends).find_map(told)
    }
}
