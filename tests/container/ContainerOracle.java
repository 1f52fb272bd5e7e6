import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import kafka.docker.KafkaDockerWrapper$;
import kafka.server.KafkaConfig;
import scala.jdk.javaapi.CollectionConverters;

/**
 * What Apache Kafka makes of an environment and of listeners. Each line in is a question of words separated by tabs,
 * NAME=VALUE each, with one line as answer: `env` gives the settings of its container image's own class, `listeners` what a
 * broker with these settings would advertise, or that it refuses them.
 */
public class ContainerOracle {
    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String[] words = line.split("\t");
            Map<String, String> given = new TreeMap<>();
            for (int at = 1; at < words.length; at++) {
                String[] pair = words[at].split("=", 2);
                given.put(pair[0], pair[1]);
            }
            System.out.println("answer\t" + (words[0].equals("env") ? settings(given) : advertised(given)));
        }
    }

    private static String settings(Map<String, String> environment) {
        var variables = scala.collection.immutable.Map$.MODULE$.from(CollectionConverters.asScala(environment));
        return String.join("\t", new TreeSet<>(
            CollectionConverters.asJava(KafkaDockerWrapper$.MODULE$.getServerConfigsFromEnv(variables))));
    }

    private static String advertised(Map<String, String> settings) {
        Properties properties = new Properties();
        properties.put("node.id", "1");
        properties.put("process.roles", "broker,controller");
        properties.put("controller.listener.names", "CONTROLLER");
        properties.put("controller.quorum.voters", "1@localhost:9093");
        properties.putAll(settings);
        try {
            StringBuilder found = new StringBuilder();
            for (var endpoint : CollectionConverters.asJava(new KafkaConfig(properties, false).effectiveAdvertisedBrokerListeners())) {
                found.append('\t').append(endpoint.listener()).append(' ').append(endpoint.host()).append(' ').append(endpoint.port());
            }
            return "listeners" + found;
        } catch (RuntimeException refused) {
            return "refused";
        }
    }
}
