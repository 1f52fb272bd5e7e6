//! What a pass knows of transactions while it walks the log: whose batches were aborted, and which markers have nothing left to end.
//! Kafka's `CleanedTransactionMetadata`.
//!
//! A marker is needed as long as a batch of its transaction is there: it tells a reader how that ended. So a pass that removes the
//! batches keeps the marker, the next one finds no batch before it and gives it a delete horizon, and one after that removes it.

use std::collections::{HashMap, HashSet};

use crate::Offset;
use crate::batch::BatchHeader;
use crate::batch::control::{self, ControlType};
use crate::batch::records::Records;
use crate::index::txn::AbortedEntry;

/// See [`Transactions::on_control`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotIndexed;

#[derive(Debug, Default)]
pub struct Transactions {
    /// Not begun yet, the next one last.
    coming: Vec<AbortedEntry>,
    /// Open aborted transactions by producer, and whether a batch of theirs was seen.
    aborted: HashMap<i64, (AbortedEntry, bool)>,
    /// Producers of open committed transactions of which a batch was seen.
    committed: HashSet<i64>,
    /// Entries for the index of the segment being made.
    kept: Vec<AbortedEntry>,
}

impl Transactions {
    /// `entries` are the aborted transactions that overlap what will be walked.
    pub fn new(mut entries: Vec<AbortedEntry>) -> Transactions {
        entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.first_offset));
        Transactions { coming: entries, ..Transactions::default() }
    }

    fn begin_up_to(&mut self, offset: Offset) {
        while let Some(entry) = self.coming.pop_if(|entry| entry.first_offset <= offset) {
            self.aborted.entry(entry.producer_id).or_insert((entry, false));
        }
    }

    /// A batch of data goes by; true when it belongs to an aborted transaction.
    pub fn on_batch(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborted.get_mut(&header.producer_id) {
            Some((_, seen)) => {
                *seen = true;
                true
            }
            None => {
                self.committed.insert(header.producer_id);
                false
            }
        }
    }

    /// A control batch goes by; true when nothing before it needs it. An abort of what passed for committed is one that the indexes of
    /// aborted transactions do not name.
    pub fn on_control(&mut self, header: &BatchHeader, records: &[u8]) -> Result<bool, NotIndexed> {
        self.begin_up_to(header.last_offset());
        let Some(Ok(record)) = Records::new(records, header.record_count).next() else {
            // Emptied by an earlier pass, which found nothing before it.
            return Ok(header.record_count == 0);
        };
        Ok(match control::kind_of(record.key) {
            Some(ControlType::Abort) => match self.aborted.remove(&header.producer_id) {
                Some((entry, true)) => {
                    self.kept.push(entry);
                    false
                }
                None if self.committed.contains(&header.producer_id) => return Err(NotIndexed),
                _ => true,
            },
            Some(ControlType::Commit) => !self.committed.remove(&header.producer_id),
            _ => false,
        })
    }

    /// What the index of the segment made since the last call must tell.
    pub fn take_kept(&mut self) -> Vec<AbortedEntry> {
        std::mem::take(&mut self.kept)
    }
}
