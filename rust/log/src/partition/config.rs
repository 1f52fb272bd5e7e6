//! The settings of one partition: Kafka's topic settings that the log obeys, with Kafka's names, defaults and meaning
//! (`org.apache.kafka.storage.internals.log.LogConfig`), and two of ours under `ottla.`.
//!
//! A partition holds its settings behind an atomic pointer: a new set takes effect with the next append, roll or retention run.

use crate::batch::Compression;

/// What an acknowledgement promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The high watermark follows the disk: what is readable survives a power cut.
    Fsync,
    /// The page cache, as Apache Kafka; a background flusher bounds what a power cut can take.
    Os,
}

/// `message.timestamp.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// `compression.type` with its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionSetting {
    /// Keep what the producer sent.
    Producer,
    /// Store with this codec, whatever the producer sent (`uncompressed` is [`Compression::None`]).
    Always(Compression),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PartitionConfig {
    /// `segment.bytes`: a batch that would make a segment longer starts the next one.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment whose first record is older than this is closed.
    pub segment_ms: i64,
    /// `segment.jitter.ms`: at most so much is taken off `segment_ms`, so that segments do not all close at once.
    pub segment_jitter_ms: i64,
    /// `segment.index.bytes`: the longest an index file may get.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: an index entry is written after so many bytes of log.
    pub index_interval_bytes: u32,
    /// `retention.ms`; None: keep for ever.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; None: no limit.
    pub retention_bytes: Option<u64>,
    /// `max.message.bytes`: the longest batch a client may append.
    pub message_bytes_max: u32,
    /// The most a compressed batch may unpack to, in bytes (`ottla.decompressed.bytes.max`). Kafka has no such limit.
    pub decompressed_bytes_max: u32,
    /// `compression.type`.
    pub compression: CompressionSetting,
    /// `compression.gzip.level`, `compression.lz4.level`, `compression.zstd.level`.
    pub gzip_level: i32,
    pub lz4_level: i32,
    pub zstd_level: i32,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far in the past a record's own timestamp may lie.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far in the future.
    pub timestamp_after_max_ms: i64,
    /// `ottla.durability`.
    pub durability: Durability,
    /// `flush.messages`: sync after so many records (durability `os`).
    pub flush_messages: i64,
    /// `flush.ms`: sync what is older than this (durability `os`).
    pub flush_ms: i64,
    /// `cleanup.policy`.
    pub cleanup_policy: CleanupPolicy,
    /// `min.cleanable.dirty.ratio`: compaction begins above this share of what was not compacted yet.
    pub dirty_ratio_min: f64,
    /// `delete.retention.ms`: how long a tombstone stays after compaction first saw it.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`: what is younger is not compacted.
    pub compaction_lag_min_ms: i64,
    /// `max.compaction.lag.ms`: what is older is compacted whatever the ratio.
    pub compaction_lag_max_ms: i64,
    /// `file.delete.delay.ms`: how long a deleted segment's files stay, renamed, for readers that have them open.
    pub file_delete_delay_ms: i64,
    /// `producer.id.expiration.ms` (a broker setting in Kafka): idle producers without an open transaction are forgotten after this.
    pub producer_id_expiration_ms: i64,
}

impl Default for PartitionConfig {
    fn default() -> PartitionConfig {
        PartitionConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            segment_jitter_ms: 0,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            message_bytes_max: 1_048_588,
            decompressed_bytes_max: 256 << 20,
            compression: CompressionSetting::Producer,
            gzip_level: -1,
            lz4_level: 9,
            zstd_level: 3,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            durability: Durability::Fsync,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            dirty_ratio_min: 0.5,
            delete_retention_ms: 86_400_000,
            compaction_lag_min_ms: 0,
            compaction_lag_max_ms: i64::MAX,
            file_delete_delay_ms: 60_000,
            producer_id_expiration_ms: 86_400_000,
        }
    }
}

impl PartitionConfig {
    /// Sets one value by its Kafka topic-config name, from its text form. Ok(false): the log has no use for that name.
    /// Ranges are the caller's business (the table of settings); here only what cannot be read is refused.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T, String> {
            value.trim().parse().map_err(|_| format!("{name}: {value:?} is not a number in range"))
        }
        fn unlimited<T: TryFrom<i64>>(name: &str, value: &str) -> Result<Option<T>, String> {
            let value: i64 = number(name, value)?;
            Ok(if value < 0 { None } else { T::try_from(value).ok() })
        }
        match name {
            "segment.bytes" => self.segment_bytes = number(name, value)?,
            "segment.ms" => self.segment_ms = number(name, value)?,
            "segment.jitter.ms" => self.segment_jitter_ms = number(name, value)?,
            "segment.index.bytes" => self.segment_index_bytes = number(name, value)?,
            "index.interval.bytes" => self.index_interval_bytes = number(name, value)?,
            "retention.ms" => self.retention_ms = unlimited(name, value)?,
            "retention.bytes" => self.retention_bytes = unlimited(name, value)?,
            "max.message.bytes" => self.message_bytes_max = number(name, value)?,
            "ottla.decompressed.bytes.max" => self.decompressed_bytes_max = number(name, value)?,
            "compression.type" => {
                self.compression = match value {
                    "producer" => CompressionSetting::Producer,
                    "uncompressed" | "none" => CompressionSetting::Always(Compression::None),
                    "gzip" => CompressionSetting::Always(Compression::Gzip),
                    "snappy" => CompressionSetting::Always(Compression::Snappy),
                    "lz4" => CompressionSetting::Always(Compression::Lz4),
                    "zstd" => CompressionSetting::Always(Compression::Zstd),
                    _ => return Err(format!("{name}: {value:?} is no compression type")),
                }
            }
            "compression.gzip.level" => self.gzip_level = number(name, value)?,
            "compression.lz4.level" => self.lz4_level = number(name, value)?,
            "compression.zstd.level" => self.zstd_level = number(name, value)?,
            "message.timestamp.type" => {
                self.timestamp_type = match value {
                    "CreateTime" => TimestampType::CreateTime,
                    "LogAppendTime" => TimestampType::LogAppendTime,
                    _ => {
                        return Err(format!("{name}: {value:?} is neither CreateTime nor LogAppendTime"));
                    }
                }
            }
            "message.timestamp.before.max.ms" => self.timestamp_before_max_ms = number(name, value)?,
            "message.timestamp.after.max.ms" => self.timestamp_after_max_ms = number(name, value)?,
            "ottla.durability" => {
                self.durability = match value {
                    "fsync" => Durability::Fsync,
                    "os" => Durability::Os,
                    _ => return Err(format!("{name}: {value:?} is neither fsync nor os")),
                }
            }
            "flush.messages" => self.flush_messages = number(name, value)?,
            "flush.ms" => self.flush_ms = number(name, value)?,
            "cleanup.policy" => {
                let mut policy = CleanupPolicy { delete: false, compact: false };
                for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                    match word {
                        "delete" => policy.delete = true,
                        "compact" => policy.compact = true,
                        _ => return Err(format!("{name}: {word:?} is neither delete nor compact")),
                    }
                }
                self.cleanup_policy = policy;
            }
            "min.cleanable.dirty.ratio" => self.dirty_ratio_min = number(name, value)?,
            "delete.retention.ms" => self.delete_retention_ms = number(name, value)?,
            "min.compaction.lag.ms" => self.compaction_lag_min_ms = number(name, value)?,
            "max.compaction.lag.ms" => self.compaction_lag_max_ms = number(name, value)?,
            "file.delete.delay.ms" => self.file_delete_delay_ms = number(name, value)?,
            "producer.id.expiration.ms" => self.producer_id_expiration_ms = number(name, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// How long a segment may fill: a compacted one must not keep records from compaction for longer than they may wait for it.
    pub fn segment_ms_max(&self) -> i64 {
        if self.cleanup_policy.compact && self.compaction_lag_max_ms > 0 {
            self.segment_ms.min(self.compaction_lag_max_ms)
        } else {
            self.segment_ms
        }
    }

    /// The codec's level, for [`crate::batch::compression::compress`].
    pub fn level_of(&self, compression: Compression) -> i32 {
        match compression {
            Compression::Gzip => self.gzip_level,
            Compression::Lz4 => self.lz4_level,
            Compression::Zstd => self.zstd_level,
            Compression::None | Compression::Snappy => 0,
        }
    }
}
