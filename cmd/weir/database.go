package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/terminal"
)

// databaseFlags name the database.
type databaseFlags struct {
	DatabaseURL string `help:"URL of the database: postgres://user:password@host:port/name." env:"WEIR_DATABASE_URL" required:"" placeholder:"URL"`
}

// explainConnecting says in one line why the database could not be reached: pgx gives a line for each address that it
// tried, or two if it tried with and without TLS.
func explainConnecting(err error) error {
	var connecting *pgconn.ConnectError
	if !errors.As(err, &connecting) {
		return err
	}
	var lines []string
	for line := range strings.Lines(connecting.Error()) {
		if line = terminal.OneLine(line); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return fmt.Errorf("cannot reach the database: %s", strings.Join(lines, " "))
}
