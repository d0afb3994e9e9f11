import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.WebSocket;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.spec.X509EncodedKeySpec;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Cipher;

/**
 * Logs in to Doorward over WebSocket and prints each answer as one line of JSON.
 *
 * <p>Needs Java 17 and nothing else. Passwords come from environment variables, so that no list of processes shows
 * them:
 *
 * <pre>DOORWARD_PASSWORD=... java Login.java ws://127.0.0.1:8080/ trader1 --code 123456</pre>
 *
 * <p>Exit status: 0 logged in, 1 refused.
 */
public final class Login {
    private static final int WAIT_S = 30;
    private static final String USAGE = """
            usage: java Login.java URL USER [--password-env VAR] [--code CODE] [--one-step]
                                            [--new-password-env VAR] [--retry VAR]""";

    /** The server said no; its answer has been printed. */
    private static final class Refused extends Exception {
        Refused(String why) {
            super(why);
        }
    }

    /** One connection whose messages and close are taken one after the other. */
    private static final class Connection implements WebSocket.Listener {
        private final BlockingQueue<String> arrived = new LinkedBlockingQueue<>();
        private final StringBuilder part = new StringBuilder();
        private WebSocket socket;

        static Connection open(String url) {
            Connection connection = new Connection();
            connection.socket =
                    HttpClient.newHttpClient().newWebSocketBuilder().buildAsync(URI.create(url), connection).join();
            return connection;
        }

        @Override
        public CompletionStage<?> onText(WebSocket from, CharSequence data, boolean last) {
            part.append(data);
            if (last) {
                arrived.add(part.toString());
                part.setLength(0);
            }
            from.request(1);
            return null;
        }

        @Override
        public CompletionStage<?> onClose(WebSocket from, int code, String reason) {
            arrived.add("{\"closed\":" + code + "}");
            return null;
        }

        @Override
        public void onError(WebSocket from, Throwable error) {
            arrived.add("{\"closed\":1006}");
        }

        /** The next message, or how the connection was closed; printed. */
        String next() throws Refused, InterruptedException {
            String answer = arrived.poll(WAIT_S, TimeUnit.SECONDS);
            if (answer == null) {
                throw new Refused("no answer in time");
            }
            System.out.println(answer);
            return answer;
        }

        void send(String message) {
            socket.sendText(message, true).join();
        }

        /** Sends one message and gives back its answer. */
        String ask(String message) throws Refused, InterruptedException {
            send(message);
            String answer = next();
            if (answer.startsWith("{\"closed\":")) {
                throw new Refused("connection " + answer);
            }
            return answer;
        }

        void waitForClose() throws Refused, InterruptedException {
            while (!next().startsWith("{\"closed\":")) {
                // What still comes is printed.
            }
        }
    }

    private final Map<String, String> options;
    private final String user;
    private final String url;

    private Login(String url, String user, Map<String, String> options) {
        this.url = url;
        this.user = user;
        this.options = options;
    }

    /** The key of a challenge; it lives for about a minute. */
    private static PublicKey challenge(Connection connection)
            throws Refused, InterruptedException, GeneralSecurityException {
        String answer = connection.ask("{\"type\":\"challenge\"}");
        byte[] der = Base64.getDecoder().decode(field(answer, "key"));
        return KeyFactory.getInstance("RSA").generatePublic(new X509EncodedKeySpec(der));
    }

    /** Encrypts a password; a ciphertext counts once. "RSA" is RSA/ECB/PKCS1Padding. */
    private static String encrypt(PublicKey key, String password) throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("RSA");
        cipher.init(Cipher.ENCRYPT_MODE, key);
        return Base64.getEncoder().encodeToString(cipher.doFinal(password.getBytes(StandardCharsets.UTF_8)));
    }

    /** Logs in, in as many steps as the server asks for. */
    private void login(Connection connection, String password)
            throws Refused, InterruptedException, GeneralSecurityException {
        String code = options.get("code");
        String sealed = encrypt(challenge(connection), password);
        String token = options.containsKey("one-step") ? ",\"2fatoken\":" + quote(code) : "";
        String answer = connection.ask(
                "{\"type\":\"login\",\"userid\":" + quote(user) + ",\"pass\":" + quote(sealed) + token + "}");
        String result = field(answer, "result");
        if (result.equals("invalid user/password") || result.equals("2fa registration required")) {
            connection.waitForClose();
        }
        accept(answer);

        boolean change = field(answer, "password").equals("change required");
        if (field(answer, "2fa").equals("required")) {
            if (code == null) {
                throw new Refused("the server wants a one-time password: give --code");
            }
            answer = connection.ask("{\"type\":\"send2fatoken\",\"2fatoken\":" + quote(code) + "}");
            accept(answer);
            change = change || field(answer, "password").equals("change required");
        }
        if (change) {
            changePassword(connection, password);
        }
    }

    private void changePassword(Connection connection, String password)
            throws Refused, InterruptedException, GeneralSecurityException {
        if (!options.containsKey("new-password-env")) {
            throw new Refused("the password must be changed: give --new-password-env");
        }
        String wanted = System.getenv(options.get("new-password-env"));
        PublicKey key = challenge(connection);
        accept(connection.ask("{\"type\":\"adduser\",\"updateprof\":true,\"pass\":" + quote(encrypt(key, password))
                + ",\"newpass\":" + quote(encrypt(key, wanted)) + "}"));
    }

    /** One connection: log in, show that it works, leave. */
    private void session(String password) throws Refused, InterruptedException, GeneralSecurityException {
        Connection connection = Connection.open(url);
        try {
            login(connection, password);
            connection.ask("{\"type\":\"ping\"}");
            connection.send("{\"type\":\"logout\"}");
            connection.waitForClose();
        } finally {
            connection.socket.abort();
        }
    }

    private static void accept(String answer) throws Refused {
        String result = field(answer, "result");
        if (!result.equals("OK")) {
            throw new Refused(result);
        }
    }

    /** A text field of a flat JSON object; empty where there is none. A real client uses its JSON library. */
    static String field(String json, String name) {
        Matcher found = Pattern.compile("[{,]\\s*\"" + Pattern.quote(name) + "\"\\s*:\\s*\"((?:[^\"\\\\]|\\\\.)*)\"")
                .matcher(json);
        if (!found.find()) {
            return "";
        }
        Matcher escape = Pattern.compile("\\\\(u([0-9a-fA-F]{4})|.)").matcher(found.group(1));
        return escape.replaceAll(one -> Matcher.quoteReplacement(one.group(2) != null
                ? String.valueOf((char) Integer.parseInt(one.group(2), 16))
                : switch (one.group(1)) {
                    case "n" -> "\n";
                    case "r" -> "\r";
                    case "t" -> "\t";
                    case "b" -> "\b";
                    case "f" -> "\f";
                    default -> one.group(1);
                }));
    }

    /** A text as JSON. */
    static String quote(String text) {
        StringBuilder json = new StringBuilder("\"");
        for (char one : (text == null ? "" : text).toCharArray()) {
            if (one == '"' || one == '\\') {
                json.append('\\').append(one);
            } else if (one < 0x20) {
                json.append(String.format("\\u%04x", (int) one));
            } else {
                json.append(one);
            }
        }
        return json.append('"').toString();
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new HashMap<>(Map.of("password-env", "DOORWARD_PASSWORD"));
        for (int at = 2; at < arguments.length; at++) {
            String name = arguments[at].replaceFirst("^--", "");
            boolean flag = name.equals("one-step");
            if (!flag && at + 1 == arguments.length) {
                System.err.println(USAGE);
                System.exit(2);
            }
            options.put(name, flag ? "" : arguments[++at]);
        }
        if (arguments.length < 2) {
            System.err.println(USAGE);
            System.exit(2);
        }

        Login login = new Login(arguments[0], arguments[1], options);
        int status = 1;
        try {
            try {
                login.session(System.getenv(options.get("password-env")));
            } catch (Refused why) {
                if (!options.containsKey("retry")) {
                    throw why;
                }
                login.session(System.getenv(options.get("retry")));
            }
            status = 0;
        } catch (Refused why) {
            System.err.println("refused: " + why.getMessage());
        } catch (java.util.concurrent.CompletionException fault) {
            System.err.println("no connection: " + fault.getCause());
        }
        System.exit(status);
    }
}
