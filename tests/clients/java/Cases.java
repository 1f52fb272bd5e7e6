import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Runs cases one after the other in one JVM. Argument: bootstrap. Each line of input, {"case": "...", "unique": "..."}, is answered by
 * a line {"case": "...", "error": null or "..."}. The older clients bring no JSON library, and the words asked for need none.
 */
public class Cases {
    interface Case {
        void run(World world) throws Exception;
    }

    static final Map<String, Case> CASES = new TreeMap<>();

    static {
        Admins.add(CASES);
        Produces.add(CASES);
        Groups.add(CASES);
        Transactions.add(CASES);
    }

    private static String word(String line, String name) {
        Matcher found = Pattern.compile("\"" + name + "\": \"([A-Za-z0-9_.-]+)\"").matcher(line);
        World.require(found.find(), "no " + name + " in " + line);
        return found.group(1);
    }

    static String quoted(String text) {
        var quoted = new StringBuilder("\"");
        text.chars().forEach(each -> {
            if (each < ' ' || each > '~' || each == '"' || each == '\\') {
                quoted.append(String.format("\\u%04x", each));
            } else {
                quoted.append((char) each);
            }
        });
        return quoted.append('"').toString();
    }

    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        System.setOut(System.err);
        for (String line; (line = in.readLine()) != null; ) {
            String name = word(line, "case");
            String error = "null";
            try (var world = new World(arguments[0], word(line, "unique"))) {
                CASES.get(name).run(world);
            } catch (Throwable thrown) {
                var trace = new StringWriter();
                thrown.printStackTrace(new PrintWriter(trace));
                error = quoted(trace.toString());
            }
            out.println("{\"case\": \"" + name + "\", \"error\": " + error + "}");
        }
        System.exit(0);
    }
}
