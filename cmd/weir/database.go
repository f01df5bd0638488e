package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/cli"
	"github.com/weirhq/weir/terminal"
)

// databaseFlags name the database.
type databaseFlags struct {
	DatabaseURL     string `help:"URL of the database: postgres://user:password@host:port/name. Other users of the machine can see the flag: give a password in the variable or the file." env:"WEIR_DATABASE_URL" placeholder:"URL"`
	DatabaseURLFile string `help:"File with the URL of the database, in place of --database-url." env:"WEIR_DATABASE_URL_FILE" placeholder:"FILE"`
}

// Validate is called by kong.
func (f databaseFlags) Validate() error {
	if (f.DatabaseURL == "") == (f.DatabaseURLFile == "") {
		return errors.New("give the database with one of --database-url and --database-url-file")
	}
	return nil
}

// url is the URL of the database. Its errors do not repeat it.
func (f databaseFlags) url() (string, error) { return databaseURL(f.DatabaseURL, f.DatabaseURLFile) }

// databaseURL is a URL that was given as it is or in a file. The error of pgx about a malformed one is not passed on: it may quote a
// password.
func databaseURL(address, file string) (string, error) {
	if file != "" {
		var err error
		if address, err = cli.ReadSecret(file); err != nil {
			return "", err
		}
	}
	if _, err := pgconn.ParseConfig(address); err != nil {
		return "", errors.New("the URL of the database is malformed: it should be like postgres://user:password@host:port/name, " +
			"with special characters of the password escaped as in %40 for @")
	}
	return address, nil
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
