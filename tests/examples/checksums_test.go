package examples

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// The example in examples/checksums as its README describes it, over the source of the go command, or over the folder
// that WEIR_TEST_CHECKSUMS names: more than a thousand files, each a job and a run of sha256sum. One of the workers is
// killed in the middle.
func TestChecksumsOfSourceTree(t *testing.T) {
	weirtest.Long(t, "it hashes a thousand files")
	t.Parallel()
	folder := os.Getenv("WEIR_TEST_CHECKSUMS")
	if folder == "" {
		root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
		if err != nil {
			t.Fatal(err)
		}
		folder = filepath.Join(strings.TrimSpace(string(root)), "src", "cmd", "go")
	}
	sums := sumsUnder(t, folder)
	if len(sums) < 1000 {
		t.Fatalf("there are only %d files under %s", len(sums), folder)
	}

	database := weirtest.New(t)
	s, _ := weirtest.StartServe(t, database)
	settings := []string{"WEIR_URL=" + s.URL}
	weir, checksums := weirtest.Program(t, "./cmd/weir"), weirtest.Program(t, "./examples/checksums")
	worker := func(name string) *weirtest.Process {
		return weirtest.StartProgram(t, settings, weir, "work", "--queue", "checksums", "--worker", name, "--concurrency", "2", "--lease-seconds", "5", "--", checksums, "worker")
	}

	began := time.Now()
	enqueue := weirtest.StartProgram(t, settings, checksums, "enqueue", folder)
	if status := enqueue.Wait(); status != 0 {
		t.Fatalf("enqueue ended with status %d:\n%s", status, enqueue.Output)
	}
	if q := s.Queue("checksums"); q.Available != len(sums) {
		t.Errorf("%d jobs wait for %d files", q.Available, len(sums))
	}
	doomed, other := worker("doomed"), worker("other")
	verify := weirtest.StartProgram(t, settings, checksums, "verify", folder)
	for end := time.Now().Add(5 * weirtest.Patience); ; time.Sleep(20 * time.Millisecond) { // as long as verify is given
		if s.Count(`select count(*) from weir.job_outcome where state = 'completed' and worker = 'doomed'`) > len(sums)/10 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("one of two workers does not get a tenth done")
		}
	}
	doomed.Kill()
	worker("heir")

	if status := verify.Wait(); status != 0 || !strings.Contains(verify.Output.String(), fmt.Sprintf("%d files: every result is what sha256sum says", len(sums))) {
		t.Fatalf("verify ended with status %d:\n%s", status, verify.Output)
	}
	t.Logf("%d files in %v", len(sums), time.Since(began).Round(time.Second))
	other.Signal(os.Interrupt)
	if status := other.Wait(); status != 0 {
		t.Errorf("a worker that was told to end ended with status %d:\n%s", status, other.Output)
	}

	// Not only by the example's own report: each file was hashed once, and correctly.
	query := url.Values{"queue": {"checksums"}, "state": {"completed"}, "limit": {"1000"}}
	workers := map[string]int{}
	for {
		page := weirtest.Decode[weirtest.Page[weirtest.Job]](s.Get("/v1/jobs?" + query.Encode()).Want(http.StatusOK))
		for _, j := range page.Items {
			var args, result struct{ Path, SHA256 string }
			if json.Unmarshal(j.Args, &args) != nil || json.Unmarshal(j.Result, &result) != nil || result.Path != args.Path || result.SHA256 == "" || result.SHA256 != sums[args.Path] {
				t.Errorf("job %s: args %s, result %s", j.ID, j.Args, j.Result)
			}
			delete(sums, args.Path)
			workers[j.Worker]++
		}
		if page.NextCursor == nil {
			break
		}
		query.Set("cursor", *page.NextCursor)
	}
	if len(sums) != 0 {
		t.Errorf("%d files were passed over", len(sums))
	}
	if len(workers) != 3 {
		t.Errorf("the workers did %v", workers)
	}
}

// sumsUnder returns the SHA-256 of each file under a folder.
func sumsUnder(t *testing.T, folder string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		sum := sha256.Sum256(text)
		sums[path] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sums
}
