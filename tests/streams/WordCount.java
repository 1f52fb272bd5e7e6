import java.io.PrintStream;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * The word count of every introduction to Kafka Streams: BOOTSTRAP APPLICATION STATE_DIR GUARANTEE SOURCE TARGET.
 *
 * Grouping by word goes through a repartition topic, the counts lie in a store with a changelog. Each change of state is a line of
 * output. SIGTERM closes it in order.
 */
public class WordCount {
    public static void main(String[] arguments) throws InterruptedException {
        var builder = new StreamsBuilder();
        builder.stream(arguments[4], Consumed.with(Serdes.String(), Serdes.String()))
            .flatMapValues(line -> Arrays.asList(line.split(" ")))
            .groupBy((key, word) -> word, Grouped.<String, String>as("by-word").withKeySerde(Serdes.String()).withValueSerde(Serdes.String()))
            .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("counts"))
            .toStream()
            .mapValues(String::valueOf)
            .to(arguments[5], Produced.with(Serdes.String(), Serdes.String()));
        var config = new Properties();
        config.putAll(Map.of(
            StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0],
            StreamsConfig.APPLICATION_ID_CONFIG, arguments[1],
            StreamsConfig.STATE_DIR_CONFIG, arguments[2],
            StreamsConfig.PROCESSING_GUARANTEE_CONFIG, arguments[3],
            StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100,
            StreamsConfig.consumerPrefix("session.timeout.ms"), 3000,
            StreamsConfig.consumerPrefix("heartbeat.interval.ms"), 500,
            StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest",
            StreamsConfig.producerPrefix("transaction.timeout.ms"), 10_000));
        var streams = new KafkaStreams(builder.build(), config);
        var closed = new CountDownLatch(1);
        PrintStream out = System.out;
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.setStateListener((state, before) -> {
            out.println(state);
            out.flush();
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            boolean inTime = streams.close(Duration.ofSeconds(20));
            Runtime.getRuntime().halt(inTime ? 0 : 1);
        }));
        streams.start();
        closed.await();
    }
}
