package main

import (
	"os"
	"path/filepath"
	"runtime"
)

// defaultDataDir is the folder where this system keeps data of this user, or empty if there is none.
func defaultDataDir() string {
	home, _ := os.UserHomeDir()
	return dataDirFor(runtime.GOOS, os.Geteuid(), os.Getenv("XDG_DATA_HOME"), home)
}

// dataDirFor is defaultDataDir for any user on any system.
//
// PostgreSQL refuses to run as root, so root's runs as another user, who cannot enter root's home. Root therefore gets
// the folder that services use.
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
