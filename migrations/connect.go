package migrations

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/db"
)

// session is how the sessions of a migration are set up. Some statements rewrite tables, so none has a time limit.
var session = db.Options{Application: "weir migrate", MaxConns: 2}

// connect opens a connection to a database that weir can use.
func connect(ctx context.Context, databaseURL string) (*pgx.Conn, error) {
	conn, err := db.Connect(ctx, databaseURL, session)
	if err != nil {
		return nil, err
	}
	var encoding string
	if err = conn.QueryRow(ctx, "select current_setting('server_encoding')").Scan(&encoding); err == nil && encoding != "UTF8" {
		err = fmt.Errorf("the database has the encoding %s, in which not every JSON text can be stored: weir needs a database made with encoding UTF8", encoding)
	}
	if err != nil {
		_ = conn.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return conn, nil
}
