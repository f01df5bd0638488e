package db

import (
	"context"
	"strings"
)

// Unusable is the error of a database that answers, but cannot do what calls need.
type Unusable struct{ Reason string }

func (u Unusable) Error() string { return u.Reason }

// written are the tables that every call writes to.
const written = `array['weir.job', 'weir.job_ready', 'weir.job_lease', 'weir.job_outcome']`

const usable = `select pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', to_regclass('weir.job_outcome') is not null,
  array(select t from unnest(` + written + `) t
    where to_regclass(t) is not null and not (has_table_privilege(t, 'select') and has_table_privilege(t, 'insert')))`

// Usable returns an error unless the database takes writes, has weir's tables, and lets this role write to them.
func (p *Pool) Usable(ctx context.Context) error {
	var standby, readOnly, migrated bool
	var forbidden []string
	if err := p.QueryRow(ctx, usable).Scan(&standby, &readOnly, &migrated, &forbidden); err != nil {
		return err
	}
	switch {
	case standby:
		return Unusable{"the database is a standby, which takes no writes"}
	case readOnly:
		return Unusable{"the database takes no writes: default_transaction_read_only is on"}
	case !migrated:
		return Unusable{"the database does not have weir's schema: run weir migrate up"}
	case len(forbidden) > 0:
		return Unusable{"weir's role may not write to " + strings.Join(forbidden, ", ")}
	}
	return nil
}
