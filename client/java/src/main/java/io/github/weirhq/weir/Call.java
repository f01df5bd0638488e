package io.github.weirhq.weir;

import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.time.OffsetDateTime;
import java.time.format.DateTimeFormatter;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** One call of the API, as the classes of package api make it. */
public final class Call {
  final String method;
  final Map<String, String> headers = new LinkedHashMap<>();
  Object body;
  private String path;
  private String query = "";

  public Call(String method, String path) {
    this.method = method;
    this.path = path;
  }

  public Call path(String name, Object value) {
    path = path.replace("{" + name + "}", encode(text(value)).replace("+", "%20"));
    return this;
  }

  public Call query(String name, Object value) {
    if (value != null) {
      query += (query.isEmpty() ? "?" : "&") + encode(name) + "=" + encode(text(value));
    }
    return this;
  }

  public Call header(String name, Object value) {
    if (value != null) {
      headers.put(name, text(value));
    }
    return this;
  }

  public Call body(Object body) {
    this.body = body;
    return this;
  }

  String target() {
    return path + query;
  }

  /** How a value is written. Times have their seconds, also on the minute, where toString leaves them out. */
  static String text(Object value) {
    if (value instanceof OffsetDateTime at) {
      return DateTimeFormatter.ISO_OFFSET_DATE_TIME.format(at);
    }
    return value instanceof List<?> several ? several.stream().map(Call::text).collect(Collectors.joining(",")) : value.toString();
  }

  private static String encode(String text) {
    return URLEncoder.encode(text, StandardCharsets.UTF_8);
  }
}
