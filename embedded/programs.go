//go:build unix

package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldest is the lowest major version that weir works with.
const oldest = 14

// installHint says how to install PostgreSQL.
const installHint = `in a checkout of weir, run scripts/setup postgres, or install it:
  Debian, Ubuntu:  apt install postgresql
  Fedora, RHEL:    dnf install postgresql-server
  macOS:           brew install postgresql@17`

// wellKnown are the folders where packages put the programs without adding them to PATH. scripts/setup lists them too.
var wellKnown = []string{
	"/usr/lib/postgresql/*/bin", // Debian and its kin
	"/usr/pgsql-*/bin",          // the PostgreSQL project's own RPMs
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// programs is a folder that holds initdb and postgres, and their version.
type programs struct {
	dir     string
	version string // as in "15.18"
	major   int
}

// FindBinaries returns a folder that holds initdb and postgres. If dir is given, that is dir. Otherwise it is the first of
// pg_config's folder, a folder on PATH, the folders of packages (the newest major version first), and the user's cache,
// where scripts/setup keeps a copy if it cannot install PostgreSQL.
func FindBinaries(dir string) (string, error) {
	found, err := findAll(dir)
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// findAll returns the folders that FindBinaries chooses from, at least one.
func findAll(dir string) ([]string, error) {
	if dir == "" {
		found := candidates()
		if len(found) == 0 {
			return nil, errors.New("found no PostgreSQL server programs (initdb, postgres); " + installHint)
		}
		return found, nil
	}
	if !holdsPrograms(dir) {
		return nil, fmt.Errorf("found no PostgreSQL programs in %s: the folder must hold initdb and postgres", dir)
	}
	abs, err := filepath.Abs(dir)
	return []string{abs}, err
}

// choosePrograms returns the programs to run: those in dir if it is given, otherwise the first that work. If major is not
// 0, they must have this major version, which is that of an existing cluster.
func choosePrograms(dir string, major int) (programs, error) {
	dirs, err := findAll(dir)
	if err != nil {
		return programs{}, err
	}
	var seen []string
	for _, d := range dirs {
		p, err := inspect(d)
		switch {
		case err != nil:
			seen = append(seen, err.Error())
		case p.major < oldest:
			seen = append(seen, p.version+" (too old)")
		case major == 0 || p.major == major:
			return p, nil
		default:
			seen = append(seen, p.version)
		}
	}
	found := strings.Join(seen, ", ")
	if major == 0 {
		return programs{}, fmt.Errorf("weir needs PostgreSQL %d or newer, but found %s; %s", oldest, found, installHint)
	}
	return programs{}, fmt.Errorf("the cluster was made by PostgreSQL %d, but the programs found have version %s: "+
		"install PostgreSQL %d, or convert the cluster with pg_upgrade, or use another data folder",
		major, found, major)
}

// candidates lists the folders with PostgreSQL programs, best first, each once.
func candidates() []string {
	var dirs []string
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(initdb))
	}
	var packaged []string
	for _, pattern := range wellKnown {
		matches, _ := filepath.Glob(pattern) // the only error is a malformed pattern
		packaged = append(packaged, matches...)
	}
	slices.SortStableFunc(packaged, func(a, b string) int { return cmp.Compare(versionInPath(b), versionInPath(a)) })

	var found []string
	for _, dir := range slices.Concat(dirs, packaged, cached()) {
		if abs, err := filepath.Abs(dir); err == nil && holdsPrograms(abs) && !slices.Contains(found, abs) {
			found = append(found, abs)
		}
	}
	return found
}

// FindProgram returns the path of a program besides PostgreSQL's that scripts/setup can install, such as pgbouncer, or "".
func FindProgram(name string) string {
	// Debian keeps servers in /usr/sbin, which few users have on their PATH.
	for _, dir := range slices.Concat([]string{"", "/usr/sbin"}, cached()) {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}

// cached lists the folders where scripts/setup keeps programs.
func cached() []string {
	cache, err := os.UserCacheDir()
	home, homeErr := os.UserHomeDir()
	switch {
	case os.Geteuid() == 0 && (err != nil || homeErr == nil && strings.HasPrefix(cache, home+"/")):
		cache = "/var/cache" // root's home is closed to the user that the server runs as
	case err != nil:
		return nil // the user has no home
	}
	dirs, _ := filepath.Glob(filepath.Join(cache, "weir", "programs", "*", "bin"))
	return dirs
}

var number = regexp.MustCompile(`\d+`)

// versionInPath returns the major version in a path such as /usr/lib/postgresql/15/bin, or 0 if the path has none.
func versionInPath(path string) int {
	major, _ := strconv.Atoi(number.FindString(path))
	return major
}

func holdsPrograms(dir string) bool {
	for _, name := range []string{"initdb", "postgres"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// inspect asks the postgres program in dir for its version.
func inspect(dir string) (programs, error) {
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").CombinedOutput()
	if err != nil {
		return programs{}, fmt.Errorf("asking %s/postgres for its version: %w: %s", dir, err, out)
	}
	// As in "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)" or "postgres (PostgreSQL) 19beta1".
	_, rest, _ := strings.Cut(string(out), "(PostgreSQL) ")
	version, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	major, err := strconv.Atoi(number.FindString(version))
	if err != nil {
		return programs{}, fmt.Errorf("%s/postgres prints no version: %q", dir, out)
	}
	return programs{dir: dir, version: version, major: major}, nil
}
