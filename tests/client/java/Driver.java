import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonDeserializer;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.JsonSerializer;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.module.SimpleModule;
import io.github.weirhq.weir.ApiClient;
import io.github.weirhq.weir.ApiException;
import io.github.weirhq.weir.Body;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.jar.JarFile;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The driver of the Java client: docs/clients/conformance.md says what it is asked and answers. Its arguments are the jar, and "call URL". */
final class Driver {
  private static final ObjectMapper JSON = JsonMapper.builder()
      .addModule(new SimpleModule().addSerializer(OffsetDateTime.class, new WriteTime()).addDeserializer(OffsetDateTime.class, new ReadTime()))
      .serializationInclusion(JsonInclude.Include.NON_NULL)
      .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
      .build();

  private final Map<String, Object> apis = new TreeMap<>();

  public static void main(String[] arguments) throws Exception {
    Driver driver = new Driver(arguments[0], new ApiClient(arguments[2]));
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonNode said;
      try {
        said = driver.answer(JSON.readTree(line));
      } catch (Exception e) {
        said = JSON.createObjectNode().put("failed", e.toString());
      }
      out.println(JSON.writeValueAsString(said));
    }
  }

  /** Knows the operations of all classes of package api. */
  private Driver(String jar, ApiClient client) throws IOException, ReflectiveOperationException {
    try (JarFile file = new JarFile(jar)) {
      for (String name : Collections.list(file.entries()).stream().map(Object::toString).filter(n -> n.endsWith("Api.class")).toList()) {
        Class<?> api = Class.forName(name.replace(".class", "").replace('/', '.'));
        Object made = api.getConstructor(ApiClient.class).newInstance(client);
        for (Method method : api.getMethods()) {
          apis.put(method.getName(), made);
        }
      }
    }
  }

  private JsonNode answer(JsonNode request) throws ReflectiveOperationException, IOException {
    Object api = apis.get(request.get("call").asText());
    Method method = Arrays.stream(api.getClass().getMethods())
        .filter(m -> m.getName().equals(request.get("call").asText()))
        .max(Comparator.comparing(Method::getParameterCount)).orElseThrow();
    Object[] given = new Object[method.getParameterCount()];
    Matcher path = Pattern.compile("\\{(\\w+)\\}").matcher(request.get("template").asText());
    for (int i = 0; i < given.length; i++) {
      given[i] = path.find() ? request.get("path").get(path.group(1)).asText() : argument(method.getParameterTypes()[i], request);
    }
    try {
      return JSON.createObjectNode().set("answer", JSON.valueToTree(method.invoke(api, given)));
    } catch (InvocationTargetException e) {
      if (e.getCause() instanceof ApiException refused && refused.status() > 0) {
        return JSON.createObjectNode().set("refused", JSON.createObjectNode().put("status", refused.status()).put("code", refused.code()));
      }
      throw e;
    }
  }

  /** What comes after the parameters of the path: a body, and an object with what may be left out. */
  private static Object argument(Class<?> type, JsonNode request) throws ReflectiveOperationException, IOException {
    if (Body.class.isAssignableFrom(type)) {
      return body(type, request.get("body"));
    }
    Object params = type.getConstructor().newInstance();
    for (Method setter : type.getDeclaredMethods()) {
      Class<?> of = setter.getParameterTypes()[0];
      if (Body.class.isAssignableFrom(of) && request.has("body")) {
        setter.invoke(params, body(of, request.get("body")));
      }
    }
    for (String place : List.of("query", "header")) {
      for (String name : names(request.get(place))) {
        set(params, name, request.get(place).get(name));
      }
    }
    return params;
  }

  /** A body, with the fields that are null in the request as nulls that are sent. */
  private static Object body(Class<?> type, JsonNode given) throws IOException {
    Body body = (Body) JSON.treeToValue(given, type);
    for (String name : names(given)) {
      if (given.get(name).isNull()) {
        body.setNull(name);
      }
    }
    return body;
  }

  private static Iterable<String> names(JsonNode object) {
    return object::fieldNames;
  }

  /** Sets a parameter by its name in the API, such as Idempotency-Key, which is idempotencyKey here. */
  private static void set(Object params, String name, JsonNode value) throws ReflectiveOperationException {
    for (Method setter : params.getClass().getMethods()) {
      if (setter.getParameterCount() == 1 && setter.getName().equalsIgnoreCase(name.replaceAll("[_-]", ""))) {
        setter.invoke(params, JSON.<Object>convertValue(value, JSON.constructType(setter.getGenericParameterTypes()[0])));
        return;
      }
    }
    throw new NoSuchMethodException(params.getClass() + " has no " + name);
  }

  private static final class WriteTime extends JsonSerializer<OffsetDateTime> {
    @Override
    public void serialize(OffsetDateTime at, JsonGenerator out, SerializerProvider by) throws IOException {
      out.writeString(at.toInstant().toString());
    }
  }

  private static final class ReadTime extends JsonDeserializer<OffsetDateTime> {
    @Override
    public OffsetDateTime deserialize(JsonParser in, DeserializationContext by) throws IOException {
      return OffsetDateTime.parse(in.getText());
    }
  }
}
