package io.github.weirhq.weir;

import io.github.weirhq.weir.model.Problem;

/** The service answered with a problem, or could not be reached: then the status is 0. */
public final class ApiException extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final int status;
  private final transient Problem problem;

  ApiException(int status, Problem problem, String message, Throwable cause) {
    super(message, cause);
    this.status = status;
    this.problem = problem;
  }

  /** The status of the answer. */
  public int status() {
    return status;
  }

  /** The stable code of the problem, such as job_not_found; empty if there is none. */
  public String code() {
    return problem == null ? "" : problem.code;
  }

  /** The whole problem; null if the answer was none. */
  public Problem problem() {
    return problem;
  }
}
