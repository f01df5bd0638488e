// Package cluster runs throw-away PostgreSQL clusters and measures what a run costs them. It knows nothing of queues.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/embedded"
)

// Cluster is a PostgreSQL server of our own, on a data folder that goes with it.
type Cluster struct {
	Profile Profile
	server  *embedded.Server
	folder  string
	made    int
}

// Start makes a cluster below parent with the settings of a profile, and starts it.
func Start(ctx context.Context, parent string, profile Profile) (*Cluster, error) {
	folder, err := os.MkdirTemp(parent, "weir-bench-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(folder, 0o711); err != nil { // the server may run as another user
		return nil, err
	}
	server, err := embedded.Start(ctx, embedded.Config{DataDir: filepath.Join(folder, "data"), Settings: profile.Settings})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return &Cluster{Profile: profile, server: server, folder: folder}, nil
}

// Stop stops the server and removes its folder.
func (c *Cluster) Stop() error {
	return errors.Join(c.server.Stop(), os.RemoveAll(c.folder))
}

// Version is the version of the server.
func (c *Cluster) Version() string { return c.server.Version() }

// Database makes an empty database and returns its address and a function that drops it. A checkpoint before the run
// lets each run begin alike.
func (c *Cluster) Database(ctx context.Context) (url string, drop func() error, err error) {
	c.made++
	name := fmt.Sprintf("bench_%d", c.made)
	if err := c.admin(ctx, "create database "+name, "checkpoint"); err != nil {
		return "", nil, err
	}
	drop = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
		defer cancel()
		return c.admin(ctx, fmt.Sprintf("drop database %s with (force)", name), "checkpoint")
	}
	return c.server.URL(name), drop, nil
}

func (c *Cluster) admin(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, c.server.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// CPU is the seconds of processor time that the server has used so far.
func (c *Cluster) CPU() (float64, error) {
	u, err := c.used()
	return u.postgres, err
}
