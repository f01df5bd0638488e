package db

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Options are how the sessions of a pool, or of one connection, differ.
type Options struct {
	Application string // application_name
	MaxConns    int32
	// AsyncCommit is for work that may be repeated after a crash of the server: its commits do not wait for the disk.
	AsyncCommit bool
	// LockTimeout is how long a statement waits for a lock. Defaults to no limit.
	LockTimeout time.Duration
	// StatementTimeout is how long a statement may take. Defaults to no limit.
	StatementTimeout time.Duration
	// Patience is how long a statement may take together with the wait for a connection; it holds behind a pooler too. Defaults to no limit.
	Patience time.Duration
	// MaxWaiting bounds the callers that wait for a connection; others get ErrBusy. Defaults to no limit.
	MaxWaiting int
	// Indexed keeps prepared statements from scanning hot tables: their plans may have been made when the tables were empty.
	Indexed bool
	// Pooled says that the URL leads to a pooler in transaction mode, which gives each transaction to another session of the server: the options
	// above do not hold there, and statements are described once but not prepared.
	Pooled bool
	// SearchPath is where names without a schema are found. Defaults to pg_catalog: weir names its schemas.
	SearchPath string
	// Share is what the pools of a node divide their connections by. Defaults to none.
	Share *Share
}

const (
	connectWithin = 5 * time.Second // unless the URL has a connect_timeout
	setUpWithin   = 5 * time.Second
)

// Connect opens one connection with the session settings that weir depends on.
func Connect(ctx context.Context, url string, o Options) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL: %w", err)
	}
	Configure(config, o)
	conn, err := pgx.ConnectConfig(ctx, config)
	if isFull(err) && o.Share != nil {
		o.Share.yield()
	}
	return conn, err
}

// Configure gives the sessions of a configuration the settings that weir depends on. Connect does so itself.
func Configure(config *pgx.ConnConfig, o Options) { configure(config, o, nil) }

// configure gives the sessions of a configuration their settings. A setting is not a parameter of the connection, because a pooler refuses those that it
// does not know.
func configure(config *pgx.ConnConfig, o Options, w *watch) {
	config.RuntimeParams["application_name"] = o.Application
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectWithin
	}
	config.DialFunc = dial
	if w != nil {
		config.DialFunc = w.dial
	}
	if o.Pooled {
		config.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		for name, value := range tracked {
			config.RuntimeParams[name] = value
		}
		return
	}
	config.AfterConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		ctx, cancel := context.WithTimeout(ctx, setUpWithin)
		defer cancel()
		settings := settingsOf(o, conn.ParameterStatus("server_version"))
		err := setUp(ctx, conn, settings+noticeDeath)
		var refused *pgconn.PgError
		if errors.As(err, &refused) && !conn.IsClosed() { // on a system that cannot tell whether a client is there
			err = setUp(ctx, conn, settings)
		}
		if err != nil {
			return fmt.Errorf("setting up a session: %w", err)
		}
		return nil
	}
}

// setUp runs statements, and then asks which process serves the session: behind a pooler it is not the one that the connection names.
func setUp(ctx context.Context, conn *pgconn.PgConn, sql string) error {
	results, err := conn.Exec(ctx, sql+"select pg_backend_pid()").ReadAll()
	if err != nil {
		return err
	}
	pid, err := strconv.ParseUint(string(results[len(results)-1].Rows[0][0]), 10, 32)
	if err != nil {
		return err
	}
	noteBackend(conn, uint32(pid))
	return nil
}

// tracked are the settings that PgBouncer keeps for each of its clients, also in transaction mode.
var tracked = map[string]string{
	"client_encoding":             "UTF8",
	"standard_conforming_strings": "on",
	"DateStyle":                   "ISO, MDY",
	"TimeZone":                    "UTC",
}

// meaning are the settings that the meaning of a statement or of its result depends on. A role or a database may have others. Not among them is
// default_transaction_read_only: who sets that wants nothing to be written, so the node is not ready.
var meaning = [][2]string{
	{"client_encoding", "'UTF8'"},
	{"standard_conforming_strings", "on"},
	{"backslash_quote", "safe_encoding"},
	{"array_nulls", "on"},
	{"transform_null_equals", "off"},
	{"datestyle", "'ISO, MDY'"},
	{"intervalstyle", "postgres"},
	{"timezone", "'UTC'"},
	{"bytea_output", "hex"},
	{"extra_float_digits", "1"},
	{"xmlbinary", "base64"},
	{"xmloption", "content"},
	{"lc_numeric", "'C'"},
	{"row_security", "on"},
	{"default_transaction_isolation", "'read committed'"},
	{"default_transaction_deferrable", "off"},
	{"idle_session_timeout", "0"},
	{"idle_in_transaction_session_timeout", "'60s'"},
}

// noticeDeath makes a session check twice a second, while a statement runs, whether its client is still there. Without that a session of a node that was
// killed, and that waits for a lock, keeps its own locks until it gets the one that it waits for. A value that the role or the database sets is kept.
const noticeDeath = `select set_config('client_connection_check_interval', '500ms', false) where current_setting('client_connection_check_interval', true) = '0';`

// settingsOf is the statement that sets up a session.
func settingsOf(o Options, version string) string {
	var sql strings.Builder
	set := func(name, value string) { fmt.Fprintf(&sql, "set %s = %s;", name, value) }
	for _, s := range meaning {
		set(s[0], s[1])
	}
	set("search_path", cmp.Or(o.SearchPath, "pg_catalog"))
	set("lock_timeout", strconv.FormatInt(o.LockTimeout.Milliseconds(), 10))
	set("statement_timeout", strconv.FormatInt(o.StatementTimeout.Milliseconds(), 10))
	if major, _, _ := strings.Cut(version, "."); len(major) == 2 && major >= "17" {
		set("transaction_timeout", "0")
	}
	if o.Indexed {
		set("enable_seqscan", "off")
		set("jit", "off") // the cost of a plan that must scan a table passes every threshold of the compiler
	}
	if o.AsyncCommit {
		set("synchronous_commit", "off")
	}
	return sql.String()
}

// readJSON does not check again what PostgreSQL has printed.
func readJSON(text []byte, into any) error {
	if raw, ok := into.(*json.RawMessage); ok {
		*raw = append(json.RawMessage(nil), text...)
		return nil
	}
	return json.Unmarshal(text, into)
}
