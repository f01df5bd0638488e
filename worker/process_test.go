package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell is a command that runs a script.
func shell(script string) *Program {
	return &Program{
		Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: os.Environ(), KillGrace: 200 * time.Millisecond,
	}
}

func runShell(script string, stop <-chan stopReason) outcome {
	job := &claimedJob{
		ID: "7", Token: "8", Kind: "k", Queue: "q", Attempt: 2, MaxAttempts: 5, Args: []byte(`{"a": 1}`), TimeoutSeconds: 60,
	}
	return shell(script).run(job, time.Now().Add(time.Minute), stop, &reports{}, nil)
}

func TestProgramGetsItsJob(t *testing.T) {
	t.Parallel()
	e := runShell(`cat
		echo "$WEIR_JOB_ID $WEIR_JOB_TOKEN $WEIR_JOB_KIND $WEIR_JOB_QUEUE $WEIR_JOB_ATTEMPT $WEIR_JOB_TAGS"`, nil)
	if got, want := string(e.stdout), "{\"a\": 1}\n7 8 k q 2 []\n"; got != want || e.err != nil {
		t.Errorf("it wrote %q, %v; want %q", got, e.err, want)
	}
}

func TestProgramNeedNotReadItsArgs(t *testing.T) {
	t.Parallel()
	job := &claimedJob{Args: []byte(`"` + strings.Repeat("x", 1<<20) + `"`)}
	e := shell("echo done").run(job, time.Now().Add(time.Minute), nil, &reports{}, nil)
	if e.err != nil || string(e.stdout) != "done\n" {
		t.Errorf("it ended with %v and wrote %q", e.err, e.stdout)
	}
}

func TestFailureHasItsReason(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"echo no such file >&2; exit 3":  "exit: exit status 3: no such file",
		"exit 4":                         "exit: exit status 4",
		"kill -TERM $$":                  "signal: ended by signal 15 (terminated)",
		`printf 'a\000\377b' >&2; false`: "exit: exit status 1: a\uFFFDb",
	} {
		kind, message := runShell(script, nil).status()
		if got := kind + ": " + message; got != want {
			t.Errorf("%s: %q; want %q", script, got, want)
		}
	}
}

func TestEndOfALongErrorIsKept(t *testing.T) {
	t.Parallel()
	e := runShell(`i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done >&2; exit 1`, nil)
	if !strings.HasPrefix(e.stderr, "…") || !strings.HasSuffix(e.stderr, "line 19999") ||
		len(e.stderr) > maxStderr+len("…") {
		t.Errorf("kept %d bytes: %.20q … %q", len(e.stderr), e.stderr, e.stderr[len(e.stderr)-20:])
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	e := runShell(fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", maxResult+1), nil)
	if !e.cut || len(e.stdout) != maxResult {
		t.Errorf("kept %d bytes, too much: %v", len(e.stdout), e.cut)
	}
	if e := runShell(fmt.Sprintf("head -c %d /dev/zero | tr '\\0' x", maxResult), nil); e.cut {
		t.Error("the largest result is too much")
	}
}

func TestProgramDoesNotWaitForWhatItLeavesRunning(t *testing.T) {
	t.Parallel()
	began := time.Now()
	e := runShell("sleep 120 & echo started", nil)
	if took := time.Since(began); e.err != nil || string(e.stdout) != "started\n" || took > 100*time.Second {
		t.Errorf("it ended with %v after %v and wrote %q", e.err, took, e.stdout)
	}
}

func TestStoppedProgramTakesItsProcessGroupWithIt(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"one that obeys": `sleep 600 & echo $! > "$1"; echo $$ >> "$1"; wait`,
		"one that does not": `trap '' TERM; (trap '' TERM; sleep 600; sleep 600) & echo $! > "$1"; echo $$ >> "$1"
			while :; do wait; done`,
	} {
		pids := filepath.Join(t.TempDir(), "pids")
		c := shell(script)
		c.Args = append(c.Args, "sh", pids)
		stop := make(chan stopReason, 2)
		go func() {
			for !strings.Contains(read(pids), "\n") || strings.Count(read(pids), "\n") < 2 {
				time.Sleep(5 * time.Millisecond)
			}
			stop <- jobCancelled
		}()
		began := time.Now()
		e := c.run(&claimedJob{}, time.Now().Add(time.Hour), stop, &reports{}, nil)
		if e.stopped != jobCancelled || time.Since(began) > 300*time.Second {
			t.Errorf("%s: stopped because %v, after %v", name, e.stopped, time.Since(began))
		}
		for _, pid := range strings.Fields(read(pids)) {
			if !gone(pid) {
				t.Errorf("%s: process %s goes on", name, pid)
			}
		}
	}
}

func TestTimeoutStopsTheProgram(t *testing.T) {
	t.Parallel()
	e := shell("echo begun >&2; sleep 600").run(&claimedJob{TimeoutSeconds: 1}, time.Now().Add(3*time.Second), nil, &reports{}, nil)
	if e.stopped != timedOut || e.stderr != "begun" {
		t.Errorf("stopped because %v; stderr %q", e.stopped, e.stderr)
	}
}

func TestProgramThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	c := &Program{Path: "/nonexistent/program", Args: []string{"program"}}
	if e := c.run(&claimedJob{}, time.Now().Add(time.Minute), nil, &reports{}, nil); e.started || e.err == nil {
		t.Errorf("it ended with %+v", e)
	}
}

func TestEnvironmentDropsThatOfAnotherJob(t *testing.T) {
	t.Parallel()
	env := Environment([]string{"HOME=/h", "WEIR_JOB_ID=1", "WEIR_URL=http://other"}, []string{"*"}, "w", "http://here")
	if !slices.Contains(env, "HOME=/h") || slices.Contains(env, "WEIR_JOB_ID=1") ||
		env[len(env)-1] != "WEIR_URL=http://here" {
		t.Errorf("it is %q", env)
	}
}

func read(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// gone reports whether a process has ended, or does soon. A zombie counts as ended.
func gone(pid string) bool {
	var n int
	if _, err := fmt.Sscan(pid, &n); err != nil {
		return false
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if syscall.Kill(n, 0) != nil {
			return true
		}
		if stat := read("/proc/" + pid + "/stat"); strings.Contains(stat, ") Z ") {
			return true
		}
	}
	return false
}
