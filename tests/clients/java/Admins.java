import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** What the admin client can do. */
final class Admins {
    private Admins() {}

    static void add(Map<String, Cases.Case> cases) {
        cases.put("topics_are_created_described_grown_and_deleted", Admins::topics);
        cases.put("configs_are_altered", Admins::configs);
        cases.put("records_are_deleted", Admins::records);
        cases.put("cluster_and_log_dirs_are_described", Admins::cluster);
        cases.put("groups_and_their_offsets_are_kept_and_deleted", Admins::groups);
    }

    /** A topic has what it was created with, grows, never shrinks, and goes. */
    static void topics(World w) throws Exception {
        w.createTopic(3, Map.of("retention.ms", "7654321"));
        var described = Described.topic(w.admin, w.topic);
        World.equal(described.partitions().get(2).replicas().size(), 1);
        World.equal(described.isInternal(), false);
        var again = w.admin.createTopics(List.of(new NewTopic(w.topic, 3, (short) 1))).all();
        World.equal(World.refusal(again), "TopicExistsException");
        var three = w.admin.createTopics(List.of(new NewTopic(w.topic + ".three", 1, (short) 3))).all();
        World.equal(World.refusal(three), "InvalidReplicationFactorException");
        World.get(w.admin.createPartitions(Map.of(w.topic, NewPartitions.increaseTo(5))).all());
        World.until(() -> w.partitions() == 5, "five partitions");
        var fewer = w.admin.createPartitions(Map.of(w.topic, NewPartitions.increaseTo(4))).all();
        World.equal(World.refusal(fewer), "InvalidPartitionsException");
        World.get(w.admin.deleteTopics(List.of(w.topic)).all());
        World.until(() -> !World.get(w.admin.listTopics().names()).contains(w.topic), "the topic is gone");
        World.equal(World.refusal(w.admin.deleteTopics(List.of(w.topic)).all()), "UnknownTopicOrPartitionException");
    }

    private static ConfigEntry entry(World w, ConfigResource resource, String name) throws Exception {
        Config config = World.get(w.admin.describeConfigs(List.of(resource)).all()).get(resource);
        return config.get(name);
    }

    private static String alter(World w, ConfigResource resource, String name, String value, AlterConfigOp.OpType operation)
            throws Exception {
        var change = new AlterConfigOp(new ConfigEntry(name, value), operation);
        return World.refusal(w.admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all());
    }

    /** One setting is altered and taken back, the others stay; a bad value changes nothing. */
    static void configs(World w) throws Exception {
        var resource = new ConfigResource(ConfigResource.Type.TOPIC, w.topic);
        w.createTopic(1, Map.of("max.message.bytes", "2097152", "retention.ms", "1234567"));
        World.equal(entry(w, resource, "retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        World.equal(alter(w, resource, "retention.ms", "a week", AlterConfigOp.OpType.SET), "InvalidConfigurationException");
        World.equal(alter(w, resource, "no.such.setting", "1", AlterConfigOp.OpType.SET), "InvalidConfigurationException");
        World.equal(alter(w, resource, "cleanup.policy", "compact", AlterConfigOp.OpType.APPEND), "nothing: null");
        World.until(() -> entry(w, resource, "cleanup.policy").value().equals("delete,compact"), "both policies");
        World.equal(alter(w, resource, "retention.ms", "", AlterConfigOp.OpType.DELETE), "nothing: null");
        World.until(() -> entry(w, resource, "retention.ms").value().equals("604800000"), "the default again");
        World.equal(entry(w, resource, "retention.ms").source(), ConfigEntry.ConfigSource.DEFAULT_CONFIG);
        World.equal(entry(w, resource, "max.message.bytes").value(), "2097152");
        var broker = new ConfigResource(ConfigResource.Type.BROKER, "1");
        World.equal(entry(w, broker, "num.partitions").value(), "1");
    }

    /** The beginning of a partition moves to the offset given; its end stays. */
    static void records(World w) throws Exception {
        var where = new TopicPartition(w.topic, 0);
        w.createTopic(1, Map.of());
        w.fill("record", 10, 1, Map.of());
        var answer = w.admin.deleteRecords(Map.of(where, RecordsToDelete.beforeOffset(6))).lowWatermarks().get(where);
        World.equal(World.get(answer).lowWatermark(), 6L);
        var ends = new ArrayList<Long>();
        for (var spec : List.of(OffsetSpec.earliest(), OffsetSpec.latest(), OffsetSpec.forTimestamp(1_700_000_000_000L))) {
            ends.add(World.get(w.admin.listOffsets(Map.of(where, spec)).partitionResult(where)).offset());
        }
        World.equal(ends, List.of(6L, 10L, 6L));
        var beyond = w.admin.deleteRecords(Map.of(where, RecordsToDelete.beforeOffset(11))).all();
        World.equal(World.refusal(beyond), "OffsetOutOfRangeException");
    }

    /** One broker that is its own controller, with one directory that holds the partition. */
    static void cluster(World w) throws Exception {
        w.createTopic(1, Map.of());
        w.fill("record", 10, 1, Map.of());
        var cluster = w.admin.describeCluster();
        World.equal(World.get(cluster.clusterId()).length(), 22);
        World.equal(World.get(cluster.controller()).id(), 1);
        var node = World.get(cluster.nodes()).iterator().next();
        World.equal(node.host() + ":" + node.port(), w.bootstrap);
        var directories = World.get(w.admin.describeLogDirs(Set.of(1)).allDescriptions()).get(1);
        World.equal(directories.size(), 1);
        var replica = directories.values().iterator().next().replicaInfos().get(new TopicPartition(w.topic, 0));
        World.require(replica.size() > 200 && replica.offsetLag() == 0 && !replica.isFuture(), "the directory holds " + replica);
    }

    /** A group without members has its offsets set, listed and deleted; one with a member keeps them. */
    static void groups(World w) throws Exception {
        var where = new TopicPartition(w.topic, 0);
        w.createTopic(2, Map.of());
        w.fill("record", 20, 2, Map.of());
        var wanted = Map.of(where, new OffsetAndMetadata(3, "by hand"), new TopicPartition(w.topic, 1), new OffsetAndMetadata(7));
        World.get(w.admin.alterConsumerGroupOffsets(w.group, wanted).all());
        World.equal(w.committed(), Map.of(0, 3L, 1, 7L));
        World.get(w.admin.deleteConsumerGroupOffsets(w.group, Set.of(where)).all());
        World.equal(w.committed(), Map.of(1, 7L));
        try (var member = w.member(Map.of("client.id", "reader"))) {
            World.read(member, 13);
            var group = World.get(w.admin.describeConsumerGroups(List.of(w.group)).all()).get(w.group);
            World.equal(group.state().toString(), "Stable");
            var only = group.members().iterator().next();
            World.equal(List.of(only.clientId(), only.assignment().topicPartitions().size()), List.of("reader", 2));
            var listed = World.get(w.admin.listConsumerGroups().valid());
            World.require(listed.stream().anyMatch(each -> each.groupId().equals(w.group)), "not listed");
            World.equal(World.refusal(w.admin.deleteConsumerGroups(List.of(w.group)).all()), "GroupNotEmptyException");
            World.equal(World.refusal(w.admin.alterConsumerGroupOffsets(w.group, wanted).all()), "UnknownMemberIdException");
        }
        World.get(w.admin.deleteConsumerGroups(List.of(w.group)).all());
        World.equal(World.refusal(w.admin.deleteConsumerGroups(List.of(w.group)).all()), "GroupIdNotFoundException");
    }
}
