//! What can be asked for.

pub const USAGE: &str = "\
usage: ottla-load COMMAND [--flag value] [--switch]

produce   --bootstrap HOST:PORT --topics A,B       sends records; closed loop, or open loop with --rate
  --connections 1 --in-flight 5 --acks 1 --timeout-ms 30000
  --record-bytes 1024 | --payload FILE             values: so many bytes, or the lines of a file
  --compress-to 1.0                                of made-up values: the part of each that is random
  --codec none|gzip|snappy|lz4|zstd --level -1
  --batch-bytes 262144 | --batch-records N         of each batch, before compression
  --batches-per-request 1                          of as many partitions
  --keys 0                                         how many different keys; they choose the partition as Java's client does
  --distinct 8                                     batches made beforehand for each partition (keyed), or in all
  --idempotent                                     each connection is a producer with sequences
  --seconds 10 --records N                         ends when either is reached
  --rate N                                         open loop: so many records per s in all, each due at its own time;
                                                   latency counts from then. What waits is sent when a request is answered
tiny      the same, with --connections 50 --in-flight 1 --batch-records 1 --record-bytes 100
fetch     --bootstrap HOST:PORT --topics A,B       reads records
  --connections 1 --from beginning|end             partitions are dealt to the connections
  --to-end                                         ends where the high watermark was when it began
  --again                                          from the beginning again at the end, until --seconds
  --seconds 10 --records N --rate-mib N
  --fetch-max-bytes 52428800 --partition-max-bytes 1048576 --min-bytes 1 --max-wait-ms 500 --read-committed
  --check                                          checksums, offsets without gaps, every record
  --latency                                        of records sent by `produce --rate`, from when they were due
  --ready                                          writes a line when it begins to read
idle      --bootstrap HOST:PORT --connections 10000 --burst 256
  --seconds 10 --ping-seconds 0                    holds them; each asks ApiVersions so often
  --hold                                           writes a line when all are open, holds until standard input ends
limit produce     the flags of produce; --folder DIRECTORY --partitions 1 --sync --sync-delay-ms 0
                  --receive-buffer-bytes 0 (as the kernel likes)
                  receives, checks the CRC32C, writes to new files; with --sync one fdatasync of a file for what came during the last
limit fetch       --connections 1 --chunk-bytes 1048576 --file-mib 256 --seconds 10 --folder DIRECTORY
                  --send-buffer-bytes 262144 (0: as the kernel likes)
                  sendfile of resident pages, asked for chunk by chunk
limit decompress  --codec --payload --batch-bytes --seconds";
