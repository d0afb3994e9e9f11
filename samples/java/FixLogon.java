import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Logs on over FIX with a signed Logon, sends an order and logs out; prints each message that arrives.
 *
 * <p>Needs Java 17 and nothing else. The Secret Key comes from an environment variable, so that no list of processes
 * shows it:
 *
 * <pre>
 * DOORWARD_SECRET_KEY=... java FixLogon.java logon 127.0.0.1:9001 ABCFIRN OPERATOR ACCESSKEYID --seq 1
 * DOORWARD_SECRET_KEY=... java FixLogon.java sign &lt;a-logon.txt       # fields with | or SOH between them
 * </pre>
 *
 * <p>Exit status: 0 logged on and the order answered, 1 refused or no connection.
 */
public final class FixLogon {
    private static final char SOH = '\u0001';
    private static final List<Integer> SIGNED = List.of(34, 49, 50, 52, 57, 108, 142, 369, 1603, 1604, 1605);
    private static final DateTimeFormatter SENDING_TIME = DateTimeFormatter.ofPattern("yyyyMMdd-HH:mm:ss.SSS");
    private static final int WAIT_MS = 30_000;
    private static final int MESSAGE_LEN_MAX = 1 << 20;
    private static final String USAGE = """
            usage: java FixLogon.java sign <LOGON
                   java FixLogon.java logon HOST:PORT SENDERCOMPID OPERATOR ACCESSKEYID [--seq N] [--venue CME]
                                            [--segment G] [--location US,IL]""";

    /** The server said no; its answer has been printed. */
    private static final class Refused extends Exception {
        Refused(String why) {
            super(why);
        }
    }

    /** What is signed: these values, one a line; a field that is not in the message is an empty line. */
    static String canonical(Map<Integer, String> fields) {
        return SIGNED.stream().map(tag -> fields.getOrDefault(tag, "")).collect(Collectors.joining("\n"));
    }

    /** HMAC-SHA256 with the decoded Secret Key, in base64url without padding: 43 characters. */
    static String signature(Map<Integer, String> fields, String secretKey) throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(Base64.getUrlDecoder().decode(secretKey), "HmacSHA256"));
        byte[] digest = mac.doFinal(canonical(fields).getBytes(StandardCharsets.UTF_8));
        return Base64.getUrlEncoder().withoutPadding().encodeToString(digest);
    }

    /** SendingTime: UTC with milliseconds. */
    static String utcNow() {
        return ZonedDateTime.now(ZoneOffset.UTC).format(SENDING_TIME);
    }

    static String checkSum(byte[] bytes, int length) {
        int sum = 0;
        for (int at = 0; at < length; at++) {
            sum += bytes[at] & 0xff;
        }
        return String.format("%03d", sum % 256);
    }

    /** Fields by their tags. Enough for messages without repeating groups and data fields. */
    static Map<Integer, String> parse(String text, char separator) {
        Map<Integer, String> fields = new HashMap<>();
        for (String field : text.split(Pattern.quote(String.valueOf(separator)))) {
            int equals = field.indexOf('=');
            if (equals > 0) {
                fields.put(Integer.valueOf(field.substring(0, equals)), field.substring(equals + 1));
            }
        }
        return fields;
    }

    private final Socket socket;
    private final DataInputStream input;
    private final Map<Integer, String> identity;
    private int nextOut;

    /** One connection and the numbers of its messages; {@code identity}: 49, 50, 56, 57, 142. */
    private FixLogon(Socket socket, Map<Integer, String> identity, int nextOut) throws IOException {
        this.socket = socket;
        this.input = new DataInputStream(socket.getInputStream());
        this.identity = identity;
        this.nextOut = nextOut;
    }

    /** A message to be sent, with the header that is the same for all of them. */
    private Map<Integer, String> message(String msgType) {
        Map<Integer, String> fields = new LinkedHashMap<>();
        fields.put(35, msgType);
        fields.put(34, String.valueOf(nextOut++));
        fields.put(52, utcNow());
        fields.putAll(identity);
        return fields;
    }

    private void send(Map<Integer, String> fields) throws IOException {
        StringBuilder inner = new StringBuilder();
        fields.forEach((tag, value) -> inner.append(tag).append('=').append(value).append(SOH));
        int length = inner.toString().getBytes(StandardCharsets.UTF_8).length;
        byte[] message = ("8=FIX.4.2" + SOH + "9=" + length + SOH + inner).getBytes(StandardCharsets.UTF_8);
        ByteArrayOutputStream whole = new ByteArrayOutputStream();
        whole.write(message);
        whole.write(("10=" + checkSum(message, message.length) + SOH).getBytes(StandardCharsets.US_ASCII));
        socket.getOutputStream().write(whole.toByteArray());
    }

    private void send(String msgType, Map<Integer, String> body) throws IOException {
        Map<Integer, String> fields = message(msgType);
        fields.putAll(body);
        send(fields);
    }

    /** The next message of one of these types; Test Requests that come before it are answered. */
    private Map<Integer, String> receive(String... wanted) throws IOException, Refused {
        while (true) {
            String text = nextMessage();
            System.out.println(text.replace(SOH, '|'));
            Map<Integer, String> fields = parse(text, SOH);
            String msgType = fields.get(35);
            if (List.of(wanted).contains(msgType)) {
                return fields;
            }
            if (msgType.equals("1")) {
                send("0", Map.of(112, fields.get(112)));
            } else if (msgType.equals("5")) {
                throw new Refused(fields.getOrDefault(58, "logged out"));
            }
        }
    }

    /** Cuts a message by its BodyLength and compares its CheckSum. */
    private String nextMessage() throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        // 8 and 9 are read a byte at a time, the rest in one go.
        for (int separators = 0; separators < 2 && bytes.size() < 32; ) {
            int one = input.readUnsignedByte();
            bytes.write(one);
            separators += one == SOH ? 1 : 0;
        }
        String length = parse(bytes.toString(StandardCharsets.US_ASCII), SOH).getOrDefault(9, "");
        if (!length.matches("\\d{1,7}") || Integer.parseInt(length) > MESSAGE_LEN_MAX) {
            throw new IOException("not a FIX message: " + bytes);
        }
        bytes.write(input.readNBytes(Integer.parseInt(length) + 7));
        byte[] message = bytes.toByteArray();
        String text = new String(message, StandardCharsets.UTF_8);
        if (!text.endsWith("10=" + checkSum(message, Math.max(message.length - 7, 0)) + SOH)) {
            throw new IOException("cut short, or a wrong CheckSum: " + text);
        }
        return text;
    }

    /** Log on, send an order, take its report, leave. */
    private void session(String accessKeyId, String secretKey)
            throws IOException, Refused, GeneralSecurityException {
        Map<Integer, String> logon = message("A");
        logon.put(108, "30");
        logon.put(1603, "Doorward sample");
        logon.put(1604, "1.0");
        logon.put(1605, "Doorward");
        String signed = signature(logon, secretKey);
        logon.put(354, String.valueOf(accessKeyId.length()));
        logon.put(355, accessKeyId);
        logon.put(1400, "CME-1-SHA-256");
        logon.put(1401, String.valueOf(signed.length()));
        logon.put(1402, signed);
        send(logon);
        Map<Integer, String> answer = receive("A", "5");
        if (answer.get(35).equals("5")) {
            throw new Refused(answer.getOrDefault(58, "no reason"));
        }
        // Nothing may be sent before the Logon is here; the server asks next whether we are alive.
        send("0", Map.of(112, receive("1").get(112)));

        String orderId = "J" + nextOut;
        Map<Integer, String> order = message("D");
        order.put(11, orderId);
        order.put(21, "1");
        order.put(55, "GEZ6");
        order.put(54, "1");
        order.put(38, "5");
        order.put(40, "2");
        order.put(44, "101.25");
        order.put(59, "0");
        order.put(60, utcNow());
        send(order);
        Map<Integer, String> report = receive("8");
        if (!orderId.equals(report.get(11))) {
            throw new Refused("a report of another order: " + report.get(11));
        }
        send("5", Map.of());
        System.out.println("next: " + receive("5").getOrDefault(789, String.valueOf(nextOut)));
    }

    private static void usage() {
        System.err.println(USAGE);
        System.exit(2);
    }

    public static void main(String[] arguments) throws Exception {
        String secretKey = System.getenv("DOORWARD_SECRET_KEY");
        if (arguments.length == 1 && arguments[0].equals("sign")) {
            String text = new String(System.in.readAllBytes(), StandardCharsets.UTF_8).replaceFirst("\n+$", "");
            System.out.println(signature(parse(text, text.indexOf(SOH) < 0 ? '|' : SOH), secretKey));
            return;
        }
        if (arguments.length < 5 || arguments.length % 2 == 0 || !arguments[0].equals("logon")) {
            usage();
        }
        Map<String, String> options = new HashMap<>();
        for (int at = 5; at < arguments.length; at += 2) {
            options.put(arguments[at], arguments[at + 1]);
        }
        Map<Integer, String> identity = new LinkedHashMap<>();
        identity.put(49, arguments[2]);
        identity.put(50, arguments[3]);
        identity.put(56, options.getOrDefault("--venue", "CME"));
        identity.put(57, options.getOrDefault("--segment", "G"));
        identity.put(142, options.getOrDefault("--location", "US,IL"));

        int colon = arguments[1].lastIndexOf(':');
        String host = arguments[1].substring(0, colon).replaceAll("[\\[\\]]", "");
        try (Socket socket = new Socket()) {
            socket.setTcpNoDelay(true);
            socket.setSoTimeout(WAIT_MS);
            socket.connect(new InetSocketAddress(host, Integer.parseInt(arguments[1].substring(colon + 1))), WAIT_MS);
            int next = Integer.parseInt(options.getOrDefault("--seq", "1"));
            new FixLogon(socket, identity, next).session(arguments[4], secretKey);
        } catch (Refused why) {
            System.err.println("refused: " + why.getMessage());
            System.exit(1);
        } catch (IOException fault) {
            System.err.println("no connection: " + fault);
            System.exit(1);
        }
    }
}
