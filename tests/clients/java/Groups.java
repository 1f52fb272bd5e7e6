import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Consumer groups. */
final class Groups {
    private static final Set<Integer> EVERY = Set.of(0, 1, 2, 3, 4, 5);

    private Groups() {}

    static void add(Map<String, Cases.Case> cases) {
        cases.put("manual_commit_and_resume", Groups::manual);
        cases.put("auto_commit_on_close", Groups::auto);
        cases.put("three_members_of_whom_one_is_killed", w -> three(w, Map.of()));
        cases.put("cooperative_members_share", Groups::cooperative);
        cases.put("a_static_member_comes_back", Groups::statics);
        cases.put("members_of_the_consumer_protocol_share", Groups::consumerProtocol);
    }

    /** Nothing is committed but what the program commits; the next member starts there. */
    static void manual(World w) throws Exception {
        var where = new TopicPartition(w.topic, 0);
        w.createTopic(1, Map.of());
        w.fill("record", 20, 1, Map.of());
        try (var first = w.member(Map.of())) {
            World.read(first, 20);
            World.equal(w.committed(), Map.of());
            first.commitSync(Map.of(where, new OffsetAndMetadata(12, "half way")));
            World.equal(first.committed(Set.of(where)).get(where).metadata(), "half way");
        }
        try (var second = w.member(Map.of())) {
            World.equal(World.values(World.read(second, 8)), World.words("record", 12, 20));
            second.commitAsync();
            second.commitSync();
        }
        World.equal(w.committed(), Map.of(0, 20L));
    }

    /** Closing commits what was read. */
    static void auto(World w) throws Exception {
        w.createTopic(1, Map.of());
        w.fill("record", 5, 1, Map.of());
        try (var member = w.member(Map.of("enable.auto.commit", true))) {
            World.read(member, 5);
        }
        World.equal(w.committed(), Map.of(0, 5L));
    }

    /** A member polled by a thread of its own, as a rebalance needs all of them to move. */
    private static final class Polled implements AutoCloseable {
        private final KafkaConsumer<byte[], String> consumer;
        private final Thread thread;
        final Set<String> values = new ConcurrentSkipListSet<>();
        volatile Set<Integer> owned = Set.of();
        volatile Throwable error;
        private volatile boolean over;

        Polled(KafkaConsumer<byte[], String> consumer) {
            this.consumer = consumer;
            thread = new Thread(this::run);
            thread.start();
        }

        private void run() {
            try (consumer) {
                while (!over) {
                    consumer.poll(Duration.ofMillis(100)).forEach(record -> values.add(record.value()));
                    owned = consumer.assignment().stream().map(TopicPartition::partition).collect(Collectors.toUnmodifiableSet());
                }
            } catch (Throwable thrown) {
                error = thrown;
            }
        }

        @Override
        public void close() throws InterruptedException {
            over = true;
            thread.join();
        }
    }

    private static boolean share(int each, Polled... members) {
        var all = new TreeSet<Integer>();
        for (var member : members) {
            if (member.error != null) {
                throw new AssertionError(member.error);
            }
            if (member.owned.size() != each) {
                return false;
            }
            all.addAll(member.owned);
        }
        return all.size() == each * members.length;
    }

    private static boolean arrived(List<String> expected, Polled... members) {
        return Stream.of(members).flatMap(member -> member.values.stream()).collect(Collectors.toSet()).containsAll(expected);
    }

    /** Two members here, one in a process that dies without a word: two partitions each, then three, and no record is lost. */
    static void three(World w, Map<String, Object> config) throws Exception {
        w.createTopic(6, Map.of());
        w.fill("early", 60, 6, Map.of());
        Map<String, Object> quick = Map.of("session.timeout.ms", 1500);
        Process victim = null;
        try (var first = new Polled(w.member(quick)); var second = new Polled(w.member(quick))) {
            victim = new ProcessBuilder(
                ProcessHandle.current().info().command().orElseThrow(), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
                "-cp", System.getProperty("java.class.path"), "Victim", w.bootstrap, w.topic).redirectError(ProcessBuilder.Redirect.INHERIT).start();
            World.until(() -> share(2, first, second), "two partitions each");
            var told = new String(victim.getInputStream().readNBytes(6));
            var owned = new TreeSet<>(EVERY);
            owned.removeAll(first.owned);
            owned.removeAll(second.owned);
            World.equal(told.strip(), owned.toString().replaceAll("[^0-9]+", " ").strip());
            victim.destroyForcibly().waitFor();
            World.until(() -> share(3, first, second), "three each after the kill");
            w.fill("late", 60, 6, Map.of());
            var all = new ArrayList<>(World.words("early", 0, 60));
            all.addAll(World.words("late", 0, 60));
            World.until(() -> arrived(all, first, second), "nothing is lost");
        } finally {
            if (victim != null) {
                victim.destroyForcibly();
            }
        }
    }

    /** With cooperative-sticky a second member takes half, and what stays with the first is never taken away. */
    static void cooperative(World w) throws Exception {
        Map<String, Object> config = Map.of("partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");
        w.createTopic(6, Map.of());
        try (var first = new Polled(w.member(config))) {
            World.until(() -> share(6, first), "everything");
            try (var second = new Polled(w.member(config))) {
                World.until(() -> share(3, first, second), "half each");
                w.fill("record", 12, 6, Map.of());
                World.until(() -> arrived(World.words("record", 0, 12), first, second), "everything arrives");
            }
            World.until(() -> share(6, first), "everything again");
        }
    }

    /** A static member that restarts has its partitions again without a rebalance, under another member id. */
    static void statics(World w) throws Exception {
        w.createTopic(2, Map.of());
        w.fill("record", 4, 2, Map.of());
        Map<String, Object> config = Map.of("group.instance.id", "first");
        var before = once(w, config);
        var after = once(w, config);
        World.equal(after.generation, before.generation);
        World.require(!after.memberId.equals(before.memberId), "the same member id twice: " + after.memberId);
        var described = World.get(w.admin.describeConsumerGroups(List.of(w.group)).all()).get(w.group);
        World.equal(described.members().iterator().next().groupInstanceId().orElse(null), "first");
    }

    /**
     * group.protocol=consumer (from version 4 on): half each for two members, one of which subscribes by a pattern; with a classic member a
     * third each, and everything again for the one that stays. An older client has no such setting.
     */
    static void consumerProtocol(World w) throws Exception {
        w.createTopic(6, Map.of());
        Class<?> pattern;
        try {
            pattern = Class.forName("org.apache.kafka.clients.consumer.SubscriptionPattern");
        } catch (ClassNotFoundException older) {
            return;
        }
        var byName = newProtocol(w);
        byName.subscribe(List.of(w.topic));
        try (var first = new Polled(byName)) {
            World.until(() -> share(6, first), "everything");
            var byPattern = newProtocol(w);
            byPattern.getClass().getMethod("subscribe", pattern)
                .invoke(byPattern, pattern.getConstructor(String.class).newInstance(w.topic + ".*"));
            try (var second = new Polled(byPattern)) {
                World.until(() -> share(3, first, second), "half each");
                w.fill("record", 12, 6, Map.of());
                World.until(() -> arrived(World.words("record", 0, 12), first, second), "everything arrives");
                try (var classic = new Polled(w.member(Map.of()))) {
                    World.until(() -> share(2, first, second, classic), "a third each");
                }
            }
            World.until(() -> share(6, first), "everything again");
        }
    }

    private static KafkaConsumer<byte[], String> newProtocol(World w) {
        return new KafkaConsumer<>(
            Map.of("bootstrap.servers", w.bootstrap, "group.id", w.group, "auto.offset.reset", "earliest", "enable.auto.commit", false,
                "fetch.max.wait.ms", 100, "retry.backoff.ms", 20, "group.protocol", "consumer"),
            new ByteArrayDeserializer(), new StringDeserializer());
    }

    private static final class Turn {
        final int generation;
        final String memberId;

        Turn(int generation, String memberId) {
            this.generation = generation;
            this.memberId = memberId;
        }
    }

    private static Turn once(World w, Map<String, Object> config) throws Exception {
        try (var member = w.member(config)) {
            World.read(member, 4);
            var metadata = member.groupMetadata();
            return new Turn(metadata.generationId(), metadata.memberId());
        }
    }
}
