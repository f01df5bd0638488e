package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set when a release is built: -ldflags '-X main.version=…'.
var version string

type versionCommand struct {
	jsonFlag
}

// Run prints the version, and what it was built from.
func (c versionCommand) Run(std streams) error {
	build, platform := readBuild(), runtime.GOOS+"/"+runtime.GOARCH
	if c.JSON {
		return std.writeJSON(map[string]string{
			"version": build.version, "commit": build.commit, "go": runtime.Version(), "platform": platform,
		})
	}
	_, err := fmt.Fprintf(std.out, "weir %s\ncommit %s\n%s %s\n", build.version, build.commit, runtime.Version(), platform)
	return err
}

// build is what this program was built from.
type build struct {
	version string
	commit  string // marked if the checkout had uncommitted changes
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
