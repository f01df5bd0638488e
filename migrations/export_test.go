package migrations

import (
	"context"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

// ReadFrom is Read with the numbered files of a test.
var ReadFrom = read

// UpFrom applies the numbered files of a test, whose outcome it knows, and nothing else.
func UpFrom(ctx context.Context, databaseURL string, files fs.FS) error {
	return locked(ctx, databaseURL, func(conn *pgx.Conn) error { return up(ctx, conn, databaseURL, files) })
}
