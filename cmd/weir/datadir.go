package main

import (
	"os"
	"path/filepath"
	"runtime"
)

// defaultDataDir is the folder for this user's data, by the custom of the system. It is empty where there is none.
func defaultDataDir() string {
	home, _ := os.UserHomeDir()
	return dataDirFor(runtime.GOOS, os.Geteuid(), os.Getenv("XDG_DATA_HOME"), home)
}

// dataDirFor is defaultDataDir for anybody anywhere.
//
// PostgreSQL refuses to run as root, so for root it runs as another user, whom root's home is closed to. Root therefore has the folder
// that services have.
func dataDirFor(system string, uid int, dataHome, home string) string {
	switch {
	case filepath.IsAbs(dataHome):
		return filepath.Join(dataHome, "weir")
	case uid == 0:
		return "/var/lib/weir"
	case system == "darwin" && home != "":
		return filepath.Join(home, "Library", "Application Support", "weir")
	case home != "":
		return filepath.Join(home, ".local", "share", "weir")
	}
	return ""
}
