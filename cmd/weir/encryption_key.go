package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/encryption"
	"github.com/weirhq/weir/jobs"
)

// encryptionKeyCommands keep the file of keys that nodes encrypt with. They call no node.
type encryptionKeyCommands struct {
	New     newEncryptionKey     `cmd:"" help:"Make a file with a first key."`
	List    listEncryptionKeys   `cmd:"" help:"List the ids of the keys in a file."`
	Add     addEncryptionKey     `cmd:"" help:"Add a key to a file, which nodes do not use yet: give them the file, then promote the key."`
	Promote promoteEncryptionKey `cmd:"" help:"Let nodes wrap new data keys with another key of the file."`
	Drop    dropEncryptionKey    `cmd:"" help:"Take a key out of a file, once weir encryption-key rewrap says that no data key needs it."`
	Rewrap  rewrapDataKeys       `cmd:"" help:"Wrap all data keys in the database, and secrets of webhooks, with the primary key of a file; say how many still need others."`
}

// keyFileFlag names the file.
type keyFileFlag struct {
	File string `arg:"" help:"The file of keys." type:"path"`
	jsonFlag
}

// show prints the keys of a file.
func (f keyFileFlag) show(std streams, file *encryption.File) error {
	keys := file.Keys()
	if f.JSON {
		return std.writeJSON(keys)
	}
	for _, k := range keys {
		use := "opens what it wrapped"
		if k.Primary {
			use = "primary: wraps new data keys"
		}
		fmt.Fprintf(std.out, "%-10d  %s\n", k.ID, use)
	}
	return nil
}

// change reads the file, changes it and writes it again.
func (f keyFileFlag) change(std streams, change func(*encryption.File) (*encryption.File, error)) error {
	file, err := encryption.ReadFile(f.File)
	if err != nil {
		return err
	}
	if file, err = change(file); err != nil {
		return err
	}
	if err := file.Write(f.File, true); err != nil {
		return err
	}
	return f.show(std, file)
}

type (
	newEncryptionKey   struct{ keyFileFlag }
	listEncryptionKeys struct{ keyFileFlag }
	addEncryptionKey   struct{ keyFileFlag }
)

// Run makes the file.
func (c *newEncryptionKey) Run(std streams) error {
	file, err := encryption.NewFile()
	if err != nil {
		return err
	}
	if err := file.Write(c.File, false); err != nil {
		return err
	}
	return c.show(std, file)
}

// Run lists the keys.
func (c *listEncryptionKeys) Run(std streams) error {
	file, err := encryption.ReadFile(c.File)
	if err != nil {
		return err
	}
	return c.show(std, file)
}

// Run adds a key.
func (c *addEncryptionKey) Run(std streams) error {
	return c.change(std, (*encryption.File).Add)
}

type promoteEncryptionKey struct {
	keyFileFlag
	ID uint32 `arg:"" help:"The id of the key."`
}

// Run promotes a key.
func (c *promoteEncryptionKey) Run(std streams) error {
	return c.change(std, func(f *encryption.File) (*encryption.File, error) { return f.Promote(c.ID) })
}

type dropEncryptionKey struct {
	keyFileFlag
	ID uint32 `arg:"" help:"The id of the key."`
}

// Run takes a key out.
func (c *dropEncryptionKey) Run(std streams) error {
	return c.change(std, func(f *encryption.File) (*encryption.File, error) { return f.Remove(c.ID) })
}

type rewrapDataKeys struct {
	keyFileFlag
	databaseFlags
}

// Run wraps the data keys again.
func (c *rewrapDataKeys) Run(ctx context.Context, std streams) error {
	url, err := c.url()
	if err != nil {
		return err
	}
	keys, err := encryption.OpenKeys(c.File)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	done, err := jobs.Rewrap(ctx, conn, keys)
	if err != nil {
		return err
	}
	if c.JSON {
		return std.writeJSON(done)
	}
	fmt.Fprintf(std.out, "wrapped %d data keys again, and encrypted %d secrets of webhooks\n", done.Rewrapped, done.Secrets)
	for _, k := range done.Left {
		fmt.Fprintf(std.out, "%d data keys need key %d, which the file does not have\n", k.DataKeys, k.WrappedBy)
	}
	if len(done.Left) > 0 {
		return errors.New("some data keys could not be wrapped again")
	}
	return nil
}
