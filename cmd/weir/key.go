package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/user"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/cli"
)

// createKeyInDatabase makes an API key without a node, for those who have the database: so the first one is made.
func createKeyInDatabase(ctx context.Context, url string, k cli.NewKey) (json.RawMessage, error) {
	if _, err := databaseURL(url, ""); err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	maker := "the command line"
	if u, err := user.Current(); err == nil {
		maker = u.Username
	}
	var id, secret string
	err = conn.QueryRow(ctx, `select id, coalesce(key, '') from weir.create_key($1, $2, queues => $3, tenant => nullif($4, ''), expires_at => $5,
		rate_per_second => nullif($6::float8, 0), redact => $7, created_by => $8, kind => $9)`,
		k.Name, k.Roles, k.Queues, k.Tenant, k.Until, float64(k.Rate), k.Redact, maker, cmp.Or(k.Kind, "key")).Scan(&id, &secret)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == "3F000":
		return nil, errors.New("the database does not have weir's schema: run weir migrate up")
	case errors.As(err, &refused) && refused.Hint != "":
		return nil, fmt.Errorf("%s. %s", refused.Message, refused.Hint)
	case err != nil:
		return nil, fmt.Errorf("making the key: %w", err)
	}
	return json.Marshal(struct {
		ID string `json:"id"`
		cli.NewKey
		Secret string `json:"key,omitempty"`
	}{id, k, secret})
}
