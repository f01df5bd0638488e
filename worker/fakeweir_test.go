package worker

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/rest"
)

// fakeWeir is a service that fails on demand, in ways that a real one cannot be made to.
type fakeWeir struct {
	*httptest.Server

	mu        sync.Mutex
	ready     []*claimedJob
	given     map[string]*claimedJob // by token
	claims    []int                  // the limit of each
	acks      map[string]ack         // by token, the accepted ones
	requests  int                    // of acks
	cancelled map[string]bool
	lost      map[string]bool
	refuse    func(ack) bool
	down      int // this many calls are answered with 503
	acksDown  int // of them, the acks
	forget    int // this many requests of acks are accepted, and their answer is lost
}

func newFakeWeir(t *testing.T, jobs int) *fakeWeir {
	f := &fakeWeir{
		given: map[string]*claimedJob{}, acks: map[string]ack{}, cancelled: map[string]bool{}, lost: map[string]bool{},
	}
	for i := range jobs {
		f.ready = append(f.ready, &claimedJob{
			ID: fmt.Sprint(i + 1), Token: fmt.Sprint(i + 1), Kind: "k", Queue: "q",
			Args: json.RawMessage(fmt.Sprint(i + 1)), Attempt: 1, MaxAttempts: 5, TimeoutSeconds: 60,
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/claims", f.claim)
	mux.HandleFunc("POST /v1/acks", f.ack)
	mux.HandleFunc("POST /v1/jobs/{id}/heartbeat", f.heartbeat)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.unavailable(r) {
			refuseWith(w, http.StatusServiceUnavailable, "not now")
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeWeir) client(t *testing.T) *rest.Client {
	c, err := rest.New(rest.Config{Address: f.URL})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (f *fakeWeir) unavailable(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down--
	if f.down >= 0 && r.URL.Path == "/v1/acks" {
		f.acksDown++
	}
	return f.down >= 0
}

func (f *fakeWeir) claim(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Limit       int     `json:"limit"`
		WaitSeconds float64 `json:"wait_seconds"`
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	f.mu.Lock()
	f.claims = append(f.claims, body.Limit)
	n := min(body.Limit, len(f.ready))
	given := append([]*claimedJob{}, f.ready[:n]...)
	f.ready = f.ready[n:]
	for _, job := range given {
		f.given[job.Token] = job
	}
	f.mu.Unlock()
	if n == 0 && body.WaitSeconds > 0 {
		select {
		case <-r.Context().Done():
		case <-time.After(time.Duration(body.WaitSeconds * float64(time.Second))):
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"jobs": given})
}

func (f *fakeWeir) ack(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Acks []ack `json:"acks"`
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	for _, a := range body.Acks {
		if f.refuse != nil && f.refuse(a) {
			refuseWith(w, http.StatusUnprocessableEntity, "a value is malformed")
			return
		}
	}
	results := []map[string]string{}
	for _, a := range body.Acks {
		status := ackOK
		if _, twice := f.acks[a.Token]; twice {
			status = ackStale
		} else {
			f.acks[a.Token] = a
			// A job that waited too long for a slot, as on a machine that stalls, is given out again.
			if job := f.given[a.Token]; a.Outcome == release && job != nil && !f.cancelled[a.ID] {
				again := *job
				again.Token += "+"
				f.ready = append(f.ready, &again)
			}
		}
		results = append(results, map[string]string{"id": a.ID, "status": status})
	}
	if f.forget > 0 {
		f.forget--
		panic(http.ErrAbortHandler)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
}

func (f *fakeWeir) heartbeat(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost[r.PathValue("id")] {
		refuseWith(w, http.StatusConflict, "the lease is not held with this token")
		return
	}
	cancelled := f.cancelled[r.PathValue("id")]
	_ = json.NewEncoder(w).Encode(map[string]any{"lease_expires_at": time.Now(), "cancel_requested": cancelled})
}

func refuseWith(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": status, "title": http.StatusText(status), "detail": detail})
}

// outcomes is how many acks of each outcome were accepted.
func (f *fakeWeir) outcomes() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := map[string]int{}
	for _, a := range f.acks {
		counts[a.Outcome]++
	}
	return fmt.Sprintf("complete %d, fail %d, release %d", counts[complete], counts[fail], counts[release])
}

// ended is how many jobs completed and failed.
func (f *fakeWeir) ended() string {
	ended, _, _ := strings.Cut(f.outcomes(), ", release")
	return ended
}

// worker makes a worker of this service that runs a shell script for each job.
func (f *fakeWeir) worker(t *testing.T, slots int, script string) *Worker {
	return New(Config{
		Client: f.client(t), Logger: slog.New(slog.DiscardHandler), Name: "w", Queues: []string{"q"}, Slots: slots,
		LeaseSeconds: 1, Grace: time.Second, Program: *shell(script),
	})
}
