package tests

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/weirhq/weir/tests/pgtest"
)

// database is a test's own database, used as any program would use it: by the functions and views of the schema weir. When
// the test ends, every job in it must be in exactly one place.
type database struct {
	*pgxpool.Pool
	t      *testing.T
	url    string
	direct string // past PgBouncer, if there is one
}

func newDatabase(t *testing.T) *database {
	t.Helper()
	made := pgtest.New(t)
	d := &database{Pool: made.Pool(), t: t, url: made.URL, direct: made.URL}
	if throughPgBouncer(t) {
		d.url = pgtest.PgBouncer(t, made.URL)
		d.Pool = openPool(t, d.url)
	}
	t.Cleanup(d.checkPlaces)
	return d
}

// asker is what a statement can be sent to: a pool, a connection, a transaction.
type asker interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// try runs a statement to its end.
func try(q asker, sql string, args ...any) error {
	rows, err := q.Query(context.Background(), sql, args...)
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

func do(t testing.TB, q asker, sql string, args ...any) {
	t.Helper()
	if err := try(q, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// askAll returns the one column that a statement gives.
func askAll[T any](t testing.TB, q asker, sql string, args ...any) []T {
	t.Helper()
	rows, err := q.Query(context.Background(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	values, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return values
}

// ask returns the one value that a statement gives.
func ask[T any](t testing.TB, q asker, sql string, args ...any) T {
	t.Helper()
	values := askAll[T](t, q, sql, args...)
	if len(values) != 1 {
		t.Fatalf("%s: %d rows, want one", sql, len(values))
	}
	return values[0]
}

// begin starts a transaction on a connection of its own. It is rolled back at the test's end if it is still open.
func (d *database) begin() pgx.Tx {
	d.t.Helper()
	tx, err := d.Begin(context.Background())
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { tx.Rollback(context.Background()) })
	return tx
}

// connect opens a connection of its own, outside of the pool.
func (d *database) connect() *pgx.Conn {
	d.t.Helper()
	conn, err := pgx.Connect(context.Background(), d.url)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// impatient opens a connection whose statements fail where they would have to wait for somebody's lock.
func (d *database) impatient() *pgx.Conn {
	d.t.Helper()
	conn := d.connect()
	do(d.t, conn, "set lock_timeout = '3s'") // longer than an autovacuum that is in the way takes to give way
	return conn
}

func commit(t testing.TB, tx pgx.Tx) {
	t.Helper()
	if err := tx.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func rollback(t testing.TB, tx pgx.Tx) {
	t.Helper()
	if err := tx.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// held is a job that a worker has.
type held struct {
	ID       int64
	Token    int64
	Kind     string
	Queue    string
	Attempt  int
	Priority int
	Expires  time.Time
}

// claim takes up to n jobs of some queues, whose names have commas between.
func claim(t testing.TB, q asker, queues string, n int) []held {
	t.Helper()
	jobs, err := tryClaim(q, queues, n)
	if err != nil {
		t.Fatalf("claiming from %s: %v", queues, err)
	}
	return jobs
}

func tryClaim(q asker, queues string, n int) ([]held, error) {
	rows, err := q.Query(context.Background(), `select job_id, token, kind, queue, attempt, priority, lease_expires_at
		from weir.claim(string_to_array($1, ','), 'worker', $2)`, queues, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[held])
}

// claimOne takes exactly one job.
func claimOne(t testing.TB, q asker, queue string) held {
	t.Helper()
	jobs := claim(t, q, queue, 1)
	if len(jobs) != 1 {
		t.Fatalf("claimed %d jobs from %s, want one", len(jobs), queue)
	}
	return jobs[0]
}

// call runs a function of the contract for a job, whose id and token are $1 and $2.
func (j held) call(t testing.TB, q asker, function string) {
	t.Helper()
	args := []any{j.ID, j.Token}
	do(t, q, "select weir."+function, args[:strings.Count(function, "$")]...)
}

func idsOf(jobs []held) []int64 {
	ids := make([]int64, len(jobs))
	for i, j := range jobs {
		ids[i] = j.ID
	}
	return ids
}

func tokensOf(jobs []held) []int64 {
	tokens := make([]int64, len(jobs))
	for i, j := range jobs {
		tokens[i] = j.Token
	}
	return tokens
}

// enqueue makes jobs, given as JSON texts, in one call.
func enqueue(t testing.TB, q asker, jobs ...string) []int64 {
	t.Helper()
	return askAll[int64](t, q, "select weir.enqueue_many($1)", "["+strings.Join(jobs, ",")+"]")
}

func enqueueOne(t testing.TB, q asker, queue string) int64 {
	t.Helper()
	return ask[int64](t, q, "select weir.enqueue('work', queue => $1)", queue)
}

func stateOf(t testing.TB, q asker, id int64) string {
	t.Helper()
	return ask[string](t, q, "select coalesce(state::text, 'none') from weir.jobs where id = $1", id)
}

func wantState(t testing.TB, q asker, id int64, want string) {
	t.Helper()
	if got := stateOf(t, q, id); got != want {
		t.Errorf("job %d is %s, want %s", id, got, want)
	}
}

// tick is a tick of the watermark that does not wait for its time.
func tick(t testing.TB, q asker) int64 {
	t.Helper()
	return ask[int64](t, q, "select tick from weir.advance_frontier('0 s')")
}

// complete ends jobs well.
func complete(t testing.TB, q asker, jobs ...held) {
	t.Helper()
	if n := len(askAll[int64](t, q, "select weir.complete_many($1, $2)", idsOf(jobs), tokensOf(jobs))); n != len(jobs) {
		t.Fatalf("%d of %d completions were accepted", n, len(jobs))
	}
}

// eventually waits until something has happened.
func eventually(t testing.TB, what string, happened func() bool) {
	t.Helper()
	serviceEventually(t, what, happened)
}

// refused checks that an error is one of the contract's and says what to do about it.
func refused(t testing.TB, err error, code string) *pgconn.PgError {
	t.Helper()
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		t.Errorf("the error is %v, want %s", err, code)
		return &pgconn.PgError{}
	}
	if refusal.Code != code {
		t.Errorf("the error is %s %q, want %s", refusal.Code, refusal.Message, code)
	}
	if strings.HasPrefix(code, "WR") && refusal.Hint == "" {
		t.Errorf("%s %q comes without a hint", refusal.Code, refusal.Message)
	}
	return refusal
}

func hasCode(err error, code string) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == code
}

// rows returns all that the tables hold but for the claimers' bookkeeping. A row that was only written anew differs too.
func (d *database) rows() string {
	d.t.Helper()
	tables := askAll[string](d.t, d, `select c.relname from pg_class c where c.relnamespace = 'weir'::regnamespace
		and c.relkind in ('r', 'p') and not c.relispartition and c.relname not in ('watermark', 'frontier', 'worker_sign') order by 1`)
	var parts []string
	for _, name := range tables {
		parts = append(parts, fmt.Sprintf("select '%[1]s ' || x.xmin || ' ' || to_jsonb(x) as line from weir.%[1]s x", name))
	}
	return ask[string](d.t, d, "select coalesce(string_agg(line, e'\n' order by line), '') from ("+strings.Join(parts, " union all ")+") s")
}

// unchanged checks that something leaves every row as it was.
func (d *database) unchanged(what string, f func()) {
	d.t.Helper()
	before := d.rows()
	f()
	if after := d.rows(); after != before {
		d.t.Errorf("%s changed something:\n%s", what, difference(before, after))
	}
}

func difference(before, after string) string {
	had, has := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(before) {
		had[strings.TrimSpace(line)] = true
	}
	for line := range strings.Lines(after) {
		has[strings.TrimSpace(line)] = true
	}
	var text strings.Builder
	for line := range had {
		if !has[line] {
			fmt.Fprintln(&text, "-", line)
		}
	}
	for line := range has {
		if !had[line] {
			fmt.Fprintln(&text, "+", line)
		}
	}
	return text.String()
}

// checkPlaces checks what must hold in every database at any time.
func (d *database) checkPlaces() {
	d.t.Helper()
	if there := ask[bool](d.t, d, "select to_regclass('weir.job') is not null"); !there {
		return
	}
	for _, line := range askAll[string](d.t, d, placesThatAreWrong) {
		d.t.Error(line)
	}
	soundWorkflows(d.t, d)
}

const placesThatAreWrong = `
with places as (
	select 'scheduled' as place, job_id, queue_id, priority from weir.job_scheduled
	union all select 'held', job_id, queue_id, priority from weir.job_held
	union all select 'ready', coalesce(r.job_id, r.seq), coalesce((select q.id from weir.queue q where q.admitted_id = r.queue_id), r.queue_id), r.priority from weir.job_ready r
	union all select 'lease', job_id, queue_id, priority from weir.job_lease
	union all select 'outcome', job_id, queue_id, null from weir.job_outcome
), numbers as (
	select seq as number from weir.job_ready union all select token from weir.job_lease
)
select format('job %s is in %s places: %s', j.id, count(p.place), string_agg(p.place, ', '))
from weir.job j left join places p on p.job_id = j.id group by j.id having count(p.place) <> 1
union all select format('%s holds job %s, which does not exist', p.place, p.job_id) from places p where not exists (select from weir.job j where j.id = p.job_id)
union all select format('%s holds job %s with another queue or priority', p.place, p.job_id)
	from places p join weir.job j on j.id = p.job_id where p.queue_id <> j.queue_id or p.priority <> j.priority
union all select format('number %s orders or fences %s jobs', number, count(*)) from numbers group by number having count(*) > 1
union all select format('job %s has come back and kept its first place', seq) from weir.job_ready r where job_id = seq or job_id is null and (attempt > 0 or exists (select from weir.queue q where q.admitted_id = r.queue_id))
union all select format('dead letter %s is not dead', d.job_id) from weir.job_dead d left join weir.job_outcome o on o.job_id = d.job_id where o.state is distinct from 'dead'
union all select format('job %s is dead and no dead letter', o.job_id) from weir.job_outcome o where o.state = 'dead' and not exists (select from weir.job_dead d where d.job_id = o.job_id)
	and not exists (select from weir.job_event e where e.job_id = o.job_id and e.kind in ('purged', 'routed') and e.at >= o.finished_at)
union all select format('weir.jobs shows no state for job %s', id) from weir.jobs where state is null
union all select format('weir.jobs shows %s jobs, weir.job holds %s', v.n, j.n) from (select count(*) as n from weir.jobs) v, (select count(*) as n from weir.job) j where v.n <> j.n
limit 20`

// TestTheCheckOfPlacesCanFail makes each mistake that the check is there to find.
func TestTheCheckOfPlacesCanFail(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	for _, mistake := range []string{
		"delete from weir.job_ready",
		"insert into weir.job_outcome (job_id, queue_id, state, attempt) select seq, queue_id, 'completed', 1 from weir.job_ready",
		"insert into weir.job_ready (queue_id, priority, seq, job_id) select 1, 5, 1000, 999",
		"insert into weir.job_ready (queue_id, priority, seq, job_id) select queue_id, priority, seq + 1000, seq from weir.job_ready",
		"update weir.job_ready set priority = 6",
		"update weir.job set queue_id = queue_id + 1",
		"update weir.job_ready set attempt = 1",
		"update weir.job_ready set job_id = seq",
		"insert into weir.job_dead (job_id, queue_id) select seq, queue_id from weir.job_ready",
	} {
		tx := d.begin()
		enqueueOne(t, tx, "q")
		if wrong := askAll[string](t, tx, placesThatAreWrong); len(wrong) > 0 {
			t.Fatalf("before the mistake: %q", wrong)
		}
		do(t, tx, mistake)
		if wrong := askAll[string](t, tx, placesThatAreWrong); len(wrong) == 0 {
			t.Errorf("not found: %s", mistake)
		}
		rollback(t, tx)
	}
}
