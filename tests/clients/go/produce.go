package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func init() {
	cases["codec_none"] = func(w *world) { comesBackWhole(w, kgo.NoCompression(), 0) }
	cases["codec_gzip"] = func(w *world) { comesBackWhole(w, kgo.GzipCompression(), 1) }
	cases["codec_snappy"] = func(w *world) { comesBackWhole(w, kgo.SnappyCompression(), 2) }
	cases["codec_lz4"] = func(w *world) { comesBackWhole(w, kgo.Lz4Compression(), 3) }
	cases["codec_zstd"] = func(w *world) { comesBackWhole(w, kgo.ZstdCompression(), 4) }
	cases["every_kind_of_acknowledgement"] = everyKindOfAcknowledgement
	cases["shapes_of_records"] = shapesOfRecords
	cases["keys_choose_partitions_as_in_java"] = keysChoosePartitionsAsInJava
	cases["custom_partitioner"] = customPartitioner
	cases["first_record_creates_the_topic"] = firstRecordCreatesTheTopic
	cases["too_large_records_are_refused"] = tooLargeRecordsAreRefused
}

// Records of a codec come back byte for byte, with offsets from 0, and the batch says which codec it was.
func comesBackWhole(w *world, codec kgo.CompressionCodec, inBatch uint8) {
	w.createTopic(1)
	producer := w.client(kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic(w.topic))
	var sent []*kgo.Record
	for number := range 300 {
		value := fmt.Sprintf("value %d %s", number, strings.Repeat("x", number))
		sent = append(sent, &kgo.Record{Key: fmt.Append(nil, "key ", number), Value: []byte(value)})
	}
	ok(producer.ProduceSync(w.ctx, sent...).FirstErr())
	for number, record := range w.readAll(300) {
		equal(record.Offset, int64(number))
		equal([]string{string(record.Key), string(record.Value)}, []string{string(sent[number].Key), string(sent[number].Value)})
		equal(record.Attrs.CompressionType(), inBatch)
	}
}

// franz-go is idempotent with acks=all unless told otherwise; the others count too.
func everyKindOfAcknowledgement(w *world) {
	w.createTopic(1)
	for number, options := range [][]kgo.Opt{
		{},
		{kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DisableIdempotentWrite()},
		{kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()},
		{kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()},
	} {
		producer := w.client(append(options, kgo.DefaultProduceTopic(w.topic))...)
		record := kgo.StringRecord(fmt.Sprint(number))
		ok(producer.ProduceSync(w.ctx, record).FirstErr())
		if number < 3 {
			equal(record.Offset, int64(number))
		}
	}
	equal(texts(w.readAll(4)), numbers(0, 4))
}

// Null is not empty, header keys may repeat, timestamps are kept.
func shapesOfRecords(w *world) {
	w.createTopic(1)
	at := time.UnixMilli(1_700_000_000_123)
	headers := []kgo.RecordHeader{{Key: "trace", Value: []byte("1")}, {Key: "trace", Value: nil}, {Key: "trace", Value: []byte{}}}
	producer := w.client(kgo.DefaultProduceTopic(w.topic))
	ok(producer.ProduceSync(w.ctx,
		&kgo.Record{Key: []byte("k"), Value: nil, Timestamp: at},
		&kgo.Record{Key: nil, Value: []byte{}, Headers: headers, Timestamp: at},
	).FirstErr())
	found := w.readAll(2)
	equal([]any{found[0].Key, found[0].Value, found[0].Timestamp.UnixMilli()}, []any{[]byte("k"), []byte(nil), at.UnixMilli()})
	equal([]any{found[1].Key, found[1].Value, found[1].Headers}, []any{[]byte(nil), []byte{}, headers})
}

// A key lies where Java's clients put it: the expected partitions are murmur2's.
func keysChoosePartitionsAsInJava(w *world) {
	w.createTopic(6)
	producer := w.client(kgo.DefaultProduceTopic(w.topic))
	expected := map[string]int32{"north": 2, "south": 5, "east": 0, "west": 5, "42": 4}
	for key := range expected {
		ok(producer.ProduceSync(w.ctx, kgo.KeyStringRecord(key, key)).FirstErr())
	}
	found := map[string]int32{}
	for _, record := range w.readAll(len(expected)) {
		found[string(record.Key)] = record.Partition
	}
	equal(found, expected)
}

// A partitioner of one's own decides by the record.
func customPartitioner(w *world) {
	w.createTopic(3)
	byRegion := kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
		return func(record *kgo.Record, partitions int) int {
			equal(partitions, 3)
			return map[string]int{"north": 0, "south": 2}[string(record.Value)]
		}
	})
	producer := w.client(kgo.DefaultProduceTopic(w.topic), kgo.RecordPartitioner(byRegion))
	for _, region := range []string{"north", "south", "south", "north"} {
		ok(producer.ProduceSync(w.ctx, kgo.StringRecord(region)).FirstErr())
	}
	found := w.readAll(4)
	slices.SortFunc(found, func(a, b *kgo.Record) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	equal(texts(found), []string{"north", "north", "south", "south"})
	equal([]int32{found[1].Partition, found[2].Partition}, []int32{0, 2})
}

// A topic that nobody created exists after its first record if the client asks for that, and not otherwise.
func firstRecordCreatesTheTopic(w *world) {
	strict := w.client(kgo.DefaultProduceTopic(w.topic), kgo.UnknownTopicRetries(1))
	err := strict.ProduceSync(w.ctx, kgo.StringRecord("lost")).FirstErr()
	require(errors.Is(err, kerr.UnknownTopicOrPartition), "created unasked: %v", err)
	producer := w.client(kgo.DefaultProduceTopic(w.topic), kgo.AllowAutoTopicCreation())
	ok(producer.ProduceSync(w.ctx, kgo.StringRecord("first")).FirstErr())
	equal(texts(w.readAll(1)), []string{"first"})
}

// A record above the topic's limit is refused by the broker, and the producer goes on with the next.
func tooLargeRecordsAreRefused(w *world) {
	w.createTopic(1)
	producer := w.client(
		kgo.DefaultProduceTopic(w.topic),
		kgo.ProducerBatchMaxBytes(4<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	err := producer.ProduceSync(w.ctx, kgo.StringRecord(strings.Repeat("x", 2<<20))).FirstErr()
	require(errors.Is(err, kerr.MessageTooLarge), "2 MiB: %v", err)
	ok(producer.ProduceSync(w.ctx, kgo.StringRecord("small")).FirstErr())
	equal(texts(w.readAll(1)), []string{"small"})
}
