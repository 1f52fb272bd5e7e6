import java.time.Duration;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.common.TopicPartition;

/** A group member in a process of its own, to be killed. Once it owns two partitions it says which, in one line of six bytes. */
public class Victim {
    public static void main(String[] arguments) {
        var member = new World(arguments[0], arguments[1]).member(Map.of("session.timeout.ms", 1500));
        for (boolean told = false; ; ) {
            member.poll(Duration.ofMillis(100));
            if (!told && member.assignment().size() == 2) {
                told = true;
                var owned = member.assignment().stream().map(TopicPartition::partition).sorted().map(String::valueOf);
                System.out.printf("%-5s%n", owned.collect(Collectors.joining(" ")));
                System.out.flush();
            }
        }
    }
}
