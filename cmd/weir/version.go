package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set when a release is built: -ldflags '-X main.version=…'.
var version string

type versionCommand struct{}

// Run prints the version, and what it was built from.
func (versionCommand) Run(std streams) error {
	build := readBuild()
	fmt.Fprintf(std.out, "weir %s\ncommit %s\n%s %s/%s\n", build.version, build.commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// build is what this program was built from.
type build struct {
	version string
	commit  string // with a mark where the checkout was not as committed
}

func readBuild() build {
	b := build{version: version, commit: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if b.version == "" && ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		b.version = info.Main.Version
	}
	if b.version == "" {
		b.version = "dev"
	}
	if !ok {
		return b
	}
	modified := false
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.commit = setting.Value
		case "vcs.modified":
			modified = setting.Value == "true"
		}
	}
	if modified {
		b.commit += " with changes"
	}
	return b
}
