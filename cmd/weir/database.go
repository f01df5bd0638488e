package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// databaseFlags name the database.
type databaseFlags struct {
	DatabaseURL string `help:"The address of the database, postgres://user:password@host:port/name." env:"WEIR_DATABASE_URL" required:"" placeholder:"URL"`
}

// explainConnecting makes one line of why the database could not be reached: pgx gives a line for each address that it tried, twice
// where it tried with and without TLS.
func explainConnecting(err error) error {
	var connecting *pgconn.ConnectError
	if !errors.As(err, &connecting) {
		return err
	}
	var lines []string
	for line := range strings.Lines(connecting.Error()) {
		if line = oneLine(line); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return fmt.Errorf("cannot reach the database: %s", strings.Join(lines, " "))
}
