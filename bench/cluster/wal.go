package cluster

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/weirhq/weir/embedded"
)

// WALByRecord returns what pg_waldump counts between two places of the log, by type of record. The log must still be
// there, which after a run longer than a checkpoint or two it is not.
func (c *Cluster) WALByRecord(start, end string) (string, error) {
	programs, err := embedded.FindBinaries("")
	if err != nil {
		return "", err
	}
	out, err := exec.Command(filepath.Join(programs, "pg_waldump"), "--stats=record",
		"--path="+filepath.Join(c.server.DataDir(), "pg_wal"), "--start="+start, "--end="+end).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("pg_waldump: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
