import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ProducerFencedException;

/** Transactional producers: KIP-890 since 4.0, the protocol before it in the older versions. */
final class Transactions {
    private Transactions() {}

    static void add(Map<String, Cases.Case> cases) {
        cases.put("committed_is_seen_and_aborted_is_not", Transactions::ends);
        cases.put("a_transaction_moves_records_and_offsets_together", Transactions::moves);
        cases.put("a_second_producer_fences_the_first", Transactions::fences);
        cases.put("transactions_without_anything_end_too", Transactions::empty);
    }

    private static KafkaProducer<String, String> producer(World w) {
        var producer = w.producer(Map.of("transactional.id", w.topic, "max.block.ms", 30_000));
        producer.initTransactions();
        return producer;
    }

    private static KafkaConsumer<byte[], String> reader(World w, String topic, int partitions) {
        var consumer = w.consumer(Map.of("isolation.level", "read_committed"));
        var all = new ArrayList<TopicPartition>();
        for (int index = 0; index < partitions; index++) {
            all.add(new TopicPartition(topic, index));
        }
        consumer.assign(all);
        consumer.seekToBeginning(all);
        return consumer;
    }

    private static List<String> sorted(List<String> values) {
        var found = new ArrayList<>(values);
        Collections.sort(found);
        return found;
    }

    /** Many short transactions over three partitions, every third one aborted. */
    static void ends(World w) throws Exception {
        w.createTopic(3, Map.of());
        var expected = new ArrayList<String>();
        try (var producer = producer(w); var consumer = reader(w, w.topic, 3)) {
            for (int number = 0; number < 12; number++) {
                producer.beginTransaction();
                for (int part = 0; part < 5; part++) {
                    var value = String.format("%02d %d", number, part);
                    producer.send(new ProducerRecord<>(w.topic, part % 3, null, value));
                    if (number % 3 != 0) {
                        expected.add(value);
                    }
                }
                if (number % 3 == 0) {
                    producer.flush();
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
            }
            World.equal(sorted(World.values(World.read(consumer, expected.size()))), sorted(expected));
        }
    }

    /** Consume, transform, produce: what an aborted transaction has read is read again, and nothing comes twice. */
    static void moves(World w) throws Exception {
        w.createTopic(2, Map.of());
        w.fill("v", 20, 2, Map.of());
        var target = w.topic + ".out";
        int moved = 0;
        boolean aborts = true;
        try (var producer = producer(w); var consumer = w.member(Map.of("isolation.level", "read_committed", "max.poll.records", 4))) {
            while (moved < 20) {
                var records = consumer.poll(java.time.Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                producer.beginTransaction();
                var offsets = new HashMap<TopicPartition, OffsetAndMetadata>();
                for (var record : records) {
                    producer.send(new ProducerRecord<>(target, "moved " + record.value()));
                    offsets.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                producer.sendOffsetsToTransaction(offsets, consumer.groupMetadata());
                if (aborts) {
                    producer.abortTransaction();
                    var committed = consumer.committed(consumer.assignment());
                    consumer.assignment().forEach(where -> {
                        var offset = committed.get(where);
                        consumer.seek(where, offset == null ? 0 : offset.offset());
                    });
                } else {
                    producer.commitTransaction();
                    moved += records.count();
                }
                aborts = !aborts;
            }
            World.equal(moved, 20);
        }
        var expected = new ArrayList<String>();
        World.words("moved v", 0, 20).forEach(expected::add);
        try (var consumer = reader(w, target, 1)) {
            World.equal(sorted(World.values(World.read(consumer, 20))), sorted(expected));
        }
        World.until(() -> w.committed().equals(Map.of(0, 10L, 1, 10L)), "the offsets are committed");
    }

    /** What it had open is gone; it writes and commits nothing any more. */
    static void fences(World w) throws Exception {
        w.createTopic(1, Map.of());
        try (var first = producer(w)) {
            first.beginTransaction();
            first.send(new ProducerRecord<>(w.topic, 0, null, "first")).get();
            try (var second = producer(w)) {
                second.beginTransaction();
                second.send(new ProducerRecord<>(w.topic, 0, null, "second"));
                second.commitTransaction();
            }
            try {
                first.commitTransaction();
                World.require(false, "the first producer is not fenced");
            } catch (ProducerFencedException expected) {
                // As it should be.
            } catch (KafkaException other) {
                World.require(other.getCause() instanceof ProducerFencedException
                    || other.getClass().getSimpleName().equals("InvalidProducerEpochException"), "fenced by " + other);
            }
        }
        try (var consumer = reader(w, w.topic, 1)) {
            World.equal(World.values(World.read(consumer, 1)), List.of("second"));
        }
    }

    /** Of nothing, and after an abort. */
    static void empty(World w) throws Exception {
        w.createTopic(1, Map.of());
        try (var producer = producer(w)) {
            producer.beginTransaction();
            producer.commitTransaction();
            producer.beginTransaction();
            producer.abortTransaction();
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(w.topic, 0, null, "one"));
            producer.commitTransaction();
        }
        try (var consumer = reader(w, w.topic, 1)) {
            World.equal(World.values(World.read(consumer, 1)), List.of("one"));
        }
    }
}
