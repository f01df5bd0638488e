package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/access"
)

// devKeyName is the name of the key that weir dev makes.
const devKeyName = "weir dev"

// keepAdminKey makes sure that a file has a key of an admin that is in force. It makes one if the file is missing, or has
// a key of another database.
func keepAdminKey(ctx context.Context, url, path string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the admin key: %w", err)
	}
	if key, ok := access.ParseKey(strings.TrimSpace(string(text))); ok {
		var hash []byte
		const find = "select key_hash from weir.principal where key_id = $1 and revoked_at is null"
		err := conn.QueryRow(ctx, find, key.ID).Scan(&hash)
		if err == nil && key.Is(hash) {
			return nil
		}
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return fmt.Errorf("looking up the admin key: %w", err)
		}
	}
	const revoke = "select weir.revoke_key(id) from weir.keys where kind = 'key' and name = $1 and revoked_at is null"
	if _, err := conn.Exec(ctx, revoke, devKeyName); err != nil {
		return fmt.Errorf("revoking the admin key before: %w", err)
	}
	var secret string
	const create = "select key from weir.create_key($1, '{admin}', created_by => 'weir dev')"
	if err := conn.QueryRow(ctx, create, devKeyName).Scan(&secret); err != nil {
		return fmt.Errorf("making the admin key: %w", err)
	}
	return writeSecret(path, secret)
}

// writeSecret writes a file that only this user can read, in one step.
func writeSecret(path, secret string) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := os.OpenFile(fresh, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, secret)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}
