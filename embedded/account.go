//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the user that the server runs as when this program runs as root, because PostgreSQL refuses to run as root.
// A nil account means that the server runs as this program's user.
type account struct {
	uid, gid int
}

// accountFor returns the account for a folder: the owner of an existing cluster; for a new one the user postgres, or
// the user nobody if the machine has no user postgres. It is nil unless this program runs as root.
func accountFor(f *folder) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if !f.empty {
		info, err := f.root.Lstat("PG_VERSION")
		if err != nil {
			return nil, err
		}
		uid, gid, err := ownerOf(filepath.Join(f.path, "PG_VERSION"), info)
		if err != nil {
			return nil, err
		}
		if uid == 0 {
			return nil, errors.New("the cluster belongs to root, and PostgreSQL refuses to run as root")
		}
		return &account{uid: uid, gid: gid}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if err := errors.Join(uidErr, gidErr); err != nil {
			return nil, fmt.Errorf("the user %s has no usable id: %w", name, err)
		}
		return &account{uid: uid, gid: gid}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor a user nobody")
}

// name is the account's user name, or its id if it has no name.
func (a *account) name() string {
	uid := strconv.Itoa(a.uid)
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return "with id " + uid
}

// sysProcAttr makes a process run as the account, in its own process group: a Ctrl-C at the terminal then reaches only
// this program, which stops the server.
func (a *account) sysProcAttr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a != nil {
		attr.Credential = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
	}
	return attr
}

// chown gives a file to the account.
func (a *account) chown(f *os.File) error {
	if a == nil {
		return nil
	}
	return f.Chown(a.uid, a.gid)
}

// explain turns a permission error from starting a program into one that names the folder that the account may not
// enter, most often root's home.
func (a *account) explain(err error, paths ...string) error {
	if a == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	for _, path := range paths {
		for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
			info, statErr := os.Stat(dir)
			if statErr != nil || a.mayEnter(info) {
				continue
			}
			return fmt.Errorf("PostgreSQL refuses to run as root, so it runs as the user %s, who may not enter %s (%s) to reach %s: "+
				"use another folder", a.name(), dir, info.Mode(), path)
		}
	}
	return err
}

// mayEnter reads only the permission bits. That is enough to find the folder once an attempt has failed.
func (a *account) mayEnter(dir fs.FileInfo) bool {
	owner := dir.Sys().(*syscall.Stat_t)
	switch {
	case int(owner.Uid) == a.uid:
		return dir.Mode()&0o100 != 0
	case int(owner.Gid) == a.gid:
		return dir.Mode()&0o010 != 0
	default:
		return dir.Mode()&0o001 != 0
	}
}
