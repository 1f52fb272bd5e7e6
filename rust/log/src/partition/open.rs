//! Opening a partition: what recovery found becomes state.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::{Mutex, RwLock};

use super::state::{Mark, State};
use super::{CleaningState, Identity, OpenHint, Partition, RecoveryReport, recover};
use crate::commit::Host;
use crate::env::Disk;
use crate::error::StorageError;
use crate::health::{Trust, with_reserve};
use crate::segment::names;
use crate::{PartitionConfig, checkpoint};

impl Partition {
    /// Opens what lies in `path`; an absent directory is an empty partition and is made at the first append. After a clean stop this
    /// reads the directory's names and the tail of the last segment's index; otherwise whatever lies past the recovery point is
    /// scanned, a torn tail cut, and what is left synced before anybody may read it. That `path` itself has a synced name is for the data
    /// directory to see to when it is opened. A directory of another topic id is refused.
    pub fn open(
        host: &Arc<Host>,
        path: PathBuf,
        identity: Identity,
        config: Arc<PartitionConfig>,
        leader_epoch: i32,
        hint: OpenHint,
    ) -> Result<(Arc<Partition>, RecoveryReport), StorageError> {
        let disk = host.env().disk().as_ref();
        let began_ms = host.env().clock().monotonic_ms();
        let health = path.parent().and_then(|directory| host.health_of(directory));
        if let Some(health) = &health {
            health.check_online()?;
        }
        let name = format!("{}-{}", identity.topic, identity.partition);
        let has_owner = check_owner(disk, &path, &identity)?;
        let trust = health.as_ref().map_or(Trust::Memory, |health| health.trust());
        // What opening rewrites needs room, and the disk may be full.
        let loaded = with_reserve(health.as_ref(), || recover::load(host.env(), &path, &config, hint, trust))?;
        let (mut state, mut report) = match loaded {
            None => (State::empty(leader_epoch), RecoveryReport::default()),
            Some(loaded) => {
                if !has_owner {
                    // Made right before a crash. Without it the topic's successor of that name would take these records for its own.
                    let file = path.join(names::PARTITION_METADATA);
                    with_reserve(health.as_ref(), || checkpoint::write_topic_id(disk, &file, &identity.topic_id))?;
                }
                let found_clean = hint.clean && has_owner && is_as_closed(&loaded);
                let (segment, position) =
                    loaded.segments.last().map_or((0, 0), |active| (active.base_offset(), active.size()));
                let end = Mark { offset: loaded.log_end, segment, position };
                let mut state = State {
                    made: true,
                    segments: loaded.segments.into(),
                    log_start: loaded.log_start,
                    log_end: end,
                    high_watermark: end,
                    durable: end,
                    epochs: loaded.epochs,
                    producers: loaded.producers,
                    snapshot_offset: loaded.snapshot_offset,
                    cleaned: hint.cleaned.map(|cleaned| cleaned.min(end.offset)),
                    found_clean,
                    ..State::empty(leader_epoch)
                };
                state.producers.high_watermark_moved(end.offset);
                state.mark_unstable(disk)?;
                state.segments.iter().for_each(|segment| segment.release());
                (state, loaded.report)
            }
        };
        if !report.damage.is_empty() {
            tracing::warn!(partition = %name, damage = ?report.damage, cut = report.bytes_cut, "recovered");
        }
        state.health = health.clone();
        state.leader_epoch = leader_epoch.max(state.epochs.latest().unwrap_or(leader_epoch));
        // An empty log has an epoch too, as in Kafka: it begins where the leader found the log's end. It is written down with its first
        // batch: at each start every partition begins one, and most are not written to.
        if state.epochs.is_news(leader_epoch) {
            state.epochs.assign(leader_epoch, state.log_end.offset);
            state.epoch_unwritten = state.made;
        }
        let partition = Arc::new_cyclic(|this| Partition {
            this: this.clone(),
            host: host.clone(),
            is_metadata: identity.topic_id == crate::metadata_log::TOPIC_ID,
            health,
            identity,
            name,
            path,
            config: ArcSwap::new(config),
            observer: ArcSwapOption::empty(),
            attached: OnceLock::new(),
            syncing: Mutex::new(()),
            trim: Mutex::new(()),
            cleaning: CleaningState::default(),
            slow: AtomicUsize::new(0),
            state: RwLock::new(state),
        });
        report.took_ms = host.env().clock().monotonic_ms() - began_ms;
        Ok((partition, report))
    }
}

/// Nothing was looked for, found wrong or made anew: all that a clean stop writes is there.
fn is_as_closed(loaded: &recover::Loaded) -> bool {
    let report = &loaded.report;
    loaded.snapshot_offset == Some(loaded.log_end)
        && (report.segments_scanned, report.bytes_cut, report.indexes_rebuilt) == (0, 0, 0)
        && report.damage.is_empty()
}

/// A topic that was deleted and made again has another id: what its predecessor left in a directory of that name is not its own. A
/// directory that tells no id is: then false.
pub(super) fn check_owner(disk: &dyn Disk, path: &Path, identity: &Identity) -> Result<bool, StorageError> {
    match checkpoint::read_topic_id(disk, &path.join(names::PARTITION_METADATA))? {
        Some(id) if id != identity.topic_id => {
            let (owner, own) = (checkpoint::format_id(&id), checkpoint::format_id(&identity.topic_id));
            let what = format!("belongs to topic id {owner}, not to {own}: move it away and start again");
            Err(StorageError::invalid(path, what))
        }
        id => Ok(id.is_some()),
    }
}
