import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;

public final class Driver {
    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] fields = line.split(" ", -1);
            Map<String, String> named = new HashMap<>();
            for (String header : text(fields[2]).split("\n")) {
                String[] parts = header.split(": ", 2);
                if (parts.length == 2) named.put(parts[0], parts[1]);
            }
            byte[] body = Base64.getDecoder().decode(fields[3]);
            String secret = text(fields[1]);
            System.out.println(text(fields[0]).equals("standard")
                    ? WebhookVerifier.verify(named, body, secret)
                    : WebhookVerifier.verifySimple(named, body, secret));
        }
    }

    private static String text(String field) {
        return new String(Base64.getDecoder().decode(field), StandardCharsets.UTF_8);
    }
}
