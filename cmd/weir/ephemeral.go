package main

import (
	"errors"
	"fmt"
	"os"
)

// ephemeralFlags are for programs, most of all tests, that start a weir of their own.
type ephemeralFlags struct {
	Ephemeral bool `help:"Keep the data in a temporary folder in place of --data-dir, without syncing it to disk, and delete it at the end. For tests."`
	UntilEOF  bool `name:"until-eof" help:"End when standard input ends: for a program that starts weir, and may die without stopping it."`
	JSON      bool `name:"json" help:"With --ephemeral: print the addresses as one line of JSON in place of the guide."`
}

// devAddresses is what --json prints. The address of the database has its password, which is worth nothing once the
// temporary folder is gone.
type devAddresses struct {
	URL          string `json:"url"`
	DatabaseURL  string `json:"database_url"`
	AdminKeyFile string `json:"admin_key_file"`
}

// Validate is called by that of devCommand.
func (f ephemeralFlags) Validate() error {
	if f.JSON && !f.Ephemeral {
		return errors.New("--json goes with --ephemeral: its address of the database shows a password")
	}
	return nil
}

// settings are those of PostgreSQL: nothing that is deleted in the end need survive a crash.
func (f ephemeralFlags) settings() map[string]string {
	if !f.Ephemeral {
		return nil
	}
	return map[string]string{"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
}

// makeTemporaryFolder makes the data folder, and returns what deletes it.
func (c *devCommand) makeTemporaryFolder() (remove func(), err error) {
	folder, err := os.MkdirTemp("", "weir-ephemeral-")
	if err != nil {
		return nil, fmt.Errorf("making a temporary folder: %w", err)
	}
	remove = func() { os.RemoveAll(folder) }
	// Started by root, PostgreSQL runs as another user, who must be able to enter.
	if err := os.Chmod(folder, 0o711); err != nil {
		remove()
		return nil, err
	}
	c.DataDir = folder
	return remove, nil
}
