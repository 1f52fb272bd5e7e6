import java.lang.reflect.Method;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.KafkaFuture;

/** The one call whose name changed between the versions that this is compiled for: DescribeTopicsResult.all is allTopicNames from 3.1 on. */
final class Described {
    private Described() {}

    @SuppressWarnings("unchecked")
    static TopicDescription topic(Admin admin, String topic) throws Exception {
        Object result = admin.describeTopics(List.of(topic));
        Method all;
        try {
            all = result.getClass().getMethod("allTopicNames");
        } catch (NoSuchMethodException older) {
            all = result.getClass().getMethod("all");
        }
        return World.get((KafkaFuture<Map<String, TopicDescription>>) all.invoke(result)).get(topic);
    }
}
