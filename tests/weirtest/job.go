//go:build unix

package weirtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Enqueue enqueues jobs, given as JSON texts, in one call, and returns their ids.
func Enqueue(t testing.TB, q Querier, jobs ...string) []int64 {
	t.Helper()
	return Values[int64](t, q, "select weir.enqueue_many($1)", "["+strings.Join(jobs, ",")+"]")
}

// EnqueueOne enqueues one job into a queue and returns its id.
func EnqueueOne(t testing.TB, q Querier, queue string) int64 {
	t.Helper()
	return Value[int64](t, q, "select weir.enqueue('work', queue => $1)", queue)
}

// State returns a job's state.
func State(t testing.TB, q Querier, id int64) string {
	t.Helper()
	return Value[string](t, q, "select coalesce(state::text, 'none') from weir.jobs where id = $1", id)
}

// WantState checks a job's state.
func WantState(t testing.TB, q Querier, id int64, want string) {
	t.Helper()
	if got := State(t, q, id); got != want {
		t.Errorf("job %d is %s, want %s", id, got, want)
	}
}

// EnqueueWithKey enqueues a job with an Idempotency-Key.
func (s *Node) EnqueueWithKey(key, body string) (*Response, error) {
	return s.PostWithKey("/v1/jobs", key, body)
}

// PostWithKey makes a call with an Idempotency-Key.
func (s *Node) PostWithKey(path, key, body string) (*Response, error) {
	r, err := http.NewRequestWithContext(s.T.Context(), http.MethodPost, s.URL+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", key)
	return s.SendRequest(r)
}

// EndedJob enqueues a job, claims it and ends it by a call such as "fail". It returns the job's id.
func (s *Node) EndedJob(queue, how string, more Object) string {
	s.T.Helper()
	s.Enqueue(Object{"kind": "k", "queue": queue})
	got := s.ClaimOne(queue)
	more["token"] = got.Token
	s.Post("/v1/jobs/"+got.ID+"/"+how, more).Want(http.StatusOK)
	return got.ID
}

// CompareIDs orders ids as numbers.
func CompareIDs(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// Job is a job as clients see it.
type Job struct {
	ID             string
	Kind           string
	Queue          string
	Args           json.RawMessage
	Priority       int
	State          string
	Attempt        int
	MaxAttempts    int        `json:"max_attempts"`
	TimeoutSeconds int        `json:"timeout_seconds"`
	CreatedAt      time.Time  `json:"created_at"`
	RunAt          *time.Time `json:"run_at"`
	StartedAt      *time.Time `json:"started_at"`
	FinishedAt     *time.Time `json:"finished_at"`
	LeaseExpiresAt *time.Time `json:"lease_expires_at"`
	Worker         string
	CancelAsked    bool `json:"cancel_requested"`
	Progress       *struct {
		Percent float64
		Message string
	}
	Result    json.RawMessage
	Error     json.RawMessage
	Errors    []JobError
	Tags      []string
	Metadata  json.RawMessage
	Retry     json.RawMessage
	UniqueKey string `json:"unique_key"`
	Tenant    string
	Duplicate bool
}

// JobError is a failed attempt of a job as clients see it.
type JobError struct {
	Attempt                            int
	At                                 time.Time
	Kind, Worker, Message, Type, Stack string
}

// Enqueue enqueues a job and returns its id.
func (s *Node) Enqueue(body any) string {
	s.T.Helper()
	return Decode[Job](s.Post("/v1/jobs", body).Want(http.StatusCreated)).ID
}

// EnqueueAll enqueues jobs in one call and returns their ids.
func (s *Node) EnqueueAll(jobs []Object) []string {
	s.T.Helper()
	return Decode[struct{ IDs []string }](s.Post("/v1/jobs/batch", Object{"jobs": jobs}).Want(http.StatusCreated)).IDs
}

// Job returns a job.
func (s *Node) Job(id string) Job {
	s.T.Helper()
	return Decode[Job](s.Get("/v1/jobs/" + id).Want(http.StatusOK))
}

// AwaitJob starts a call that waits for the end of a job, and returns once the node has it waiting.
func (s *Node) AwaitJob(id string, seconds float64) <-chan *Response {
	s.T.Helper()
	before := s.Metric("weir_job_waits")
	answer := make(chan *Response, 1)
	go func() {
		r, err := s.Send(s.T.Context(), http.MethodGet, fmt.Sprintf("/v1/jobs/%s?wait_seconds=%g", id, seconds), nil)
		if err != nil {
			s.T.Error(err)
		}
		answer <- r
	}()
	s.Eventually("the call waits", func() bool { return s.Metric("weir_job_waits") == before+1 })
	return answer
}

// Awaited returns the job that a waiting call was answered with.
func (s *Node) Awaited(answer <-chan *Response) Job {
	s.T.Helper()
	select {
	case r := <-answer:
		if r == nil {
			s.T.FailNow()
		}
		return Decode[Job](r.Want(http.StatusOK))
	case <-time.After(Patience / 2): // sooner than the waits in these tests
		s.T.Fatal("a call that waits for the end of a job is not answered")
	}
	return Job{}
}
