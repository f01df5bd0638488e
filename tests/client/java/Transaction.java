import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/** Jobs in the application's own transactions over JDBC, as docs/clients/java.md shows them. */
final class Transaction {
  public static void main(String[] arguments) throws SQLException {
    try (Connection db = DriverManager.getConnection(arguments[0], arguments[1], arguments[2])) {
      db.setAutoCommit(false);
      enqueue(db, "rolled_back", "{}", "{}");
      db.rollback();
      long id = enqueue(db, "kept", "{\"order\": 9007199254740993}", "{\"tags\": [\"a?b\"]}");
      db.commit();

      long token;
      try (PreparedStatement claim = db.prepareStatement("select job_id, token from weir.claim(array['jdbc'], worker => 'java')");
          ResultSet row = claim.executeQuery()) {
        check(row.next() && row.getLong("job_id") == id, "claimed another job");
        token = row.getLong("token");
      }
      db.commit();
      complete(db, id, token, "{\"ok\": true}");
      db.commit();
      try {
        complete(db, id, token, null);
        check(false, "it completed twice");
      } catch (SQLException e) {
        check(e.getSQLState().equals("WR001"), "the state is " + e.getSQLState());
      }
      db.rollback();
    }
    System.out.println("committed");
  }

  /** Enqueues a job in the transaction of a connection. Options are those of weir.enqueue: queue, tags, delay_seconds and others. */
  static long enqueue(Connection db, String kind, String args, String options) throws SQLException {
    try (PreparedStatement s = db.prepareStatement("select weir.enqueue(?, ?::jsonb, queue => 'jdbc', options => ?::jsonb)")) {
      s.setString(1, kind);
      s.setString(2, args);
      s.setString(3, options);
      try (ResultSet row = s.executeQuery()) {
        row.next();
        return row.getLong(1);
      }
    }
  }

  /** Completes a claimed job in the transaction of a connection. WR001: the lease is another worker's by now; roll back. */
  static void complete(Connection db, long job, long token, String result) throws SQLException {
    try (PreparedStatement s = db.prepareStatement("select weir.complete(?, ?, ?::jsonb)")) {
      s.setLong(1, job);
      s.setLong(2, token);
      s.setString(3, result);
      s.execute();
    }
  }

  private static void check(boolean good, String otherwise) {
    if (!good) {
      throw new AssertionError(otherwise);
    }
  }
}
