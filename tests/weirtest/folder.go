//go:build unix

package weirtest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// folder is a temporary data folder. It is removed by a shell that waits for the end of its input, which comes with
// remove or with the end of this process, whichever way it ends: a panic, a timeout, a SIGKILL. That is what keeps a
// package without a TestMain, and a test run that is broken off, from leaving clusters behind.
type folder struct {
	path    string
	remover *exec.Cmd
	input   io.Closer
}

// removal waits for its input to end, then for the folder's server to end (10 s at most: one that is still there loses
// its folder and gives up), then removes the folder.
const removal = `cat >/dev/null
n=0
while [ $n -lt 100 ] && pid=$(head -n 1 "$1/postmaster.pid") && kill -0 "$pid"; do sleep 0.1; n=$((n + 1)); done
rm -rf -- "$1"`

func newFolder() (*folder, error) {
	path, err := os.MkdirTemp(inMemory(), "weir-test-")
	if err != nil {
		return nil, err
	}
	f := &folder{path: path, remover: exec.Command("sh", "-c", removal, "weir-test-remover", path)}
	f.remover.Dir = "/"
	f.remover.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C at the terminal is not for it
	if f.input, err = f.remover.StdinPipe(); err == nil {
		err = f.remover.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return f, nil
}

// remove removes the folder and returns when it is gone. Its server must have ended.
func (f *folder) remove() error {
	return errors.Join(f.input.Close(), f.remover.Wait())
}
