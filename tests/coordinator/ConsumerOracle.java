import com.google.re2j.Pattern;
import com.google.re2j.PatternSyntaxException;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.coordinator.common.runtime.CoordinatorMetadataImage;
import org.apache.kafka.coordinator.group.Utils;
import org.apache.kafka.coordinator.group.api.assignor.ConsumerGroupPartitionAssignor;
import org.apache.kafka.coordinator.group.api.assignor.GroupAssignment;
import org.apache.kafka.coordinator.group.api.assignor.SubscribedTopicDescriber;
import org.apache.kafka.coordinator.group.api.assignor.SubscriptionType;
import org.apache.kafka.coordinator.group.assignor.RangeAssignor;
import org.apache.kafka.coordinator.group.assignor.UniformAssignor;
import org.apache.kafka.coordinator.group.modern.Assignment;
import org.apache.kafka.coordinator.group.modern.GroupSpecImpl;
import org.apache.kafka.coordinator.group.modern.MemberSubscriptionAndAssignmentImpl;

/**
 * What Apache Kafka's own assignors, topic hashes and patterns say. Each line in is a question of words separated by
 * tabs, with one line as answer. Topics are numbers, the low half of their ids.
 *
 * assign NAME alike|differ T=COUNT,... MEMBER|INSTANCE|T,T|T:P.P,T:P   the order of topics in a hash set, then MEMBER|T:P.P
 * hash NAME NUMBER RACK.RACK,RACK (one for each partition)             the hash of the topic, then of a group of it alone
 * match PATTERN NAME ...                                               the names it matches; a lone "!" if it is refused
 */
public class ConsumerOracle {
    private static final Map<String, ConsumerGroupPartitionAssignor> ASSIGNORS =
        Map.of("uniform", new UniformAssignor(), "range", new RangeAssignor());

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split("\t", -1);
            List<String> rest = Arrays.asList(words).subList(1, words.length);
            System.out.println("answer\t" + switch (words[0]) {
                case "assign" -> assign(rest);
                case "hash" -> hash(rest.get(0), Long.parseLong(rest.get(1)), rest.get(2));
                default -> match(rest);
            });
        }
    }

    private static String assign(List<String> words) {
        Map<Uuid, Integer> counts = new LinkedHashMap<>();
        for (String each : parts(words.get(2), ",")) {
            counts.put(id(each.split("=")[0]), Integer.parseInt(each.split("=")[1]));
        }
        Map<String, MemberSubscriptionAndAssignmentImpl> members = new LinkedHashMap<>();
        Map<Uuid, Map<Integer, String>> owners = new HashMap<>();
        Set<Uuid> topics = new LinkedHashSet<>();
        for (String word : words.subList(3, words.size())) {
            String[] said = word.split("\\|", -1);
            Set<Uuid> subscribed = new LinkedHashSet<>();
            for (String each : parts(said[2], ",")) subscribed.add(id(each));
            topics.addAll(subscribed);
            Map<Uuid, Set<Integer>> has = new LinkedHashMap<>();
            for (String each : parts(said[3], ",")) {
                Uuid topic = id(each.split(":")[0]);
                for (String partition : each.split(":")[1].split("\\.")) {
                    has.computeIfAbsent(topic, key -> new LinkedHashSet<>()).add(Integer.parseInt(partition));
                    owners.computeIfAbsent(topic, key -> new HashMap<>()).put(Integer.parseInt(partition), said[0]);
                }
            }
            Optional<String> instance = said[1].isEmpty() ? Optional.empty() : Optional.of(said[1]);
            members.put(said[0], new MemberSubscriptionAndAssignmentImpl(
                Optional.empty(), instance, subscribed, new Assignment(has)));
        }
        SubscriptionType type =
            words.get(1).equals("alike") ? SubscriptionType.HOMOGENEOUS : SubscriptionType.HETEROGENEOUS;
        SubscribedTopicDescriber describer = new SubscribedTopicDescriber() {
            @Override
            public int numPartitions(Uuid topic) {
                return counts.getOrDefault(topic, -1);
            }

            @Override
            public Set<String> racksForPartition(Uuid topic, int partition) {
                return Set.of();
            }
        };
        GroupAssignment found =
            ASSIGNORS.get(words.get(0)).assign(new GroupSpecImpl(members, type, owners), describer);
        List<String> answer = new ArrayList<>();
        for (Uuid topic : new HashSet<>(topics)) answer.add(String.valueOf(topic.getLeastSignificantBits()));
        List<String> lines = new ArrayList<>(List.of(String.join(",", answer)));
        found.members().forEach((member, assignment) -> {
            List<String> has = new ArrayList<>();
            assignment.partitions().forEach((topic, partitions) -> {
                List<String> sorted = new TreeSet<>(partitions).stream().map(String::valueOf).toList();
                has.add(topic.getLeastSignificantBits() + ":" + String.join(".", sorted));
            });
            lines.add(member + "|" + String.join(",", has));
        });
        return String.join("\t", lines);
    }

    private static String hash(String name, long number, String racks) {
        String[] partitions = racks.split(",", -1);
        Object topic = Proxy.newProxyInstance(
            ConsumerOracle.class.getClassLoader(),
            new Class<?>[] {CoordinatorMetadataImage.TopicMetadata.class},
            (self, method, arguments) -> switch (method.getName()) {
                case "id" -> new Uuid(number, number + 1);
                case "name" -> name;
                case "partitionCount" -> partitions.length;
                default -> new ArrayList<>(parts(partitions[(int) arguments[0]], "\\."));
            });
        Object image = Proxy.newProxyInstance(
            ConsumerOracle.class.getClassLoader(),
            new Class<?>[] {CoordinatorMetadataImage.class},
            (self, method, arguments) -> Optional.of(topic));
        long hash = Utils.computeTopicHash(name, (CoordinatorMetadataImage) image);
        return hash + "\t" + Utils.computeGroupHash(Map.of(name, hash));
    }

    private static String match(List<String> words) {
        try {
            Pattern pattern = Pattern.compile(words.get(0));
            List<String> names = words.subList(1, words.size());
            return String.join("\t", names.stream().filter(name -> pattern.matcher(name).matches()).toList());
        } catch (PatternSyntaxException error) {
            return "!";
        }
    }

    private static Uuid id(String number) {
        return new Uuid(0, Long.parseLong(number));
    }

    private static List<String> parts(String text, String separator) {
        return text.isEmpty() ? List.of() : Arrays.asList(text.split(separator));
    }
}
