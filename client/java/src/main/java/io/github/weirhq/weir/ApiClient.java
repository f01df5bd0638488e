package io.github.weirhq.weir;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationContext;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonDeserializer;
import com.fasterxml.jackson.databind.JsonSerializer;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.module.SimpleModule;
import io.github.weirhq.weir.model.Problem;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.time.OffsetDateTime;

/** Calls the REST API. It may be used by many threads. Give it to the classes of package api: new JobsApi(client). */
public final class ApiClient {
  private static final ObjectMapper JSON = JsonMapper.builder()
      .addModule(times())
      .serializationInclusion(JsonInclude.Include.NON_NULL)
      .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
      .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
      .build();

  private final String url;
  private final String key;
  private final HttpClient http;
  private final Duration timeout;

  /** A client of the service at a URL, such as http://127.0.0.1:8080. */
  public ApiClient(String url) {
    this(url, null);
  }

  /** A client with an API key, or an access token. */
  public ApiClient(String url, String key) {
    this(url, key, HttpClient.newHttpClient(), Duration.ofSeconds(75));
  }

  /** A client with connections of its own making, which may trust other authorities. A call may wait for a minute: time out later. */
  public ApiClient(String url, String key, HttpClient http, Duration timeout) {
    this.url = url.replaceAll("/+$", "");
    this.key = key;
    this.http = http;
    this.timeout = timeout;
  }

  /** Makes a call and reads its answer. */
  @SuppressWarnings("unchecked")
  public <T> T send(Call call, TypeReference<T> type) {
    try {
      HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url + call.target())).timeout(timeout);
      call.headers.forEach(request::header);
      if (key != null) {
        request.header("Authorization", "Bearer " + key);
      }
      HttpRequest.BodyPublisher body = HttpRequest.BodyPublishers.noBody();
      if (call.body != null) {
        request.header("Content-Type", "application/json");
        body = HttpRequest.BodyPublishers.ofByteArray(JSON.writeValueAsBytes(call.body));
      }
      HttpResponse<byte[]> answer = http.send(request.method(call.method, body).build(), HttpResponse.BodyHandlers.ofByteArray());
      boolean isJson = answer.headers().firstValue("Content-Type").orElse("").contains("json");
      if (answer.statusCode() >= 300) {
        Problem problem = isJson ? JSON.readValue(answer.body(), Problem.class) : null;
        String said = problem == null ? "" : " " + problem.code + ": " + problem.detail;
        throw new ApiException(answer.statusCode(), problem, answer.statusCode() + said, null);
      }
      if (type == null || answer.body().length == 0) {
        return null;
      }
      return isJson ? JSON.readValue(answer.body(), type) : (T) new String(answer.body(), java.nio.charset.StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new ApiException(0, null, call.method + " " + url + call.target() + ": " + e.getMessage(), e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new ApiException(0, null, "interrupted", e);
    }
  }

  private static SimpleModule times() {
    return new SimpleModule()
        .addSerializer(OffsetDateTime.class, new JsonSerializer<>() {
          @Override
          public void serialize(OffsetDateTime at, JsonGenerator out, SerializerProvider by) throws IOException {
            out.writeString(Call.text(at));
          }
        })
        .addDeserializer(OffsetDateTime.class, new JsonDeserializer<>() {
          @Override
          public OffsetDateTime deserialize(JsonParser in, DeserializationContext by) throws IOException {
            return OffsetDateTime.parse(in.getText());
          }
        });
  }
}
