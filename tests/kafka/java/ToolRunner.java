import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools one after the other in one JVM.
 *
 * A line of input is words in base64, separated by spaces: the main class, what stdin holds, the arguments. The answer is
 * a line: exit code, stdout, stderr (both in base64).
 */
public final class ToolRunner {
    private static final class Ended extends Error {
        Ended() {
            super(null, null, false, false);
        }
    }

    /** What the tool ended with; it says nothing after that, also not where it catches our exception. */
    private static Integer ended;

    private static final List<Runnable> hooks = new ArrayList<>();

    private static void runHooks() {
        List<Runnable> left = new ArrayList<>(hooks);
        hooks.clear();
        left.forEach(Runnable::run);
    }

    private static void end(int code) {
        if (ended == null) {
            ended = code;
            runHooks();
            System.out.flush();
            System.err.flush();
            System.setOut(new PrintStream(OutputStream.nullOutputStream()));
            System.setErr(new PrintStream(OutputStream.nullOutputStream()));
        }
        throw new Ended();
    }

    public static void main(String[] none) throws Exception {
        PrintStream answers = System.out;
        // A tool's shutdown hooks belong to the end of its process, which here is the end of the tool.
        Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
        Exit.setExitProcedure((code, message) -> end(code));
        Exit.setHaltProcedure((code, message) -> end(code));
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            byte[][] words = Arrays.stream(line.split(" ", -1)).map(Base64.getDecoder()::decode).toArray(byte[][]::new);
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            ByteArrayOutputStream err = new ByteArrayOutputStream();
            System.setIn(new ByteArrayInputStream(words[1]));
            System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
            System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
            String[] arguments = Arrays.stream(words).skip(2)
                .map(word -> new String(word, StandardCharsets.UTF_8)).toArray(String[]::new);
            int code = run(new String(words[0], StandardCharsets.UTF_8), arguments);
            System.out.flush();
            System.err.flush();
            Base64.Encoder encoder = Base64.getEncoder();
            answers.println(code + " " + encoder.encodeToString(out.toByteArray()) + " "
                + encoder.encodeToString(err.toByteArray()));
            answers.flush();
        }
    }

    private static int run(String name, String[] arguments) throws Exception {
        ended = null;
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments);
            runHooks();
            return ended == null ? 0 : ended;
        } catch (InvocationTargetException thrown) {
            Throwable cause = thrown.getCause();
            if (ended != null) {
                return ended;
            }
            // As the JVM does it for the main thread.
            System.err.print("Exception in thread \"main\" ");
            cause.printStackTrace();
            return 1;
        }
    }
}
