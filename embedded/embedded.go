//go:build unix

// Package embedded runs a private PostgreSQL server out of the programs that the machine already has. It is what makes
// `weir dev`, the tests and the benchmarks need nothing set up. It wraps initdb and postgres and knows nothing of weir's
// schema: it must not import any other package of this module.
//
// Three promises hold everywhere:
//
//   - The data folder is never deleted and never repaired by force. Whatever looks wrong about it is an error.
//   - Nobody else on the machine gets in. The server listens on 127.0.0.1 and on a Unix socket in a folder of its own,
//     and both ask for a random password, kept in the file weir.password (mode 0600) in the data folder.
//   - At most one server runs on a folder. A flock on the folder is handed down to every server process, so it is held
//     for as long as any of them lives, also when the program that started them is gone.
//
// On Linux the server is told to shut down when the program that started it dies, however it dies. Elsewhere it lives
// on; the next [Start] on its folder is then refused with the server's process id.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"strconv"
)

// superuser is the role that initdb creates and that [Server.URL] names.
const superuser = "postgres"

// Config says which server to run. Only DataDir is required.
type Config struct {
	// DataDir is the folder of the cluster. It is created when absent and filled by initdb when empty. A folder that
	// holds anything else than a cluster made by this package is refused.
	DataDir string

	// BinDir is the folder that holds initdb and postgres. Defaults to the first folder that [FindBinaries] finds, and
	// for a cluster that exists to the first of the cluster's own major version.
	BinDir string

	// Port is the TCP port on 127.0.0.1. Defaults to a free one.
	Port int

	// Settings are PostgreSQL settings by name, as in postgresql.conf. With fsync = off, initdb does not sync either.
	// Defaults to none. The settings that decide where the server listens cannot be given here.
	Settings map[string]string

	// Logger hears of the server's starts and stops. The server's own log is the file postgres.log in the data folder.
	// Defaults to no logging.
	Logger *slog.Logger
}

// reserved are the settings that this package decides, because its promises rest on them.
var reserved = []string{
	"data_directory", "hba_file", "ident_file", "listen_addresses", "logging_collector", "port",
	"unix_socket_directories", "unix_socket_permissions",
}

// withDefaults checks the configuration and fills in what can be known before looking at the data folder.
func (c Config) withDefaults() (Config, error) {
	if c.DataDir == "" {
		return c, errors.New("embedded PostgreSQL needs a data folder")
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return c, err
	}
	c.DataDir = dir
	for _, name := range reserved {
		if _, set := c.Settings[name]; set {
			return c, fmt.Errorf("the setting %s belongs to the embedded server and cannot be given", name)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Server is a running PostgreSQL server. Its methods may be called from several goroutines.
type Server struct {
	dataDir   string
	socketDir string
	port      int
	version   string
	password  string
	logger    *slog.Logger
	process   *process
}

// URL returns the address of a database for the superuser, password included. The database need not exist yet;
// "postgres" always does.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     "127.0.0.1:" + strconv.Itoa(s.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Pid is the process id of the postmaster, the parent of all other server processes.
func (s *Server) Pid() int { return s.process.pid() }

// Port is the TCP port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// DataDir is the absolute path of the cluster's folder.
func (s *Server) DataDir() string { return s.dataDir }

// SocketDir is the folder of the Unix socket: what psql takes as its host.
func (s *Server) SocketDir() string { return s.socketDir }

// Version is the version of the server program, for example "15.18".
func (s *Server) Version() string { return s.version }

// Start runs a server on c.DataDir and returns when it accepts connections. The context bounds the starting only: the
// server runs until Stop or Kill, or until this program ends. When the server gives up early, the error carries the
// end of its log.
func Start(ctx context.Context, c Config) (*Server, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	folder, err := openFolder(ctx, c.DataDir)
	if err != nil {
		return nil, err
	}
	defer folder.release()
	s, err := startIn(ctx, c, folder)
	if err != nil {
		return nil, fmt.Errorf("starting PostgreSQL in %s: %w", c.DataDir, err)
	}
	return s, nil
}

// startIn does the work of Start under the folder's lock, which the server's processes inherit.
func startIn(ctx context.Context, c Config, folder *folder) (*Server, error) {
	account, err := accountFor(folder)
	if err != nil {
		return nil, err
	}
	programs, err := choosePrograms(c.BinDir, folder.major)
	if err != nil {
		return nil, err
	}
	if folder.empty {
		c.Logger.InfoContext(ctx, "creating a PostgreSQL cluster", "folder", folder.path, "version", programs.version)
		if err := folder.initialise(ctx, programs, account, c.Settings["fsync"] == "off"); err != nil {
			return nil, err
		}
	}
	password, err := folder.password()
	if err != nil {
		return nil, err
	}
	s := &Server{
		dataDir:  folder.path,
		version:  programs.version,
		password: password,
		logger:   c.Logger,
	}
	if err := s.launch(ctx, c, programs, account, folder); err != nil {
		return nil, err
	}
	c.Logger.InfoContext(ctx, "PostgreSQL is ready",
		"version", s.version, "pid", s.Pid(), "port", s.port, "folder", s.dataDir)
	return s, nil
}
