//go:build unix

// Package embedded runs a private PostgreSQL server with the programs that the machine has, so `weir dev`, the tests and
// the benchmarks need no set-up. It wraps initdb and postgres. It does not know weir's schema and must not import any
// other package of this module.
//
// It promises three things:
//
//   - It never deletes or repairs a data folder. If anything is wrong with the folder, Start returns an error.
//   - Other users of the machine cannot log in. The server listens on 127.0.0.1 and on a Unix socket in a private folder.
//     Both ask for a random password, kept in the file weir.password (mode 0600) in the data folder.
//   - At most one server runs on a folder. Every server process inherits a flock on the folder, so the lock is held until
//     the last of them has ended, even if the program that started them is gone.
//
// On Linux the kernel tells the server to shut down when the program that started it dies, even by SIGKILL. On other
// systems the server lives on, and the next [Start] on its folder fails and names the server's process id.
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

// Config describes the server to run. Only DataDir is required.
type Config struct {
	// DataDir is the folder of the cluster. Start creates it if it does not exist, and runs initdb if it is empty. It
	// refuses a folder that holds anything but a cluster made by this package.
	DataDir string

	// BinDir is the folder that holds initdb and postgres. Defaults to the first folder that [FindBinaries] finds; for
	// an existing cluster, to the first of the cluster's major version.
	BinDir string

	// Port is the TCP port on 127.0.0.1. Defaults to a free one.
	Port int

	// Settings are PostgreSQL settings by name, as in postgresql.conf. With fsync = off, initdb does not sync either.
	// Defaults to none. The settings in reserved cannot be given here.
	Settings map[string]string

	// Env are variables (NAME=value) for the server, which gets nothing else of this program's environment but the paths
	// that it needs. Defaults to none.
	Env []string

	// Logger gets a record of each start and stop. The server's own log is the file postgres.log in the data folder.
	// Defaults to no logging.
	Logger *slog.Logger
}

// reserved are the settings that this package decides, because its promises depend on them.
var reserved = []string{
	"data_directory", "hba_file", "ident_file", "listen_addresses", "logging_collector", "port",
	"unix_socket_directories", "unix_socket_permissions",
}

// withDefaults checks the configuration and fills in the defaults that do not depend on the data folder.
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
			return c, fmt.Errorf("the embedded server decides the setting %s: it cannot be given", name)
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

// URL returns the address of a database for the superuser, with the password. The database need not exist yet;
// "postgres" always exists.
func (s *Server) URL(database string) string { return s.URLFor(superuser, s.password, database) }

// URLFor returns the address of a database for a role.
func (s *Server) URLFor(role, password, database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(role, password),
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

// SocketDir is the folder of the Unix socket. psql accepts it as a host.
func (s *Server) SocketDir() string { return s.socketDir }

// Version is the version of the server program, for example "15.18".
func (s *Server) Version() string { return s.version }

// Start runs a server on c.DataDir and returns when it accepts connections. The context bounds only the start: the
// server runs until Stop or Kill, or until this program ends. If the server ends before it is ready, the error holds the
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

// startIn is Start under the folder's lock, which the server's processes inherit.
func startIn(ctx context.Context, c Config, folder *folder) (*Server, error) {
	account, err := accountFor(folder)
	if err != nil {
		return nil, err
	}
	if err := folder.checkOwner(account); err != nil {
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
