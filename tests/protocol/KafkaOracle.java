import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.Readable;

/**
 * Apache Kafka's own classes as an oracle. Each line of input is "class version hex json"; the answer is two encodings of
 * the message: of what Kafka read from the bytes, and of what it read from the JSON.
 */
public class KafkaOracle {
    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        var json = new ObjectMapper();
        for (String line; (line = in.readLine()) != null; ) {
            String[] parts = line.split(" ", 4);
            short version = Short.parseShort(parts[1]);
            Class<?> type = Class.forName(parts[0]);
            Method fromJson = null;
            for (Method method : Class.forName(parts[0] + "JsonConverter").getMethods()) {
                fromJson = method.getName().equals("read") ? method : fromJson;
            }
            String first;
            String second;
            try {
                var bytes = new ByteBufferAccessor(ByteBuffer.wrap(HexFormat.of().parseHex(parts[2])));
                Message read = (Message) type.getConstructor(Readable.class, short.class).newInstance(bytes, version);
                first = bytes.remaining() == 0 ? hex(read, version) : "rest:" + bytes.remaining();
            } catch (ReflectiveOperationException | RuntimeException error) {
                first = name(error);
            }
            try {
                second = hex((Message) fromJson.invoke(null, json.readTree(parts[3]), version), version);
            } catch (ReflectiveOperationException | RuntimeException error) {
                second = name(error);
            }
            out.println(first + " " + second);
        }
        out.flush();
    }

    private static String hex(Message message, short version) {
        ByteBuffer bytes = MessageUtil.toByteBufferAccessor(message, version).buffer();
        byte[] copy = new byte[bytes.remaining()];
        bytes.get(copy);
        return "=" + HexFormat.of().formatHex(copy);
    }

    private static String name(Throwable error) {
        Throwable cause = error.getCause() == null ? error : error.getCause();
        return cause.toString().replaceAll("\\s+", "_");
    }
}
