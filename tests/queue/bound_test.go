package queue

import (
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCountsStopAtTheirBound(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.EnqueueAll([]weirtest.Object{{"kind": "k", "queue": "deep"}, {"kind": "k", "queue": "flat"}})
	weirtest.Exec(t, s.DB, `with stored as (
			insert into weir.job (id, queue_id, timeout_seconds, priority, max_attempts, kind, args)
			select nextval('weir.job_id_seq'), q.id, 300, 5, 5, 'k', '1' from weir.queue q, generate_series(1, 100010) where q.name = 'deep'
			returning id, queue_id, priority)
		insert into weir.job_ready (queue_id, priority, seq) select queue_id, priority, id from stored`)

	t.Run("SQL", func(t *testing.T) {
		got := weirtest.Values[string](t, s.DB, "select concat_ws(' ', queue, available, exact) from weir.queue_depth order by queue")
		if want := "deep 100000 f,flat 1 t"; strings.Join(got, ",") != want {
			t.Errorf("%q, want %q", got, want)
		}
		weirtest.Exec(t, s.DB, "select weir.purge_queue('deep', 10)")
		weirtest.Exec(t, s.DB, "select weir.purge_queue('deep', 2)")
		if got := weirtest.Value[string](t, s.DB, "select concat_ws(' ', available, exact) from weir.queue_depth where queue = 'deep'"); got != "99999 t" {
			t.Errorf("below the bound: %q", got)
		}
		weirtest.Exec(t, s.DB, "select weir.enqueue('k', queue => 'deep')")
	})
	t.Run("REST", func(t *testing.T) {
		type counted struct {
			Name      string
			Available int
			Exact     bool
		}
		page := weirtest.Decode[weirtest.Page[counted]](s.Get("/v1/queues").Want(http.StatusOK))
		if len(page.Items) != 2 || page.Items[0] != (counted{"deep", 100000, false}) || page.Items[1] != (counted{"flat", 1, true}) {
			t.Errorf("%+v", page.Items)
		}
	})
	t.Run("metrics", func(t *testing.T) {
		if text := string(s.Get("/metrics").Want(http.StatusOK).Body); !strings.Contains(text, `weir_queue_jobs{queue="deep",state="available"} 100000`) {
			t.Error("the count of the deep queue is not 100000")
		}
	})
}
