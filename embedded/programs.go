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

// installHint tells how PostgreSQL comes to the machines that weir is developed on.
const installHint = `install it:
  Debian, Ubuntu:  apt install postgresql
  Fedora, RHEL:    dnf install postgresql-server
  macOS:           brew install postgresql@17`

// wellKnown are the folders where packages put the programs without adding them to PATH.
var wellKnown = []string{
	"/usr/lib/postgresql/*/bin", // Debian and its kin
	"/usr/pgsql-*/bin",          // the PostgreSQL project's own RPMs
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// programs is a folder with initdb and postgres in it, and what they are.
type programs struct {
	dir     string
	version string // as in "15.18"
	major   int
}

// FindBinaries returns a folder that holds initdb and postgres: dir itself when it is given, otherwise the first found
// beside pg_config, on PATH, and in the folders that packages use (the newest major version first).
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
			return nil, errors.New("no PostgreSQL server programs (initdb, postgres) on this machine; " + installHint)
		}
		return found, nil
	}
	if !holdsPrograms(dir) {
		return nil, fmt.Errorf("no PostgreSQL programs in %s: it must hold initdb and postgres", dir)
	}
	abs, err := filepath.Abs(dir)
	return []string{abs}, err
}

// choosePrograms returns the programs to run: those in dir when it is given, otherwise the first that will do. A major
// other than 0 is the version that an existing cluster insists on.
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
		return programs{}, fmt.Errorf("weir needs PostgreSQL %d or newer, found %s; %s", oldest, found, installHint)
	}
	return programs{}, fmt.Errorf("the cluster was made by PostgreSQL %d, but the programs found are of version %s: "+
		"install PostgreSQL %d, or move the cluster to another version with pg_upgrade, or use another data folder",
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
	for _, dir := range append(dirs, packaged...) {
		if abs, err := filepath.Abs(dir); err == nil && holdsPrograms(abs) && !slices.Contains(found, abs) {
			found = append(found, abs)
		}
	}
	return found
}

var number = regexp.MustCompile(`\d+`)

// versionInPath reads the major version off a path such as /usr/lib/postgresql/15/bin; a path without one is version 0.
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
		return programs{}, fmt.Errorf("%s/postgres tells no version: %q", dir, out)
	}
	return programs{dir: dir, version: version, major: major}, nil
}
