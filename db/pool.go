// Package db is weir's way to PostgreSQL: the queries of sql/, as sqlc generates them, and the pools that run them.
// It knows nothing of jobs or HTTP.
package db

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Options are how the sessions of a pool differ.
type Options struct {
	Application string // application_name
	MaxConns    int32
	// AsyncCommit is for work that may be done again after a crash of the server: its commits do not wait for the disk.
	AsyncCommit bool
	// LockTimeout is how long a statement waits for a lock. Defaults to for ever.
	LockTimeout time.Duration
	// Indexed keeps prepared statements from reading hot tables as a whole: their plans may have been made when the tables were empty.
	Indexed bool
	// Pooled says that the URL leads to a pooler in transaction mode, which takes no settings of a session and hands each transaction to another
	// server: then the three above do not hold, and statements are described once but not prepared.
	Pooled bool
}

// Open makes a pool. It connects when it is first used.
func Open(ctx context.Context, url string, o Options) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("reading the database URL: %w", err)
	}
	config.MaxConns = o.MaxConns
	config.ConnConfig.RuntimeParams["application_name"] = o.Application
	if o.Pooled {
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		return connect(ctx, config, "")
	}
	config.ConnConfig.RuntimeParams["default_transaction_isolation"] = "read committed"
	if o.LockTimeout > 0 {
		config.ConnConfig.RuntimeParams["lock_timeout"] = fmt.Sprintf("%dms", o.LockTimeout.Milliseconds())
	}
	if o.Indexed {
		config.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
		// A plan that must read a table as a whole gets a cost past every threshold of the compiler.
		config.ConnConfig.RuntimeParams["jit"] = "off"
	}
	if o.AsyncCommit {
		config.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	}
	return connect(ctx, config, noticeDeath)
}

// noticeDeath makes a session look twice a second, while a statement runs, whether its client is still there. Without that a session of a node that was killed, and
// that waits for a lock, keeps the locks that it has until it gets the one that it waits for. It is no parameter of the connection, because a server on a system
// that cannot tell refuses it. Whoever has set it for the role or the database knows better.
const noticeDeath = `select set_config('client_connection_check_interval', '500ms', false) where current_setting('client_connection_check_interval', true) = '0'`

// readJSON spares what PostgreSQL has printed a second look: it is valid.
func readJSON(text []byte, into any) error {
	if raw, ok := into.(*json.RawMessage); ok {
		*raw = bytes.Clone(text)
		return nil
	}
	return json.Unmarshal(text, into)
}

func connect(ctx context.Context, config *pgxpool.Config, setting string) (*pgxpool.Pool, error) {
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		conn.TypeMap().RegisterType(&pgtype.Type{Name: "jsonb", OID: pgtype.JSONBOID, Codec: &pgtype.JSONBCodec{Marshal: json.Marshal, Unmarshal: readJSON}})
		if setting == "" {
			return nil
		}
		var refusal *pgconn.PgError
		if err := conn.PgConn().Exec(ctx, setting).Close(); err != nil && !errors.As(err, &refusal) {
			return fmt.Errorf("setting up a session: %w", err)
		}
		return nil
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening a pool: %w", err)
	}
	return pool, nil
}
