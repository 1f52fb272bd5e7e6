import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.Exit;

/**
 * Kafka's command line tools, one after the other in one JVM. Each line of input, {"tool": class, "arguments": [...], "stdin": "..."}, is
 * answered by {"code": ..., "out": "...", "err": "..."}.
 */
public class Tools {
    /** Thrown where the tool would have ended the process. Some tools catch it like any other failure: nothing they do then counts. */
    private static final class Ended extends Error {
        Ended() {
            super(null, null, false, false);
        }
    }

    private static final List<Runnable> HOOKS = new ArrayList<>();
    private static Integer code;

    private static void end(int code, String message) {
        if (Tools.code == null) {
            Tools.code = code;
            if (message != null) {
                System.err.println(message);
            }
            HOOKS.forEach(Runnable::run);
            System.setOut(new PrintStream(OutputStream.nullOutputStream()));
            System.setErr(System.out);
        }
        throw new Ended();
    }

    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        var err = System.err;
        var json = new ObjectMapper();
        Exit.setExitProcedure(Tools::end);
        Exit.setHaltProcedure(Tools::end);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        for (String line; (line = in.readLine()) != null; ) {
            JsonNode asked = json.readTree(line);
            var words = new ArrayList<String>();
            asked.get("arguments").forEach(each -> words.add(each.asText()));
            var said = new ByteArrayOutputStream();
            var complained = new ByteArrayOutputStream();
            System.setIn(new ByteArrayInputStream(asked.get("stdin").asText().getBytes(StandardCharsets.UTF_8)));
            System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(complained, true, StandardCharsets.UTF_8));
            code = null;
            HOOKS.clear();
            try {
                Class.forName(asked.get("tool").asText()).getMethod("main", String[].class).invoke(null, (Object) words.toArray(String[]::new));
                if (code == null) {
                    HOOKS.forEach(Runnable::run);
                }
            } catch (InvocationTargetException thrown) {
                if (code == null) {
                    code = 1;
                    thrown.getCause().printStackTrace();
                }
            } finally {
                System.setOut(err);
                System.setErr(err);
            }
            out.println(json.writeValueAsString(Map.of(
                "code", code == null ? 0 : code, "out", said.toString(StandardCharsets.UTF_8), "err", complained.toString(StandardCharsets.UTF_8))));
        }
        System.exit(0);
    }
}
