//go:build unix

package weirtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/migrations"
	"github.com/weirhq/weir/sql"
)

// templateLock is the advisory lock held while a template is made: test processes share a server.
const templateLock = 0x7765697274 // "weirt"

// createDatabase makes a database, from the template or empty, and returns its name.
func (c *cluster) createDatabase(ctx context.Context, migrated bool) (string, error) {
	// Before an empty one too: the migrations make roles, which belong to the server and would appear during its test.
	c.template.Do(func() { c.templateName, c.templateErr = c.makeTemplate(ctx) })
	if c.templateErr != nil {
		return "", c.templateErr
	}
	template := "template0"
	if migrated {
		template = c.templateName
	}
	name := "weir_test_" + strings.ToLower(rand.Text()[:12])
	for {
		_, err := c.pool.Exec(ctx, "create database "+name+" template "+template+c.strategy)
		if err == nil {
			return name, nil
		}
		// The template allows no connections, but autovacuum may be at work in it.
		if !HasSQLState(err, "55006") { // object_in_use
			return "", fmt.Errorf("making a test's database: %w", err)
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("making a test's database: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// dropDatabase drops a test's database and ends its sessions.
func (c *cluster) dropDatabase(ctx context.Context, name string) error {
	if _, err := c.pool.Exec(ctx, "drop database "+name+" with (force)"); err != nil {
		return fmt.Errorf("dropping a test's database: %w", err)
	}
	return nil
}

// makeTemplate returns the name of the template for this schema and makes it if the server has none yet. It has another
// name until it is finished, so that no half-made template is used.
func (c *cluster) makeTemplate(ctx context.Context) (name string, err error) {
	hash, err := hashOf(migrations.Files, sql.Files)
	if err != nil {
		return "", err
	}
	name = "weir_template_" + hash
	making := name + "_making"

	conn, err := c.pool.Acquire(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "select pg_advisory_lock($1)", templateLock); err != nil {
		return "", err
	}
	defer func() {
		_, unlockErr := conn.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", templateLock)
		err = errors.Join(err, unlockErr)
	}()

	var there bool
	err = conn.QueryRow(ctx, "select exists (select from pg_database where datname = $1)", name).Scan(&there)
	if err != nil || there {
		return name, err
	}
	for _, order := range []string{
		"drop database if exists " + making + " with (force)",
		"create database " + making + " template template0",
	} {
		if _, err := conn.Exec(ctx, order); err != nil {
			return "", fmt.Errorf("making the template: %w", err)
		}
	}
	if err := migrations.Up(ctx, withDatabase(c.url, making)); err != nil {
		return "", fmt.Errorf("making the template: %w", err)
	}
	if err := warm(ctx, withDatabase(c.url, making)); err != nil {
		return "", fmt.Errorf("making the template: %w", err)
	}
	for _, order := range []string{
		"alter database " + making + " allow_connections false",
		"alter database " + making + " rename to " + name,
	} {
		if _, err := conn.Exec(ctx, order); err != nil {
			return "", fmt.Errorf("making the template: %w", err)
		}
	}
	return name, nil
}

// warm connects to a database once: the first session writes PostgreSQL's cache of the catalog, which the databases that
// are made from this one then have.
func warm(ctx context.Context, address string) error {
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// hashOf names sets of files by their names and contents, in twelve hexadecimal digits.
func hashOf(sets ...fs.FS) (string, error) {
	sum := sha256.New()
	for _, files := range sets {
		err := fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := fs.ReadFile(files, path)
			fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:12], nil
}
