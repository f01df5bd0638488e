package cli

import (
	"flag"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

var writePicture = flag.Bool("write-picture", false, "draw weir top for the documentation")

// TestTopIsDrawn draws the picture of docs/cli.md, of a node that works for a minute. make pictures runs it.
func TestTopIsDrawn(t *testing.T) {
	if !*writePicture {
		t.Skip("make pictures draws it")
	}
	s := busyNode(t)
	for queue, n := range map[string]int{"mail": 2600, "thumbnails": 900, "search-index": 400, "exports": 40} {
		var all []obj
		for range n {
			all = append(all, obj{"kind": map[string]string{"mail": "send_receipt", "thumbnails": "resize", "search-index": "index", "exports": "export"}[queue], "queue": queue, "max_attempts": 3})
		}
		s.EnqueueAll(all)
	}
	for worker, queue := range map[string]string{"mailer-2": "mail", "mailer-3": "mail", "resizer-1": "thumbnails", "indexer-1": "search-index"} {
		command := []string{"cat"}
		if queue == "thumbnails" {
			command = []string{"sh", "-c", "sleep 0.1; [ $(($$ % 5)) != 0 ]"}
		}
		s.StartWorker([]string{"--queue", queue, "--worker", worker, "--concurrency", "4"}, command...)
	}
	x := weirtest.StartTerminal(t, 112, 28, []string{"WEIR_URL=" + s.URL}, weirtest.Program(t, "./cmd/weir"), "top")
	x.Shows("resize failed")
	time.Sleep(25 * time.Second) // the waits of all queues come in turn
	s.Get("/readyz").Want(http.StatusOK)
	x.Type("j")
	time.Sleep(time.Second)
	if err := os.WriteFile("../../docs/images/top.svg", []byte(x.Picture()), 0o644); err != nil {
		t.Fatal(err)
	}
}
