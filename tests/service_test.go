package tests

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirhq/weir/api"
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/tests/pgtest"
)

// servicePatience is how long a test waits for what must come. It is generous: a machine may be busy, and only a failing test waits so long.
const servicePatience = time.Minute

// soon is within what must come that is not waited for. It takes a part of a second, or some seconds where the machine stalls; what must not be is
// that it comes with the end of a wait of a minute, a lease or a lock.
const soon = 20 * time.Second

// service is a node that a test talks to over HTTP. Its methods that take no context fail the test, and so belong on the test's own
// goroutine; send is for the others.
type service struct {
	t      *testing.T
	url    string
	client *http.Client
	pool   *pgxpool.Pool // to the node's database; nil if the test brought its own
	engine *jobs.Engine  // nil if the node is another process
	log    *serviceLog
}

// startService starts a node in this process, on a database of its own.
func startService(t *testing.T) *service {
	t.Helper()
	database := pgtest.New(t)
	config := jobs.Config{DatabaseURL: database.URL}
	if throughPgBouncer(t) {
		config = jobs.Config{DatabaseURL: pgtest.PgBouncer(t, database.URL), ListenURL: database.URL}
	}
	s := startServiceWith(t, config)
	s.pool = database.Pool()
	return s
}

// startServiceOn starts a node in this process.
func startServiceOn(t *testing.T, databaseURL string) *service {
	t.Helper()
	return startServiceWith(t, jobs.Config{DatabaseURL: databaseURL})
}

func startServiceWith(t *testing.T, config jobs.Config) *service {
	t.Helper()
	registry, log := prometheus.NewRegistry(), newServiceLog(t)
	logger := slog.New(slog.NewTextHandler(log, nil))
	config.Logger, config.Metrics = logger, registry
	engine, err := jobs.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	handler, err := api.New(api.Config{Engine: engine, Logger: logger, Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { engine.Run(ctx) })
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		engine.Drain() // or Close would wait for the claims that wait
		server.Close()
		cancel()
		running.Wait()
		engine.Close()
	})
	return &service{t: t, url: server.URL, client: newServiceClient(t), engine: engine, log: log}
}

// newServiceClient has room for hundreds of calls at once without a new connection for each. It asks for nothing compressed: with the race detector, to
// compress /metrics costs more than all else that a test does.
func newServiceClient(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 300, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// serviceLog keeps what a node says, and shows it if the test fails.
type serviceLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func newServiceLog(t *testing.T) *serviceLog {
	l := &serviceLog{}
	t.Cleanup(func() {
		if t.Failed() {
			text := l.String()
			t.Logf("the end of the log of a node:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return l
}

func (l *serviceLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *serviceLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// obj is a JSON object.
type obj = map[string]any

// reply is what a node answered.
type reply struct {
	t      *testing.T
	asked  string
	status int
	header http.Header
	body   []byte
}

// send makes one call. A body is JSON text if it is a string or bytes, is encoded if it is anything else, and may be nil.
func (s *service) send(ctx context.Context, method, path string, body any) (*reply, error) {
	var text []byte
	switch b := body.(type) {
	case nil:
	case string:
		text = []byte(b)
	case []byte:
		text = b
	default:
		var err error
		if text, err = json.Marshal(b); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return s.ask(r)
}

func (s *service) ask(r *http.Request) (*reply, error) {
	asked := r.Method + " " + strings.TrimPrefix(r.URL.String(), s.url)
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: the answer broke off: %w", asked, answer.Status, err)
	}
	return &reply{t: s.t, asked: asked, status: answer.StatusCode, header: answer.Header, body: text}, nil
}

func (s *service) do(method, path string, body any) *reply {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*servicePatience) // a claim may wait for a minute
	defer cancel()
	r, err := s.send(ctx, method, path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *service) get(path string) *reply {
	s.t.Helper()
	return s.do(http.MethodGet, path, nil)
}

func (s *service) post(path string, body any) *reply {
	s.t.Helper()
	return s.do(http.MethodPost, path, body)
}

func (r *reply) String() string {
	return fmt.Sprintf("%s: %d %.2000s", r.asked, r.status, r.body)
}

// want fails the test unless the status is this one.
func (r *reply) want(status int) *reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("%v\nwant %d", r, status)
	}
	return r
}

// readAs decodes a reply. What the type names must be there in the form that it says; there may be more.
func readAs[T any](r *reply) T {
	r.t.Helper()
	var x T
	if err := json.Unmarshal(r.body, &x); err != nil {
		r.t.Fatalf("%v\n%v", r, err)
	}
	return x
}

// servedProblem is an RFC 9457 problem.
type servedProblem struct {
	Type, Title, Detail, Code, Hint string
	Status                          int
	RequestID                       string `json:"request_id"`
	Errors                          []struct{ Location, Message string }
}

// problem fails the test unless the reply is a problem of this status and code.
func (r *reply) problem(status int, code string) servedProblem {
	r.t.Helper()
	if kind := r.header.Get("Content-Type"); r.status != status || kind != "application/problem+json" {
		r.t.Fatalf("%v\nContent-Type %s; want a problem with status %d and code %s", r, kind, status, code)
	}
	p := readAs[servedProblem](r)
	if p.Code != code || p.Status != status || p.Title == "" || p.Detail == "" || p.Type == "" || p.RequestID != r.header.Get("X-Request-Id") {
		r.t.Fatalf("%v\nwant a whole problem with code %s", r, code)
	}
	return p
}

// servedJob is a Job as clients see it.
type servedJob struct {
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
	Errors    []servedError
	Tags      []string
	Metadata  json.RawMessage
	Retry     json.RawMessage
	UniqueKey string `json:"unique_key"`
	Tenant    string
	Duplicate bool
}

type servedError struct {
	Attempt                            int
	At                                 time.Time
	Kind, Worker, Message, Type, Stack string
}

// servedClaim is a claimed job as workers see it.
type servedClaim struct {
	ID             string
	Token          string
	Kind           string
	Queue          string
	Args           json.RawMessage
	Attempt        int
	MaxAttempts    int       `json:"max_attempts"`
	TimeoutSeconds int       `json:"timeout_seconds"`
	LeaseExpiresAt time.Time `json:"lease_expires_at"`
	Metadata       json.RawMessage
	Tags           []string
}

type servedClaims struct{ Jobs []servedClaim }

// servedAck is the answer to an ack.
type servedAck struct {
	ID, Status, State string
	RunAt             *time.Time `json:"run_at"`
}

type servedPage[T any] struct {
	Items      []T
	NextCursor *string `json:"next_cursor"`
}

// enqueue makes a job and returns its id.
func (s *service) enqueue(body any) string {
	s.t.Helper()
	return readAs[servedJob](s.post("/v1/jobs", body).want(http.StatusCreated)).ID
}

// enqueueAll makes jobs in one call and returns their ids.
func (s *service) enqueueAll(jobs []obj) []string {
	s.t.Helper()
	return readAs[struct{ IDs []string }](s.post("/v1/jobs/batch", obj{"jobs": jobs}).want(http.StatusCreated)).IDs
}

func (s *service) job(id string) servedJob {
	s.t.Helper()
	return readAs[servedJob](s.get("/v1/jobs/" + id).want(http.StatusOK))
}

// settle returns when every claim sees what was enqueued before: a job whose transaction was under way at a tick of the watermark is seen
// from the next one on.
func (s *service) settle() {
	s.t.Helper()
	s.eventually("the watermark has seen everything", func() bool {
		return s.count(`select count(*) from weir.watermark w where w.seq = coalesce(pg_sequence_last_value('weir.job_id_seq'), 0) and w.holders = '{}'`) == 1
	})
}

// claim takes up to limit jobs of some queues, without waiting.
func (s *service) claim(limit int, queues ...string) []servedClaim {
	s.t.Helper()
	s.settle()
	return readAs[servedClaims](s.post("/v1/claims", obj{"worker": "worker", "queues": queues, "limit": limit}).want(http.StatusOK)).Jobs
}

// claimAs takes n jobs that there must be, or soon will be, in as many calls as it takes.
func (s *service) claimAs(worker string, n int, queues ...string) []servedClaim {
	s.t.Helper()
	var got []servedClaim
	s.eventually(fmt.Sprintf("%v give %d jobs", queues, n), func() bool {
		body := obj{"worker": worker, "queues": queues, "limit": min(n-len(got), jobs.MaxClaim), "wait_seconds": 1}
		got = append(got, readAs[servedClaims](s.post("/v1/claims", body).want(http.StatusOK)).Jobs...)
		return len(got) == n
	})
	return got
}

func (s *service) claimOne(queue string) servedClaim {
	s.t.Helper()
	return s.claimAs("worker", 1, queue)[0]
}

// parked starts a claim that waits and returns when the node has it waiting, or its wait is over already. The answer comes through the channel.
func (s *service) parked(body obj) <-chan servedAnswer {
	s.t.Helper()
	return s.parkedMany(1, func(int) obj { return body })[0]
}

// servedAnswer is what came of a claim that waited.
type servedAnswer struct {
	jobs []servedClaim
	err  error
}

// parkedMany starts claims and returns when all of them wait.
func (s *service) parkedMany(n int, body func(i int) obj) []<-chan servedAnswer {
	s.t.Helper()
	before := s.metric("weir_claims_waiting")
	answers := make([]<-chan servedAnswer, n)
	for i := range n {
		answer := make(chan servedAnswer, 1)
		answers[i] = answer
		go func() { answer <- s.claimPatiently(body(i)) }()
	}
	s.eventually("the claims wait, or are over", func() bool {
		over := 0
		for _, answer := range answers {
			over += len(answer)
		}
		return s.metric("weir_claims_waiting")+float64(over) >= before+float64(n)
	})
	return answers
}

// claimPatiently claims as workers do: whoever got nothing because a claim's longest wait is over claims again, which a slow machine makes happen.
func (s *service) claimPatiently(body obj) servedAnswer {
	for {
		began := time.Now()
		r, err := s.send(s.t.Context(), http.MethodPost, "/v1/claims", body)
		if err != nil {
			return servedAnswer{err: err}
		}
		if r.status != http.StatusOK {
			return servedAnswer{err: fmt.Errorf("%v", r)}
		}
		var got servedClaims
		err = json.Unmarshal(r.body, &got)
		if err != nil || len(got.Jobs) > 0 || time.Since(began) < jobs.MaxWait {
			return servedAnswer{got.Jobs, err}
		}
	}
}

// answerOf waits for the answer to a claim that waited.
func (s *service) answerOf(answer <-chan servedAnswer) []servedClaim {
	s.t.Helper()
	select {
	case a := <-answer:
		if a.err != nil {
			s.t.Fatal(a.err)
		}
		return a.jobs
	case <-time.After(2 * servicePatience):
		s.t.Fatal("a claim that waited was never answered")
	}
	return nil
}

// metric adds up the samples of this name in /metrics; labels, as they are written there, choose among them.
func (s *service) metric(name string, labels ...string) float64 {
	s.t.Helper()
	return s.metricIn(s.get("/metrics").want(http.StatusOK), name, labels...)
}

// metricIn does so in what /metrics has answered.
func (s *service) metricIn(scraped *reply, name string, labels ...string) float64 {
	s.t.Helper()
	sum, found := 0.0, false
	lines := bufio.NewScanner(bytes.NewReader(scraped.body))
lines:
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		base, given, _ := strings.Cut(series, "{")
		if base != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(given, l) {
				continue lines
			}
		}
		var x float64
		if _, err := fmt.Sscan(value, &x); err != nil {
			s.t.Fatalf("%s: %v", lines.Text(), err)
		}
		sum, found = sum+x, true
	}
	if !found && len(labels) == 0 {
		s.t.Fatalf("there is no metric %s", name)
	}
	return sum
}

// eventually polls until ok, and fails the test if that does not come.
func (s *service) eventually(what string, ok func() bool) {
	s.t.Helper()
	serviceEventually(s.t, what, ok)
}

func serviceEventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	wait := 2 * time.Millisecond // and then longer, because looking takes of the time that what is waited for needs
	for deadline := time.Now().Add(servicePatience); !ok(); time.Sleep(wait) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came about that %s", what)
		}
		wait = min(wait*3/2, 50*time.Millisecond)
	}
}

// count asks the node's database for a number.
func (s *service) count(sql string, args ...any) int {
	s.t.Helper()
	var n int
	if err := s.pool.QueryRow(s.t.Context(), sql, args...).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

func (s *service) sql(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.pool.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// servicePrograms are built once a test process. Their folder goes, and the children that still run are killed, when this process ends, however it
// ends: by a shell that waits for the end of its input.
var servicePrograms struct {
	sync.Mutex
	folder  string
	warden  io.WriteCloser
	outcome map[string]error
}

const serviceWarden = `
pids=
while read -r what pid; do
  case $what in
    +) pids="$pids $pid" ;;
    -) pids=$(for p in $pids; do [ "$p" = "$pid" ] || echo "$p"; done) ;;
  esac
done
[ -z "$pids" ] || kill -9 $pids
rm -rf -- "$1"`

// serviceProgram returns the path of a program of this module, such as ./cmd/weir.
func serviceProgram(t *testing.T, pkg string) string {
	t.Helper()
	p := &servicePrograms
	p.Lock()
	defer p.Unlock()
	if p.warden == nil {
		var err error
		if p.folder, err = os.MkdirTemp("", "weir-programs-"); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p.folder, 0o755); err != nil {
			t.Fatal(err)
		}
		warden := exec.Command("sh", "-c", serviceWarden, "weir-test-warden", p.folder)
		warden.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C at the terminal is not for it
		if p.warden, err = warden.StdinPipe(); err == nil {
			err = warden.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		p.outcome = map[string]error{}
	}
	path := filepath.Join(p.folder, filepath.Base(pkg))
	if _, built := p.outcome[pkg]; !built {
		build := exec.Command("go", "build", "-o", path, pkg)
		build.Dir = ".." // the module's root
		output, err := build.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("building %s: %w\n%s", pkg, err, output)
		}
		p.outcome[pkg] = err
	}
	if err := p.outcome[pkg]; err != nil {
		t.Fatal(err)
	}
	return path
}

func tellWarden(what string, pid int) {
	servicePrograms.Lock()
	defer servicePrograms.Unlock()
	fmt.Fprintln(servicePrograms.warden, what, pid)
}

// serviceChild is a program that a test started. It is killed when the test ends.
type serviceChild struct {
	t      *testing.T
	cmd    *exec.Cmd
	output *serviceLog
	ended  chan struct{} // closed when it has ended
}

// startServiceChild starts a program that serviceProgram built, with settings added to its environment.
func startServiceChild(t *testing.T, settings []string, path string, args ...string) *serviceChild {
	t.Helper()
	c := &serviceChild{t: t, cmd: exec.Command(path, args...), output: newServiceLog(t), ended: make(chan struct{})}
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "WEIR_") {
			c.cmd.Env = append(c.cmd.Env, e)
		}
	}
	c.cmd.Env = append(c.cmd.Env, settings...)
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := c.cmd.Process.Pid
	tellWarden("+", pid)
	go func() {
		_ = c.cmd.Wait()
		tellWarden("-", pid)
		close(c.ended)
	}()
	t.Cleanup(c.kill)
	return c
}

func (c *serviceChild) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// kill ends it with SIGKILL, if it still runs.
func (c *serviceChild) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// wait returns the status that it ends with.
func (c *serviceChild) wait() int {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(5 * servicePatience):
		c.t.Fatalf("%s does not end:\n%s", c.cmd, c.output)
	}
	return c.cmd.ProcessState.ExitCode()
}

// startNode starts `weir serve` as a process of its own, with settings added to its environment, and returns when it is ready.
func startNode(t *testing.T, databaseURL string, settings ...string) (*service, *serviceChild) {
	t.Helper()
	settings = append([]string{"WEIR_DATABASE_URL=" + databaseURL, "WEIR_ADDR=127.0.0.1:0", "WEIR_LOG_FORMAT=json"}, settings...)
	c := startServiceChild(t, settings, serviceProgram(t, "./cmd/weir"), "serve")
	s := &service{t: t, client: newServiceClient(t), log: c.output}
	serviceEventually(t, "weir serve says where it listens", func() bool {
		select {
		case <-c.ended:
			t.Fatalf("weir serve has ended:\n%s", c.output)
		default:
		}
		for line := range strings.SplitSeq(c.output.String(), "\n") {
			var entry struct{ Msg, URL string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
				s.url = entry.URL
			}
		}
		return s.url != ""
	})
	s.eventually("the node is ready", func() bool {
		r, err := s.send(t.Context(), http.MethodGet, "/readyz", nil)
		return err == nil && r.status == http.StatusOK
	})
	return s, c
}
