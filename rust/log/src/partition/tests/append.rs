//! What an append accepts, refuses, and changes.

use proptest::prelude::*;

use super::*;
use crate::batch::BatchHeader;
use crate::error::code;
use crate::partition::config::{CleanupPolicy, CompressionSetting, TimestampType};

fn code_of(result: Result<Appended, AppendError>) -> i16 {
    result.unwrap_err().code()
}

fn reseal(mut batch: Vec<u8>, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut header = BatchHeader::read(&batch).unwrap();
    change(&mut header);
    header.write(&mut batch);
    header::seal(&mut batch);
    batch
}

fn stored_header(partition: &Partition, offset: i64) -> BatchHeader {
    let slice = partition.read(offset, 1, ReadUpTo::LogEnd, true).unwrap().slice.unwrap();
    let mut bytes = vec![0; slice.length as usize];
    slice.file.read_at(&mut bytes, slice.position).unwrap();
    BatchHeader::read(&bytes).unwrap()
}

/// Offsets are given out one after another, across batches and reopening; nothing is made before the first append.
#[test]
fn offsets_grow() {
    let bench = Bench::new();
    let partition = bench.open();
    assert!(!bench.host.env().disk().exists(&bench.path()).unwrap());
    assert_eq!(send_values(&partition, &["a", "b"]).base_offset, 0);
    let second = send_values(&partition, &["c"]);
    assert_eq!((second.base_offset, second.last_offset, second.log_append_time_ms), (2, 2, -1));
    partition.close().unwrap();
    let partition = bench.open_with(Bench::clean()).0;
    assert_eq!(send_values(&partition, &["d"]).base_offset, 3);
    let expected: Vec<(i64, String)> = (0..).zip(["a", "b", "c", "d"].map(str::to_owned)).collect();
    assert_eq!(records(&partition, ReadUpTo::LogEnd), expected);
}

/// The stored batch is the sent one but for base offset and leader epoch, which its checksum does not cover.
#[test]
fn stored_as_sent() {
    let bench = Bench::new();
    let partition = bench.open();
    partition.set_leader_epoch(5).unwrap();
    send_values(&partition, &["a"]);
    let sent = batch_at(NOBODY, Compression::Zstd, T0, &["b", "c"]);
    send(&partition, sent.clone()).unwrap();
    let slice = partition.read(1, 10_000, ReadUpTo::LogEnd, true).unwrap().slice.unwrap();
    let mut stored = vec![0; slice.length as usize];
    slice.file.read_at(&mut stored, slice.position).unwrap();
    let mut expected = sent;
    header::place(&mut expected, 1, 5);
    assert_eq!(stored, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A batch with any bytes changed and signed again is refused or stored, never a panic; what is stored can be read whole.
    #[test]
    fn signed_garbage(codec in 0..5usize, changes in proptest::collection::vec((0..400usize, any::<u8>()), 1..5)) {
        let bench = Bench::new();
        let partition = bench.open();
        let codec = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd][codec];
        let mut frame = batch_at(NOBODY, codec, T0, &["first", "second", "third"]);
        for (at, byte) in changes {
            // Framing and magic have tests of their own; behind them everything is fair game.
            let at = header::CHECKSUMMED_FROM + at % (frame.len() - header::CHECKSUMMED_FROM);
            frame[at] = byte;
        }
        header::seal(&mut frame);
        let count = BatchHeader::read(&frame).unwrap().record_count;
        match send(&partition, frame) {
            Ok(appended) => {
                prop_assert_eq!(appended.last_offset, i64::from(count) - 1);
                let mut seen = 0;
                partition.for_each_record(0, 1000, ReadUpTo::LogEnd, |_| seen += 1).unwrap();
                prop_assert_eq!(seen, count);
            }
            Err(error) => prop_assert_ne!(error.code(), code::KAFKA_STORAGE_ERROR),
        }
    }
}

/// Each kind of bad batch gets the code Apache Kafka gives it, and leaves no trace.
#[test]
fn refusals() {
    let mut bench = Bench::new();
    bench.config.message_bytes_max = 300;
    let partition = bench.open();
    let good = || batch(NOBODY, &["a", "b"]);
    let mut cut = good();
    cut.pop();
    let mut twice = good();
    twice.extend(good());
    let mut flipped = good();
    *flipped.last_mut().unwrap() ^= 1;
    let mut old_magic = good();
    old_magic[16] = 1;
    let mut bad_magic = good();
    bad_magic[16] = 9;
    let mut short_length = good();
    short_length[8..12].copy_from_slice(&13i32.to_be_bytes());
    let mut headless = good();
    headless[8..12].copy_from_slice(&20i32.to_be_bytes());
    headless.truncate(32);
    let long = "x".repeat(300);
    for (what, frame, code) in [
        ("nothing", Vec::new(), code::INVALID_RECORD),
        ("a cut batch", cut, code::INVALID_RECORD),
        ("two batches", twice, code::INVALID_RECORD),
        ("a flipped bit", flipped, code::CORRUPT_MESSAGE),
        ("magic 1", old_magic, code::INVALID_RECORD),
        ("magic 9", bad_magic, code::CORRUPT_MESSAGE),
        ("length 13", short_length, code::CORRUPT_MESSAGE),
        ("no room for a header", headless, code::CORRUPT_MESSAGE),
        ("too long", batch(NOBODY, &[&long]), code::MESSAGE_TOO_LARGE),
        ("base offset 3", reseal(good(), |header| header.base_offset = 3), code::INVALID_RECORD),
        ("count 0", reseal(good(), |header| header.record_count = 0), code::INVALID_RECORD),
        ("count 3", reseal(good(), |header| header.record_count = 3), code::INVALID_RECORD),
        (
            "count and delta 3",
            reseal(good(), |header| (header.record_count, header.last_offset_delta) = (3, 2)),
            code::INVALID_RECORD,
        ),
        (
            "count and delta 1",
            reseal(good(), |header| (header.record_count, header.last_offset_delta) = (1, 0)),
            code::INVALID_RECORD,
        ),
        ("negative delta", reseal(good(), |header| header.last_offset_delta = -1), code::INVALID_RECORD),
        ("control", reseal(good(), |header| header.attributes |= header::CONTROL_BIT), code::INVALID_RECORD),
        ("codec 6", reseal(good(), |header| header.attributes |= 6), code::UNSUPPORTED_COMPRESSION_TYPE),
        ("packed bytes of no codec", reseal(good(), |header| header.attributes |= 1), code::INVALID_RECORD),
        ("producer without sequence", reseal(good(), |header| header.producer_id = 5), code::INVALID_RECORD),
        (
            "a timestamp of tomorrow",
            batch_at(NOBODY, Compression::None, T0 + 86_400_000, &["a"]),
            code::INVALID_TIMESTAMP,
        ),
    ] {
        assert_eq!(code_of(send(&partition, frame)), code, "{what}");
    }
    assert_eq!(partition.offsets().log_end, 0);
    assert!(!bench.host.env().disk().exists(&bench.path()).unwrap());
}

/// An incomplete batch behind a whole one is dropped, as Kafka does.
#[test]
fn trailing_bytes() {
    let bench = Bench::new();
    let partition = bench.open();
    let mut frame = batch(NOBODY, &["a"]);
    let more = batch(NOBODY, &["b"]);
    frame.extend(&more[..more.len() - 1]);
    send(&partition, frame).unwrap();
    assert_eq!(records(&partition, ReadUpTo::LogEnd), [(0, "a".to_owned())]);
}

/// Zstd needs Produce 7; a batch longer than a segment does not fit anywhere.
#[test]
fn refusals_by_settings() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 100;
    let partition = bench.open();
    let mut zstd = batch_at(NOBODY, Compression::Zstd, T0, &["a"]);
    let old = AppendOptions { zstd_allowed: false, ..AppendOptions::default() };
    assert_eq!(code_of(partition.append(&mut zstd, Origin::Client, old)), code::UNSUPPORTED_COMPRESSION_TYPE);
    assert_eq!(code_of(send(&partition, batch(NOBODY, &["a", "b", "c", "d", "e"]))), code::RECORD_LIST_TOO_LARGE);
}

/// Records of a compacted topic need keys, and the answer names those that have none (KIP-467).
#[test]
fn compacted_needs_keys() {
    let mut bench = Bench::new();
    bench.config.cleanup_policy = CleanupPolicy { delete: false, compact: true };
    let partition = bench.open();
    let mut builder = BatchBuilder::new(BatchShape::plain(Compression::Lz4, -1));
    for key in [Some(&b"k"[..]), None, Some(b""), None] {
        builder.push(&NewRecord { timestamp_ms: T0, key, value: None, headers: &[] });
    }
    let error = send(&partition, builder.finish().unwrap()).unwrap_err();
    assert_eq!(error.code(), code::INVALID_RECORD);
    let indexes: Vec<i32> = error.record_errors().iter().map(|error| error.batch_index).collect();
    assert_eq!(indexes, [1, 3]);
    assert_eq!(
        error.record_errors()[0].message,
        "Compacted topic cannot accept message without key in topic partition t-0."
    );
}

/// Offsets inside a batch must be 0, 1, 2, ... whether it is packed or not.
#[test]
fn deltas_must_be_dense() {
    let bench = Bench::new();
    let partition = bench.open();
    let mut sparse = batch(NOBODY, &["a", "b"]);
    // The second record's offset delta: behind its length, attributes and timestamp delta.
    let at = sparse.len() - (sparse.len() - header::HEADER_BYTES) / 2 + 3;
    assert_eq!(sparse[at], 2, "zigzag of 1");
    sparse[at] = 4;
    header::seal(&mut sparse);
    let error = send(&partition, sparse).unwrap_err();
    assert_eq!((error.code(), error.record_errors()[0].batch_index), (code::INVALID_RECORD, 1));
}

/// A wrong max timestamp is put right, with a new checksum, as Kafka does.
#[test]
fn max_timestamp_is_recomputed() {
    let bench = Bench::new();
    let partition = bench.open();
    send(&partition, reseal(batch(NOBODY, &["a", "b"]), |header| header.max_timestamp_ms = 5)).unwrap();
    assert_eq!(stored_header(&partition, 0).max_timestamp_ms, T0 + 1);
    assert_eq!(records(&partition, ReadUpTo::LogEnd).len(), 2);
}

/// LogAppendTime stamps the batch and signs it again; the client's own times stay in the records but do not count.
#[test]
fn log_append_time() {
    let mut bench = Bench::new();
    bench.config.timestamp_type = TimestampType::LogAppendTime;
    let partition = bench.open();
    bench.clock.turn(1234);
    let appended = send(&partition, batch_at(NOBODY, Compression::Gzip, 17, &["a", "b"])).unwrap();
    assert_eq!(appended.log_append_time_ms, T0 + 1234);
    let header = stored_header(&partition, 0);
    assert!(header.is_log_append_time());
    assert_eq!(header.max_timestamp_ms, T0 + 1234);
    partition.for_each_record(0, 1000, ReadUpTo::LogEnd, |record| assert_eq!(record.timestamp_ms, T0 + 1234)).unwrap();
}

/// A topic with a codec of its own stores every batch in it, whatever came; records, headers and producer survive.
#[test]
fn compression_type_rewrites() {
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    for target in codecs {
        let mut bench = Bench::new();
        bench.config.compression = CompressionSetting::Always(target);
        let partition = bench.open();
        for (sequence, source) in (0..).zip(codecs) {
            send(&partition, batch_at(producer(9, 0, sequence), source, T0, &["v"])).unwrap();
            let header = stored_header(&partition, i64::from(sequence));
            assert_eq!((header.compression(), header.producer_id, header.base_sequence), (Some(target), 9, sequence));
        }
        let mut headers = Vec::new();
        partition
            .for_each_record(0, 100_000, ReadUpTo::LogEnd, |record| {
                headers.extend(record.headers().map(|(key, value)| (key.to_vec(), value.map(<[u8]>::to_vec))));
            })
            .unwrap();
        assert_eq!(headers.len(), 10);
        assert_eq!(headers[..2], [(b"h".to_vec(), Some(b"1".to_vec())), (b"h".to_vec(), None)]);
    }
}

/// A small batch that unpacks to more than the limit is refused with the code that makes a producer split it.
#[test]
fn bombs() {
    let mut bench = Bench::new();
    bench.config.decompressed_bytes_max = 1 << 20;
    let partition = bench.open();
    let zeroes = "\0".repeat(2 << 20);
    for compression in [Compression::Gzip, Compression::Lz4, Compression::Zstd, Compression::Snappy] {
        let bomb = batch_at(NOBODY, compression, T0, &[&zeroes]);
        assert_eq!(code_of(send(&partition, bomb)), code::MESSAGE_TOO_LARGE, "{compression:?}");
    }
}

/// Sequences must follow; a batch sent again is answered with its first offsets as long as it is among the last five.
#[test]
fn idempotence() {
    let bench = Bench::new();
    let partition = bench.open();
    let sent: Vec<Vec<u8>> = (0..7).map(|index| batch(producer(1, 0, index * 2), &["a", "b"])).collect();
    for (index, batch) in (0..).zip(&sent) {
        assert_eq!(send(&partition, batch.clone()).unwrap().base_offset, index * 2);
    }
    for (index, batch) in (0..).zip(&sent) {
        let again = send(&partition, batch.clone());
        if index < 2 {
            assert_eq!(code_of(again), code::OUT_OF_ORDER_SEQUENCE_NUMBER, "batch {index}");
        } else {
            let again = again.unwrap();
            assert_eq!((again.duplicate, again.base_offset, again.last_offset), (true, index * 2, index * 2 + 1));
        }
    }
    assert_eq!(partition.offsets().log_end, 14);
    assert_eq!(code_of(send(&partition, batch(producer(1, 0, 15), &["gap"]))), code::OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(code_of(send(&partition, batch(producer(1, 0, 12), &["half"]))), code::OUT_OF_ORDER_SEQUENCE_NUMBER);
}

/// A new epoch begins at sequence 0, an old one is fenced; a producer nothing is known of may begin anywhere.
#[test]
fn producer_epochs() {
    let bench = Bench::new();
    let partition = bench.open();
    send(&partition, batch(producer(1, 3, 40), &["unknown producers begin anywhere"])).unwrap();
    assert_eq!(code_of(send(&partition, batch(producer(1, 2, 41), &["old epoch"]))), code::INVALID_PRODUCER_EPOCH);
    assert_eq!(
        code_of(send(&partition, batch(producer(1, 4, 41), &["new epoch, not from 0"]))),
        code::OUT_OF_ORDER_SEQUENCE_NUMBER
    );
    send(&partition, batch(producer(1, 4, 0), &["new epoch"])).unwrap();
    assert_eq!(
        code_of(send(&partition, batch(producer(1, 3, 40), &["the first again"]))),
        code::INVALID_PRODUCER_EPOCH
    );
}

/// Sequences go on at 0 after the greatest number.
#[test]
fn sequences_wrap() {
    let bench = Bench::new();
    let partition = bench.open();
    send(&partition, batch(producer(1, 0, i32::MAX - 1), &["a", "b", "c"])).unwrap();
    assert!(send(&partition, batch(producer(1, 0, i32::MAX - 1), &["a", "b", "c"])).unwrap().duplicate);
    send(&partition, batch(producer(1, 0, 1), &["d"])).unwrap();
}

/// All five batches are still known after a clean stop, after a crash, and after a roll.
#[test]
fn idempotence_survives_restarts() {
    let bench = Bench::new();
    let mut partition = bench.open();
    let sent: Vec<Vec<u8>> = (0..5).map(|index| batch(producer(1, 0, index), &["a"])).collect();
    for batch in &sent {
        send(&partition, batch.clone()).unwrap();
    }
    for round in ["clean", "crash", "roll and crash", "clean again"] {
        match round {
            "crash" => drop(partition),
            "roll and crash" => partition.roll().unwrap(),
            _ => partition.close().unwrap(),
        }
        partition = bench.open_with(if round.starts_with("clean") { Bench::clean() } else { OpenHint::default() }).0;
        for (index, batch) in (0..).zip(&sent) {
            let again = send(&partition, batch.clone()).unwrap();
            assert_eq!((again.duplicate, again.base_offset), (true, index), "{round}");
        }
    }
    assert_eq!(partition.offsets().log_end, 5);
}

/// Idle producers are forgotten after `producer.id.expiration.ms`.
#[test]
fn producers_expire() {
    let bench = Bench::new();
    let partition = bench.open();
    send(&partition, batch(producer(1, 0, 0), &["a"])).unwrap();
    assert_eq!(partition.expire_producers(T0 + 86_399_999), 0);
    assert_eq!(partition.expire_producers(T0 + 86_400_000), 1);
    send(&partition, batch(producer(1, 0, 77), &["b"])).unwrap();
}

/// Segments roll by size and by the age of their first record; each begins where the one before ended, with a producer snapshot.
#[test]
fn rolls() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 300;
    bench.config.segment_ms = 10_000;
    let partition = bench.open();
    for index in 0..9 {
        send(&partition, batch_at(producer(4, 0, index), Compression::None, T0, &["a"])).unwrap();
    }
    assert_eq!(partition.status().segments, 3);
    send(&partition, batch_at(NOBODY, Compression::None, T0 + 10_001, &["late"])).unwrap();
    assert_eq!(partition.status().segments, 4);
    let names = names(&bench);
    for name in [
        "00000000000000000003.log",
        "00000000000000000003.snapshot",
        "00000000000000000009.snapshot",
        "00000000000000000009.timeindex",
    ] {
        assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
    }
    assert_eq!(records(&partition, ReadUpTo::LogEnd).len(), 10);
}

/// The index of a segment nobody writes to leaves memory, and is written on when somebody does.
#[test]
fn index_of_an_idle_segment() {
    let mut bench = Bench::small();
    bench.config.segment_bytes = 1 << 20;
    let partition = bench.open();
    let write = |from: i64| {
        for index in from..from + 10 {
            send(&partition, batch_at(NOBODY, Compression::None, T0 + index, &["value"])).unwrap();
        }
    };
    let held = || partition.state.read().active().unwrap().index_bytes_in_memory();
    for round in 0..3 {
        write(round * 10);
        assert!(held() > 0);
        partition.flush_indexes().unwrap();
        // One call notes that it was used, the next that it was not since; what is not synced keeps its descriptor.
        partition.flush().unwrap();
        partition.release_idle_files();
        partition.release_idle_files();
        assert_eq!(held(), 0);
        for offset in 0..round * 10 + 10 {
            assert_eq!(partition.read(offset, 1, ReadUpTo::LogEnd, true).unwrap().first_offset, offset);
            assert_eq!(partition.lookup_timestamp(T0 + offset).unwrap().unwrap().offset, offset);
        }
    }
    partition.close().unwrap();
    drop(partition);
    let (partition, report) = bench.open_with(Bench::clean());
    assert_eq!((report, partition.offsets().log_end), (RecoveryReport::default(), 30));
}
