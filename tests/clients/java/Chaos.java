import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.AuthorizationException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** The programs of a chaos run with Kafka's own client: ROLE PROCESS BOOTSTRAP key=value ... (tests/history/programs). */
public class Chaos {
    /** The client can do no more; the next process goes on. */
    private static final class Fatal extends RuntimeException {
        Fatal(Exception cause) {
            super(cause);
        }
    }

    /** A step of a transaction. */
    private interface Step {
        void run() throws Exception;
    }

    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    private static volatile boolean stopped;
    private final String process;
    private final String bootstrap;
    private final Map<String, String> options;

    private Chaos(String process, String bootstrap, Map<String, String> options) {
        this.process = process;
        this.bootstrap = bootstrap;
        this.options = options;
    }

    /** A JVM is large: with `count` it is several members, each with a thread and a name of its own. */
    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int at = 3; at < arguments.length; at++) {
            String[] pair = arguments[at].split("=", 2);
            options.put(pair[0], pair[1]);
        }
        int count = Integer.parseInt(options.getOrDefault("count", "0"));
        List<Thread> threads = new ArrayList<>();
        var failed = new AtomicBoolean();
        for (int number = 0; number < Math.max(count, 1); number++) {
            String name = count == 0 ? arguments[1] : arguments[1] + "-" + number;
            var chaos = new Chaos(name, arguments[2], options);
            threads.add(new Thread(() -> chaos.play(arguments[0], failed), name));
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopped = true;
            threads.forEach(Chaos::join);
            Runtime.getRuntime().halt(failed.get() ? 1 : 0);
        }));
        threads.forEach(Thread::start);
        threads.forEach(Chaos::join);
        System.exit(1);
    }

    private static void join(Thread thread) {
        try {
            thread.join();
        } catch (InterruptedException interrupted) {
            throw new AssertionError(interrupted);
        }
    }

    private void play(String role, AtomicBoolean failed) {
        try {
            if (role.equals("transform")) {
                transform();
            } else if (role.equals("transfer")) {
                transfer();
            } else {
                member();
            }
            tell("ended", "");
        } catch (Exception error) {
            failed.set(true);
            tell("ended", field("error", error.toString()));
        }
    }

    // --- events ------------------------------------------------------------------------------------------------------

    private void tell(String event, String fields) {
        long at = ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now());
        OUT.println("{\"event\":\"" + event + "\",\"at\":" + at + ",\"process\":" + Cases.quoted(process) + fields + "}");
    }

    private static String field(String name, String value) {
        return ",\"" + name + "\":" + Cases.quoted(value);
    }

    private static String places(Collection<TopicPartition> partitions) {
        return ",\"partitions\":" + partitions.stream()
            .map(each -> "[" + Cases.quoted(each.topic()) + "," + each.partition() + "]")
            .collect(Collectors.joining(",", "[", "]"));
    }

    private static String spot(String topic, int partition, long offset) {
        return "[" + Cases.quoted(topic) + "," + partition + "," + offset + "]";
    }

    private static String spots(String name, Map<TopicPartition, Long> offsets) {
        return ",\"" + name + "\":" + offsets.entrySet().stream()
            .map(each -> spot(each.getKey().topic(), each.getKey().partition(), each.getValue()))
            .collect(Collectors.joining(",", "[", "]"));
    }

    private void polled(ConsumerRecords<String, String> records, String txn) {
        String found = StreamSupport.stream(records.spliterator(), false)
            .map(each -> "[" + Cases.quoted(each.topic()) + "," + each.partition() + "," + each.offset() + "," + Cases.quoted(each.value()) + "]")
            .collect(Collectors.joining(",", "[", "]"));
        tell("poll", ",\"isolation\":\"committed\",\"records\":" + found + field("group", options.get("group"))
            + (txn == null ? "" : field("txn", txn)));
    }

    // --- clients -----------------------------------------------------------------------------------------------------

    private KafkaConsumer<String, String> subscribed(String topic) {
        boolean classic = options.getOrDefault("protocol", "classic").equals("classic");
        String group = options.get("group");
        Map<String, Object> config = new HashMap<>(Map.of(
            "bootstrap.servers", bootstrap, "group.id", group, "auto.offset.reset", "earliest", "enable.auto.commit", false,
            "isolation.level", "read_committed", "fetch.max.wait.ms", 100, "max.poll.records", 20,
            "max.poll.interval.ms", 10_000, "reconnect.backoff.ms", 20, "retry.backoff.ms", 20));
        config.put("reconnect.backoff.max.ms", 200);
        if (classic) {
            config.put("session.timeout.ms", Integer.parseInt(options.getOrDefault("session_ms", "6000")));
            config.put("heartbeat.interval.ms", 500);
            boolean range = options.getOrDefault("assignor", "").equals("range");
            config.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer." + (range ? "RangeAssignor" : "CooperativeStickyAssignor"));
        } else {
            config.put("group.protocol", "consumer");
        }
        var consumer = new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(List.of(topic), new ConsumerRebalanceListener() {
            @Override
            public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
                String generation = classic ? ",\"generation\":" + consumer.groupMetadata().generationId() : "";
                tell("assigned", field("group", group) + places(partitions) + generation);
            }

            @Override
            public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
                tell("revoked", field("group", group) + places(partitions) + (stopped ? ",\"closing\":true" : ""));
            }

            @Override
            public void onPartitionsLost(Collection<TopicPartition> partitions) {
                tell("lost", field("group", group) + places(partitions));
            }
        });
        return consumer;
    }

    /** By partition, the first offset of a batch, or the one behind its last. */
    private static Map<TopicPartition, Long> positions(ConsumerRecords<String, String> records, boolean start) {
        Map<TopicPartition, Long> found = new LinkedHashMap<>();
        for (TopicPartition each : records.partitions()) {
            var these = records.records(each);
            found.put(each, start ? these.get(0).offset() : these.get(these.size() - 1).offset() + 1);
        }
        return found;
    }

    private static Map<TopicPartition, OffsetAndMetadata> asMetadata(Map<TopicPartition, Long> offsets) {
        Map<TopicPartition, OffsetAndMetadata> found = new HashMap<>();
        offsets.forEach((where, offset) -> found.put(where, new OffsetAndMetadata(offset)));
        return found;
    }

    // --- roles -------------------------------------------------------------------------------------------------------

    private void member() {
        String group = options.get("group");
        try (var consumer = subscribed(options.get("topic"))) {
            while (!stopped) {
                var records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                polled(records, null);
                var offsets = positions(records, false);
                tell("commit_offsets", field("group", group) + spots("offsets", offsets));
                try {
                    consumer.commitSync(asMetadata(offsets), Duration.ofSeconds(10));
                    tell("offsets_committed", field("group", group) + spots("offsets", offsets));
                } catch (KafkaException refused) {
                    tell("offsets_failed", field("group", group) + field("error", refused.toString()));
                }
            }
        }
    }

    private KafkaProducer<String, String> producer;
    private String txn;

    private KafkaProducer<String, String> transactional() {
        producer = new KafkaProducer<>(Map.<String, Object>of(
            "bootstrap.servers", bootstrap, "transactional.id", options.get("id"), "linger.ms", 1,
            "transaction.timeout.ms", Integer.parseInt(options.getOrDefault("timeout_ms", "10000")),
            "max.block.ms", 10_000, "delivery.timeout.ms", 60_000, "request.timeout.ms", 10_000,
            "reconnect.backoff.ms", 20, "reconnect.backoff.max.ms", 200), new StringSerializer(), new StringSerializer());
        return producer;
    }

    private void initialize() {
        again(producer::initTransactions);
        tell("initialized", field("transactional_id", options.get("id")));
    }

    /** Whether the transaction of this number is to be aborted. */
    private boolean aborts(int number) {
        int every = Integer.parseInt(options.getOrDefault("abort_every", "0"));
        return every > 0 && number % every == 0;
    }

    private void transform() {
        try (var made = transactional(); var consumer = subscribed(options.get("source"))) {
            initialize();
            for (int number = 1; !stopped; ) {
                var records = consumer.poll(Duration.ofMillis(200));
                if (records.isEmpty()) {
                    continue;
                }
                txn = process + "/" + number;
                tell("begin", field("txn", txn));
                polled(records, txn);
                boolean aborts = aborts(number++);
                if (!ends(() -> fill(consumer, records, aborts))) {
                    var start = positions(records, true);
                    tell("seek", spots("positions", start));
                    start.forEach((where, offset) -> {
                        if (consumer.assignment().contains(where)) {
                            consumer.seek(where, offset);
                        }
                    });
                }
            }
        } catch (KafkaException error) {
            throw new Fatal(error);
        }
    }

    /** What the transaction of these records does, to its end. */
    private void fill(KafkaConsumer<String, String> consumer, ConsumerRecords<String, String> records, boolean aborts) throws Exception {
        for (var record : records) {
            var cause = ",\"cause\":" + spot(record.topic(), record.partition(), record.offset());
            send(options.get("target"), record.partition(), record.value() + "~" + txn, cause);
        }
        var offsets = positions(records, false);
        tell("commit_offsets", field("group", options.get("group")) + spots("offsets", offsets) + field("txn", txn));
        again(() -> producer.sendOffsetsToTransaction(asMetadata(offsets), consumer.groupMetadata()));
        commit(aborts);
    }

    /**
     * Moves amounts between accounts: each is taken from one partition and given to another. In the transaction `hangs_in` it does
     * nothing until it is told a line.
     */
    private void transfer() {
        int partitions = Integer.parseInt(options.get("partitions"));
        var chance = new Random(process.hashCode());
        try (var made = transactional()) {
            initialize();
            for (int number = 1; !stopped; number++) {
                txn = process + "/" + number;
                tell("begin", field("txn", txn));
                boolean aborts = aborts(number);
                int from = chance.nextInt(partitions);
                int to = (from + 1 + chance.nextInt(partitions - 1)) % partitions;
                boolean hangs = String.valueOf(number).equals(options.get("hangs_in"));
                String amount = 1 + chance.nextInt(999) + "~" + txn;
                ends(() -> {
                    send(options.get("topic"), from, "-" + amount, "");
                    send(options.get("topic"), to, "+" + amount, "");
                    if (hangs) {
                        producer.flush();
                        System.in.read();
                    }
                    commit(aborts);
                });
            }
        } catch (KafkaException error) {
            throw new Fatal(error);
        }
    }

    /** Commits, or has the transaction aborted; in the one named `dies_in` the process dies before that, as by a kill. */
    private void commit(boolean aborts) {
        if (txn.equals(process + "/" + options.get("dies_in"))) {
            producer.flush();
            tell("fault", field("what", "dies") + field("target", process));
            Runtime.getRuntime().halt(137);
        }
        if (aborts) {
            producer.flush();
            throw new KafkaException("aborted on purpose");
        }
        tell("commit", field("txn", txn));
        again(producer::commitTransaction);
        tell("committed", field("txn", txn));
    }

    private void send(String topic, int partition, String value, String cause) {
        String what = field("topic", topic) + field("value", value);
        tell("send", what + ",\"partition\":" + partition + field("txn", txn) + cause);
        producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, error) -> {
            if (error == null) {
                tell("sent", what + ",\"partition\":" + metadata.partition() + ",\"offset\":" + metadata.offset());
            } else {
                tell("failed", what + field("error", error.toString()));
            }
        });
    }

    /** Runs a transaction; false if it was aborted. */
    private boolean ends(Step work) {
        try {
            producer.beginTransaction();
            work.run();
            return true;
        } catch (ProducerFencedException | OutOfOrderSequenceException | AuthorizationException | UnsupportedVersionException error) {
            tell("unsure", field("txn", txn) + field("error", error.toString()));
            throw new Fatal(error);
        } catch (Exception error) {
            tell("abort", field("txn", txn));
            try {
                again(producer::abortTransaction);
            } catch (Exception second) {
                tell("unsure", field("txn", txn) + field("error", second.toString()));
                throw new Fatal(second);
            }
            tell("aborted", field("txn", txn));
            return false;
        }
    }

    /** What timed out may be tried again, and has to be: the client cannot tell what became of it. */
    private static void again(Runnable work) {
        while (true) {
            try {
                work.run();
                return;
            } catch (TimeoutException error) {
                // Once more.
            }
        }
    }
}
