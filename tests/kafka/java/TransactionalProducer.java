import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Asks for transactions and prints the class of the exception that the client ends with. Arguments: bootstrap, transactional id. */
public class TransactionalProducer {
    public static void main(String[] args) {
        Map<String, Object> config = Map.of("bootstrap.servers", args[0], "transactional.id", args[1], "max.block.ms", 20000);
        try (var producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer())) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.commitTransaction();
            System.out.println("committed");
        } catch (Exception error) {
            System.out.println(error.getClass().getSimpleName());
        }
    }
}
