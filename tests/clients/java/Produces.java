import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Producing, and consuming without a group. */
final class Produces {
    private Produces() {}

    static void add(Map<String, Cases.Case> cases) {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            cases.put("codec_" + codec, w -> codec(w, codec));
        }
        cases.put("every_acks", Produces::acks);
        cases.put("headers_nulls_and_timestamps", Produces::shapes);
        cases.put("from_an_offset_a_time_or_the_end", Produces::places);
        cases.put("a_topic_appears_when_produced_to", Produces::appears);
    }

    /** What was compressed comes back, at the offsets told. */
    static void codec(World w, String codec) throws Exception {
        w.createTopic(1, Map.of());
        var offsets = w.fill("value".repeat(20), 500, 1, Map.of("compression.type", codec));
        World.equal(List.of(offsets.get(0), offsets.get(499)), List.of(0L, 499L));
        try (var consumer = w.consumer(Map.of())) {
            consumer.assign(List.of(new TopicPartition(w.topic, 0)));
            World.equal(World.values(World.read(consumer, 500)), World.words("value".repeat(20), 0, 500));
        }
    }

    /** Acks 1 and all, an idempotent producer, and acks 0, which comes last: nobody knows when its records are there. */
    static void acks(World w) throws Exception {
        w.createTopic(1, Map.of());
        for (String acks : List.of("1", "all")) {
            w.fill("acks" + acks, 10, 1, Map.of("acks", acks, "enable.idempotence", false));
        }
        World.equal(w.fill("idempotent", 10, 1, Map.of("enable.idempotence", true)).get(9), 29L);
        w.fill("acks0", 10, 1, Map.of("acks", "0", "enable.idempotence", false));
        var expected = new ArrayList<String>();
        List.of("acks1", "acksall", "idempotent", "acks0").forEach(word -> expected.addAll(World.words(word, 0, 10)));
        try (var consumer = w.consumer(Map.of())) {
            consumer.assign(List.of(new TopicPartition(w.topic, 0)));
            World.equal(World.values(World.read(consumer, 40)), expected);
        }
    }

    /** Headers keep order and duplicates, null is not empty, and a timestamp is the one given. */
    static void shapes(World w) throws Exception {
        w.createTopic(1, Map.of());
        try (var producer = w.producer(Map.of())) {
            var with = new ProducerRecord<>(w.topic, 0, 1_700_000_000_000L, "k", "v");
            with.headers().add("trace", "1".getBytes(StandardCharsets.UTF_8)).add("trace", "2".getBytes(StandardCharsets.UTF_8)).add("none", null);
            producer.send(with);
            producer.send(new ProducerRecord<>(w.topic, 0, null, ""));
            producer.send(new ProducerRecord<>(w.topic, 0, "", null)).get(World.WAIT_S, TimeUnit.SECONDS);
        }
        try (var consumer = w.consumer(Map.of())) {
            consumer.assign(List.of(new TopicPartition(w.topic, 0)));
            var found = World.read(consumer, 3);
            var headers = new ArrayList<String>();
            found.get(0).headers().forEach(each -> headers.add(each.key() + "=" + (each.value() == null ? "null" : new String(each.value(), StandardCharsets.UTF_8))));
            World.equal(headers, List.of("trace=1", "trace=2", "none=null"));
            World.equal(found.get(0).timestamp(), 1_700_000_000_000L);
            World.require(found.get(1).key() == null && found.get(1).value().isEmpty(), "an empty value without a key");
            World.require(found.get(2).key().length == 0 && found.get(2).value() == null, "no value with an empty key");
        }
    }

    /** Seeking, the offset of a time, beginning and end. */
    static void places(World w) throws Exception {
        var where = new TopicPartition(w.topic, 0);
        w.createTopic(1, Map.of());
        try (var producer = w.producer(Map.of())) {
            for (int number = 0; number < 20; number++) {
                producer.send(new ProducerRecord<>(w.topic, 0, 1_700_000_000_000L + 10 * number, null, "record " + number));
            }
        }
        try (var consumer = w.consumer(Map.of())) {
            consumer.assign(List.of(where));
            World.equal(consumer.beginningOffsets(List.of(where)), Map.of(where, 0L));
            World.equal(consumer.endOffsets(List.of(where)), Map.of(where, 20L));
            World.equal(consumer.offsetsForTimes(Map.of(where, 1_700_000_000_031L)).get(where).offset(), 4L);
            World.equal(consumer.offsetsForTimes(Map.of(where, 1_700_000_000_191L)).get(where), null);
            consumer.seek(where, 12);
            World.equal(World.values(World.read(consumer, 8)), World.words("record", 12, 20));
            consumer.seekToEnd(List.of(where));
            World.equal(consumer.position(where), 20L);
            World.equal(consumer.poll(Duration.ofMillis(50)).count(), 0);
            consumer.seekToBeginning(List.of(where));
            World.equal(World.values(World.read(consumer, 20)), World.words("record", 0, 20));
        }
    }

    /** A topic that nobody created has the default number of partitions. */
    static void appears(World w) throws Exception {
        w.fill("record", 3, 1, Map.of());
        World.equal(w.partitions(), 1);
    }
}
