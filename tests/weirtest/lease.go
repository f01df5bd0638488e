//go:build unix

package weirtest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Lease is a job that a worker holds.
type Lease struct {
	ID       int64
	Token    int64
	Kind     string
	Queue    string
	Attempt  int
	Priority int
	Expires  time.Time
}

// Claim takes up to n jobs of some queues, given with commas between.
func Claim(t testing.TB, q Querier, queues string, n int) []Lease {
	t.Helper()
	jobs, err := TryClaim(q, queues, n)
	if err != nil {
		t.Fatalf("claiming from %s: %v", queues, err)
	}
	return jobs
}

// TryClaim is Claim, and returns the error.
func TryClaim(q Querier, queues string, n int) ([]Lease, error) {
	rows, err := q.Query(context.Background(), `select job_id, token, kind, queue, attempt, priority, lease_expires_at
		from weir.claim(string_to_array($1, ','), 'worker', $2)`, queues, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Lease])
}

// ClaimOne claims exactly one job.
func ClaimOne(t testing.TB, q Querier, queue string) Lease {
	t.Helper()
	jobs := Claim(t, q, queue, 1)
	if len(jobs) != 1 {
		t.Fatalf("claimed %d jobs from %s, want one", len(jobs), queue)
	}
	return jobs[0]
}

// IDs returns the ids of claimed jobs.
func IDs(jobs []Lease) []int64 {
	ids := make([]int64, len(jobs))
	for i, j := range jobs {
		ids[i] = j.ID
	}
	return ids
}

// Tokens returns the tokens of claimed jobs.
func Tokens(jobs []Lease) []int64 {
	tokens := make([]int64, len(jobs))
	for i, j := range jobs {
		tokens[i] = j.Token
	}
	return tokens
}

// Complete completes claimed jobs.
func Complete(t testing.TB, q Querier, jobs ...Lease) {
	t.Helper()
	if n := len(Values[int64](t, q, "select weir.complete_many($1, $2)", IDs(jobs), Tokens(jobs))); n != len(jobs) {
		t.Fatalf("%d of %d completions were accepted", n, len(jobs))
	}
}

// Expirer takes expired leases back as each node does, starting each time where it stopped.
type Expirer struct{ After time.Time }

// Look expires leases and returns their number.
func (e *Expirer) Look(t testing.TB, q Querier) int {
	t.Helper()
	rows, err := q.Query(context.Background(), "select expired, looked_until from weir.expire_leases(7, $1)", e.After)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var n int
	for rows.Next() {
		if err := rows.Scan(&n, &e.After); err != nil {
			t.Fatal(err)
		}
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return n
}

// Call calls a function of the schema weir. $1 is the job's id and $2 its token, as in "snooze($1, $2, '1 hour')".
func (j Lease) Call(t testing.TB, q Querier, function string) {
	t.Helper()
	args := []any{j.ID, j.Token}
	Exec(t, q, "select weir."+function, args[:strings.Count(function, "$")]...)
}
