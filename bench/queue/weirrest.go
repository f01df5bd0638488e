package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"
)

// weirREST is the whole service: `weir serve` in a process of its own, spoken with over HTTP. Batches of one are single calls.
type weirREST struct {
	program func() (string, error)
	withKey bool
	key     string
	limits
	process *exec.Cmd
	log     bytes.Buffer
	url     string
	http    *fasthttp.Client // it shares the machine with what is measured, so it had better cost little
}

func (q *weirREST) Open(ctx context.Context, url string) (err error) {
	program, err := q.program()
	if err != nil {
		return absent("weir cannot be built: %w", err)
	}
	if q.pool, err = openPool(ctx, url, 1); err != nil {
		return err
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	q.url = "http://" + address
	q.http = &fasthttp.Client{MaxConnsPerHost: 512}
	q.process = exec.CommandContext(ctx, program, "serve", "--migrate")
	q.process.Env = append(os.Environ(), "WEIR_DATABASE_URL="+url, "WEIR_ADDR="+address, "WEIR_LOG_LEVEL=error", "WEIR_DRAIN_SECONDS=0")
	if q.withKey {
		q.process.Env = append(q.process.Env, "WEIR_AUTH=true")
	}
	q.process.Stdout, q.process.Stderr = &q.log, &q.log
	if err := q.process.Start(); err != nil {
		return err
	}
	if err := q.awaitReady(ctx); err != nil || !q.withKey {
		return err
	}
	return q.pool.QueryRow(ctx, "select 'Bearer ' || key from weir.create_key('bench', '{producer,worker}')").Scan(&q.key)
}

// buildWeir builds the program of the module that this one names.
func buildWeir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/weirhq/weir").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	program := filepath.Join(cache, "weir-bench", "weir")
	build := exec.Command("go", "build", "-o", program, "./cmd/weir")
	build.Dir = strings.TrimSpace(string(folder))
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %.500s", err, out)
	}
	return program, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (q *weirREST) awaitReady(ctx context.Context) error {
	for range 500 {
		if status, _, err := q.http.Get(nil, q.url+"/readyz"); err == nil && status == http.StatusOK {
			return nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return errors.Join(errors.New("weir serve was never ready"), q.stop())
}

func (q *weirREST) stop() error {
	_ = q.process.Process.Signal(syscall.SIGTERM)
	if err := q.process.Wait(); err != nil {
		return fmt.Errorf("weir serve: %w: %.1000s", err, q.log.Bytes())
	}
	return nil
}

func (q *weirREST) Close(context.Context) error {
	q.http.CloseIdleConnections()
	err := q.stop()
	q.pool.Close()
	return err
}

// callTimeout is longer than any claim waits. A call under way is not cut off when a run ends: the jobs of its claim would be lost until their leases end.
const callTimeout = time.Minute

// call posts a body and reads the answer into `answer`, which is nil where its status says everything.
func (q *weirREST) call(ctx context.Context, path string, body []byte, answer any) error {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.SetRequestURI(q.url + path)
	request.Header.SetMethod(http.MethodPost)
	request.Header.SetContentType("application/json")
	if q.key != "" {
		request.Header.Set("Authorization", q.key)
	}
	request.SetBodyRaw(body)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := q.http.DoTimeout(request, response, callTimeout); err != nil {
		return err
	}
	if status := response.StatusCode(); status >= 300 {
		return fmt.Errorf("%s answers %d: %.300s", path, status, response.Body())
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(response.Body(), answer)
}

func (q *weirREST) Enqueue(ctx context.Context, all []Job) error {
	if len(all) == 1 {
		return q.call(ctx, "/v1/jobs", fmt.Appendf(nil, `{"kind":"bench","args":%s}`, all[0].Args), nil)
	}
	var answer struct {
		IDs []string `json:"ids"`
	}
	body := append([]byte(`{"jobs":`), weirArray(q.texts(all))...)
	if err := q.call(ctx, "/v1/jobs/batch", append(body, '}'), &answer); err != nil {
		return err
	}
	if len(answer.IDs) != len(all) {
		return fmt.Errorf("%d jobs were enqueued and %d ids came back", len(all), len(answer.IDs))
	}
	return nil
}

func (q *weirREST) Left(ctx context.Context) (int64, error) { return weirLeft(ctx, q.pool) }

func (q *weirREST) Work(ctx context.Context, crew Crew, ledger *Ledger) (func() error, error) {
	return workLoops(ctx, patientREST{q}, crew, ledger)
}

func (q *weirREST) Claimer(_ context.Context, worker int) (Claimer, error) {
	return &restClaimer{service: q, name: workerName(worker)}, nil
}

// patientREST hands out claimers that wait where there is nothing to claim.
type patientREST struct{ *weirREST }

func (q patientREST) Claimer(_ context.Context, worker int) (Claimer, error) {
	return &restClaimer{service: q.weirREST, name: workerName(worker), wait: claimPatience}, nil
}

type restClaimer struct {
	service *weirREST
	name    string
	wait    time.Duration
}

func (c *restClaimer) Claim(ctx context.Context, limit int) ([]Taken, error) {
	var answer struct {
		Jobs []struct {
			ID    int64          `json:"id,string"`
			Token string         `json:"token"`
			Args  jsontext.Value `json:"args"`
		} `json:"jobs"`
	}
	body := fmt.Appendf(nil, `{"worker":%q,"queues":["default"],"limit":%d,"wait_seconds":%g}`, c.name, limit, c.wait.Seconds())
	if err := c.service.call(ctx, "/v1/claims", body, &answer); err != nil {
		return nil, err
	}
	taken := make([]Taken, len(answer.Jobs))
	for i, job := range answer.Jobs {
		taken[i] = Taken{ID: job.ID, Sealed: job.Token}
		var err error
		if taken[i].Number, err = numberOf(job.Args); err != nil {
			return nil, err
		}
	}
	return taken, nil
}

func (c *restClaimer) Complete(ctx context.Context, taken []Taken) (numbers []int64, err error) {
	if len(taken) == 1 {
		err := c.service.call(ctx, "/v1/jobs/"+strconv.FormatInt(taken[0].ID, 10)+"/complete", fmt.Appendf(nil, `{"token":"%s"}`, taken[0].Sealed), nil)
		return []int64{taken[0].Number}, err
	}
	if len(taken) == 0 {
		return nil, nil
	}
	body := []byte(`{"acks":`)
	for _, t := range taken {
		body = fmt.Appendf(body, `,{"id":"%d","token":"%s","outcome":"complete"}`, t.ID, t.Sealed)
	}
	body[len(`{"acks":`)] = '['
	var answer struct {
		Results []struct {
			Status string `json:"status"`
		} `json:"results"`
	}
	if err := c.service.call(ctx, "/v1/acks", append(body, "]}"...), &answer); err != nil {
		return nil, err
	}
	for i, result := range answer.Results {
		if result.Status == "ok" {
			numbers = append(numbers, taken[i].Number)
		}
	}
	return numbers, nil
}

// Wait has nothing to do: the claim waits.
func (c *restClaimer) Wait(context.Context) error { return nil }

func (c *restClaimer) Close(context.Context) error { return nil }
