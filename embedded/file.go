//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The data folder may belong to another user than this program runs as: root's server runs as postgres. That user must not be able to have
// root read, write or give away a file that is not theirs, by a link in the folder or in its place.

// openDir opens a folder, which for root must not be a symbolic link.
func openDir(path string) (*os.File, error) {
	flags := os.O_RDONLY | syscall.O_DIRECTORY
	if os.Geteuid() == 0 {
		flags |= syscall.O_NOFOLLOW
	}
	dir, err := os.OpenFile(path, flags, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%s is a symbolic link or no folder: for root, give the folder itself", path)
	}
	return dir, err
}

// within opens the files of a folder by name. None is outside of it, whatever links there are.
func within(dir *os.File) (*os.Root, error) {
	root, err := os.OpenRoot(dir.Name())
	if err != nil {
		return nil, err
	}
	opened, err := root.Stat(".")
	locked, lockedErr := dir.Stat()
	if err := errors.Join(err, lockedErr); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	if !os.SameFile(opened, locked) {
		return nil, errors.Join(fmt.Errorf("%s was replaced by another folder", dir.Name()), root.Close())
	}
	return root, nil
}

// ownerOf returns whose a file is. It must be a regular one that has no other name.
func ownerOf(path string, info fs.FileInfo) (uid, gid int, err error) {
	stat := info.Sys().(*syscall.Stat_t)
	if !info.Mode().IsRegular() || stat.Nlink != 1 {
		return 0, 0, fmt.Errorf("%s is a link, or no regular file: remove it", path)
	}
	return int(stat.Uid), int(stat.Gid), nil
}

// readFile reads a small file of the folder.
func (f *folder) readFile(name string) (string, error) {
	info, err := f.root.Lstat(name)
	if err != nil {
		return "", err
	}
	if _, _, err := ownerOf(filepath.Join(f.path, name), info); err != nil {
		return "", err
	}
	text, err := f.root.ReadFile(name)
	return string(text), err
}

// createPrivate creates a file in the folder, with mode 0600 and of the account, and opens it for appending.
func (f *folder) createPrivate(name string, a *account) (*os.File, error) {
	file, err := f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := a.chown(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// appendTo opens a file in the folder for appending, and creates it if need be. One that exists must be the account's already, so that
// nothing is given away: between looking and giving, a link could take its place.
func (f *folder) appendTo(name string, a *account) (*os.File, error) {
	file, err := f.createPrivate(name, a)
	if !errors.Is(err, fs.ErrExist) {
		return file, err
	}
	// Not blocking, or a pipe in its place would stop this program.
	if file, err = f.root.OpenFile(name, os.O_WRONLY|os.O_APPEND|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0); err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	uid, _, err := ownerOf(filepath.Join(f.path, name), info)
	if err == nil && a != nil && uid != a.uid {
		err = fmt.Errorf("%s does not belong to the user %s: remove it", filepath.Join(f.path, name), a.name())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// checkOwner returns an error if root would give a folder away that is not its own, or start a cluster in one.
func (f *folder) checkOwner(a *account) error {
	if a == nil {
		return nil
	}
	info, err := f.lock.Stat()
	if err != nil {
		return err
	}
	uid := int(info.Sys().(*syscall.Stat_t).Uid)
	if uid != 0 && uid != a.uid || !f.empty && uid != a.uid {
		return fmt.Errorf("%s belongs to the user with id %d: PostgreSQL would run as the user %s", f.path, uid, a.name())
	}
	return nil
}
