package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestEphemeralDevLeavesNothing(t *testing.T) {
	weirtest.Long(t, "it starts PostgreSQL")
	t.Parallel()
	temp := weirtest.DevFolder(t)
	dev := exec.CommandContext(t.Context(), weirtest.Program(t, "./cmd/weir"), "dev", "--ephemeral", "--addr", "127.0.0.1:0", "--json", "--until-eof")
	dev.Env = append(os.Environ(), "TMPDIR="+temp)
	dev.Stderr = os.Stderr
	input, err := dev.StdinPipe()
	output, outErr := dev.StdoutPipe()
	if err := errors.Join(err, outErr, dev.Start()); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var at struct {
		URL          string `json:"url"`
		DatabaseURL  string `json:"database_url"`
		AdminKeyFile string `json:"admin_key_file"`
	}
	if err := json.Unmarshal(line, &at); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	readKey(t, at.AdminKeyFile)
	conn, err := pgx.Connect(t.Context(), at.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	var id string
	if err := conn.QueryRow(t.Context(), "select weir.enqueue('hello')::text").Scan(&id); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	answer, err := http.Get(at.URL + "/v1/jobs/" + id)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("the job that SQL enqueued answers %d", answer.StatusCode)
	}

	if err := errors.Join(input.Close(), dev.Wait()); err != nil {
		t.Errorf("at the end of its input it ended with %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestDevPrintsNoPasswordOfDataThatIsKept(t *testing.T) {
	t.Parallel()
	temp := "WEIR_DATA_DIR=" + weirtest.DevFolder(t)
	weirtest.RunCLI(t, []string{temp}, "", "dev", "--json").Says(2, "--json", "--ephemeral")
	weirtest.RunCLI(t, []string{temp}, "", "dev", "--max-connections", "0").Says(2, "--max-connections")
}
