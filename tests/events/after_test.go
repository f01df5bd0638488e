package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/weirhq/weir/tests/weirtest"
)

// after is an answer of weir.events_after.
type after struct {
	Events []struct {
		Event, Queue, Kind, Position string
		JobID                        string `json:"job_id"`
		Attempt                      int
		Error                        struct{ Message string }
	}
	Position string
	More     bool
}

func readAfter(t *testing.T, q weirtest.Querier, position *string, filter string, most int) (a after) {
	t.Helper()
	text := weirtest.Value[string](t, q, "select weir.events_after($1, $2, $3)::text", position, filter, most)
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// reader reads on from where it was, page by page.
type reader struct {
	position *string
	filter   string
	seen     []string // event and job
}

func newReader(t *testing.T, q weirtest.Querier, filter string) *reader {
	t.Helper()
	a := readAfter(t, q, nil, filter, 100)
	return &reader{position: &a.Position, filter: filter}
}

func (r *reader) read(t *testing.T, q weirtest.Querier, most int) {
	t.Helper()
	for {
		a := readAfter(t, q, r.position, r.filter, most)
		for _, e := range a.Events {
			r.seen = append(r.seen, e.Event+" "+e.JobID)
		}
		r.position = &a.Position
		if !a.More {
			return
		}
	}
}

func (r *reader) until(t *testing.T, q weirtest.Querier, n int) {
	t.Helper()
	weirtest.Eventually(t, fmt.Sprintf("%d events come", n), func() bool {
		r.read(t, q, 3)
		return len(r.seen) >= n
	})
}

// A reader that polls over SQL gets each event once and in order, whatever the size of its pages.
func TestEventsAfterAPositionComeOnce(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	all, mail := newReader(t, s.DB, "{}"), newReader(t, s.DB, `{"queue": "mail", "events": ["completed", "failed"]}`)
	var want, wantMail []string
	for range 7 {
		s.Enqueue(weirtest.Object{"kind": "k", "queue": "mail"})
		j := s.ClaimOne("mail")
		s.Post("/v1/jobs/"+j.ID+"/complete", weirtest.Object{"token": j.Token})
		want, wantMail = append(want, "enqueued "+j.ID, "completed "+j.ID), append(wantMail, "completed "+j.ID)
	}
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "other", "max_attempts": 1})
	j := s.ClaimOne("other")
	s.Post("/v1/jobs/"+j.ID+"/fail", weirtest.Object{"token": j.Token, "error": weirtest.Object{"message": "no"}})
	want = append(want, "enqueued "+j.ID, "failed "+j.ID, "dead "+j.ID)
	all.until(t, s.DB, len(want))
	mail.until(t, s.DB, len(wantMail))
	if got := strings.Join(all.seen, ", "); got != strings.Join(want, ", ") {
		t.Errorf("the events are %s, want %s", got, strings.Join(want, ", "))
	}
	if !slices.Equal(mail.seen, wantMail) {
		t.Errorf("the events of mail are %q, want %q", mail.seen, wantMail)
	}
}

// What a transaction writes that is open for long is not missed, though others that began later commit before.
func TestEventsAfterAPositionWaitForLateCommits(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	s.Enqueue(weirtest.Object{"kind": "k", "queue": "q"}) // there is the queue
	r := newReader(t, s.DB, `{"events": ["enqueued"]}`)
	tx := s.DB.Tx()
	late := weirtest.Value[string](t, tx, "select weir.enqueue('late', queue => 'q')::text")
	var want []string
	for range 3 {
		want = append(want, "enqueued "+s.Enqueue(weirtest.Object{"kind": "k", "queue": "q"}))
	}
	last := weirtest.Value[string](t, s.DB, "select clock_timestamp()::text")
	weirtest.Eventually(t, "the node has made ticks since", func() bool {
		r.read(t, s.DB, 100)
		return weirtest.Value[bool](t, s.DB, "select clock_timestamp() > $1::timestamptz + interval '1 s'", last)
	})
	if len(r.seen) > 0 {
		t.Errorf("while a transaction is open that wrote before, these came: %q", r.seen)
	}
	weirtest.Commit(t, tx)
	r.until(t, s.DB, 4)
	if want = append([]string{"enqueued " + late}, want...); !slices.Equal(r.seen, want) {
		t.Errorf("the events are %q, want %q", r.seen, want)
	}
}

func TestEventsGoOnAfterTheirPositions(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	first := readAfter(t, s.DB, nil, "{}", 10)
	for range 5 {
		s.Enqueue(weirtest.Object{"kind": "k", "queue": "q"})
	}
	var a after
	weirtest.Eventually(t, "the events come", func() bool {
		a = readAfter(t, s.DB, &first.Position, "{}", 100)
		return len(a.Events) == 5
	})
	for i, e := range a.Events {
		rest := readAfter(t, s.DB, &e.Position, "{}", 100)
		if len(rest.Events) != 4-i || i < 4 && rest.Events[0].JobID != a.Events[i+1].JobID {
			t.Errorf("after event %d of 5 come %+v", i+1, rest.Events)
		}
	}
}

func TestEventsAfterAPositionAreOfTheLogin(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	mail, acme := weirtest.Login(t, s.DB, "mail", "'reader', '{mail}'"), weirtest.Login(t, s.DB, "acme", "'reader', '{*}', 'acme'")
	readers := map[*weirtest.Database]*reader{mail: newReader(t, mail, "{}"), acme: newReader(t, acme, "{}"), s.DB: newReader(t, s.DB, "{}")}
	ofMail, ofAcme := s.Enqueue(weirtest.Object{"kind": "k", "queue": "mail"}), s.Enqueue(weirtest.Object{"kind": "k", "queue": "other", "tenant": "acme"})
	readers[s.DB].until(t, s.DB, 2)
	for login, want := range map[*weirtest.Database]string{mail: "enqueued " + ofMail, acme: "enqueued " + ofAcme} {
		readers[login].until(t, login, 1)
		if got := strings.Join(readers[login].seen, ", "); got != want {
			t.Errorf("a login sees %s, want %s", got, want)
		}
	}
	weirtest.WantSQLState(t, weirtest.TryExec(weirtest.Login(t, s.DB, "producer", "'producer'"), "select weir.events_after()"), "42501")
}

func TestEventsAfterRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	old := weirtest.Value[string](t, d, "select weir.print_position((clock_timestamp() - interval '2 h', 1, clock_timestamp(), 1, null)::weir.event_position)")
	for call, place := range map[string]string{
		"'x'": "after", "'" + old + "'": "after", "null, most => 0": "most", "null, filter => '[]'": "filter", `null, filter => '{"state": "dead"}'`: "filter",
		`null, filter => '{"job_id": "x"}'`: "filter", `null, filter => '{"events": "dead"}'`: "filter", `null, filter => '{"events": ["dead", "worker_lost"]}'`: "filter.events",
	} {
		err := weirtest.TryExec(d, "select weir.events_after("+call+")")
		weirtest.WantSQLState(t, err, "WR010")
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.ColumnName != place {
			t.Errorf("events_after(%s) is refused with %v, want the place %q", call, err, place)
		}
	}
	tx := d.Tx()
	weirtest.Exec(t, tx, "set transaction isolation level repeatable read")
	weirtest.WantSQLState(t, weirtest.TryExec(tx, "select weir.events_after()"), "WR010")
}
