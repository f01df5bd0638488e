package io.github.weirhq.weir;

import com.fasterxml.jackson.annotation.JsonAnyGetter;
import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonInclude;
import java.util.LinkedHashMap;
import java.util.Map;

/** A body of a request or of an answer. Fields that are null are left out of a request, unless setNull names them. */
public abstract class Body {
  @JsonIgnore private final Map<String, Object> nulls = new LinkedHashMap<>();

  /** Sends null for a field, by its name in JSON: in a change, null empties the field, where leaving it out keeps it. */
  public final void setNull(String field) {
    nulls.put(field, null);
  }

  @JsonAnyGetter
  @JsonInclude(content = JsonInclude.Include.ALWAYS)
  final Map<String, Object> nulls() {
    return nulls;
  }
}
