package migrations

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// lockID is the advisory lock of the program that migrates: "weir" in ASCII. It is not goose's default, because another
// application in the same database may use that.
const lockID = 0x77656972

const (
	lockRetry   = 200 * time.Millisecond
	lockTimeout = 15 * time.Minute // bounds the longest migration that another node waits for
)

// locked connects, takes the migration lock and runs the step. It polls for the lock: a session that blocked on it would
// hold a snapshot, and `create index concurrently` of the node that migrates would wait for that snapshot to end.
func locked(ctx context.Context, databaseURL string, step func(*pgx.Conn) error) error {
	conn, err := connect(ctx, databaseURL)
	if err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) // and with it the lock

	waiting, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	for {
		var taken bool
		if err := conn.QueryRow(waiting, "select pg_try_advisory_lock($1)", lockID).Scan(&taken); err != nil {
			return fmt.Errorf("waiting for another node to finish migrating: %w", err)
		}
		if taken {
			return step(conn)
		}
		select {
		case <-waiting.Done():
			return fmt.Errorf("waiting for another node to finish migrating: %w", waiting.Err())
		case <-time.After(lockRetry):
		}
	}
}
