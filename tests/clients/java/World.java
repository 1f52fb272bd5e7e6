import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** What one case has: a topic and a group named after it, clients of every kind, and checks that say what was wrong. */
final class World implements AutoCloseable {
    static final long WAIT_S = 30;
    final String bootstrap;
    final String topic;
    final String group;
    final Admin admin;

    World(String bootstrap, String unique) {
        this.bootstrap = bootstrap;
        this.topic = unique;
        this.group = unique;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    @Override
    public void close() {
        admin.close(Duration.ofSeconds(WAIT_S));
    }

    static void require(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object found, Object expected) {
        require(Objects.equals(found, expected), "found " + found + ", expected " + expected);
    }

    static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(WAIT_S, TimeUnit.SECONDS);
    }

    /** The simple name of the exception that a call of the admin client ends with. */
    static String refusal(KafkaFuture<?> future) throws Exception {
        try {
            return "nothing: " + get(future);
        } catch (ExecutionException error) {
            return error.getCause().getClass().getSimpleName();
        }
    }

    /** Asks again until it holds: Kafka answers an admin request before its brokers show what changed. */
    static void until(Callable<Boolean> condition, String what) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_S);
        while (!condition.call()) {
            require(System.nanoTime() < deadline, what + ": not within " + WAIT_S + " s");
        }
    }

    void createTopic(int partitions, Map<String, String> configs) throws Exception {
        get(admin.createTopics(List.of(new NewTopic(topic, partitions, (short) -1).configs(configs))).all());
        until(() -> admin.listTopics().names().get().contains(topic) && partitions() == partitions, "the topic is there");
    }

    int partitions() throws Exception {
        return Described.topic(admin, topic).partitions().size();
    }

    /**
     * A producer; later versions are idempotent unless told otherwise. Version 2.8 asks for acks=1, whose answer does not yet say that
     * the records are visible: behind the high watermark they are with acks=all.
     */
    KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", 5, "acks", "all"));
        config.putAll(more);
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    /** Sends "word 0", "word 1", ... in turn to the partitions; returns the offsets told, in order. */
    List<Long> fill(String word, int count, int partitions, Map<String, Object> config) throws Exception {
        try (var producer = producer(config)) {
            var sent = new ArrayList<java.util.concurrent.Future<org.apache.kafka.clients.producer.RecordMetadata>>();
            for (int number = 0; number < count; number++) {
                sent.add(producer.send(new ProducerRecord<>(topic, number % partitions, "key " + number, word + " " + number)));
            }
            producer.flush();
            var offsets = new ArrayList<Long>();
            for (var future : sent) {
                offsets.add(future.get(WAIT_S, TimeUnit.SECONDS).offset());
            }
            return offsets;
        }
    }

    /** A consumer that belongs to no group until it subscribes. */
    KafkaConsumer<byte[], String> consumer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest",
            "enable.auto.commit", false, "fetch.max.wait.ms", 100, "heartbeat.interval.ms", 200,
            "session.timeout.ms", 6000, "retry.backoff.ms", 20));
        config.putAll(more);
        return new KafkaConsumer<>(config, new ByteArrayDeserializer(), new StringDeserializer());
    }

    KafkaConsumer<byte[], String> member(Map<String, Object> more) {
        var consumer = consumer(more);
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    /** Polls until so many records came. */
    static List<ConsumerRecord<byte[], String>> read(Consumer<byte[], String> consumer, int count) throws Exception {
        var found = new ArrayList<ConsumerRecord<byte[], String>>();
        until(() -> {
            consumer.poll(Duration.ofMillis(200)).forEach(found::add);
            return found.size() >= count;
        }, count + " records");
        equal(found.size(), count);
        return found;
    }

    static List<String> values(Collection<ConsumerRecord<byte[], String>> records) {
        var found = new ArrayList<String>();
        records.forEach(record -> found.add(record.value()));
        return found;
    }

    static List<String> words(String word, int from, int to) {
        var found = new ArrayList<String>();
        for (int number = from; number < to; number++) {
            found.add(word + " " + number);
        }
        return found;
    }

    /** By partition, what a group committed. */
    Map<Integer, Long> committed() throws Exception {
        var found = new TreeMap<Integer, Long>();
        get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata())
            .forEach((where, offset) -> found.put(where.partition(), offset.offset()));
        return found;
    }
}
