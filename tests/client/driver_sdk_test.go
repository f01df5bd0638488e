//go:build unix

package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	weir "github.com/weirhq/weir/client/go"
)

func sdk(way, address string) *weir.Client {
	if way == "rest" {
		c, err := weir.HTTP(address, quiet())
		if err != nil {
			panic(err)
		}
		return c
	}
	pool, err := pgxpool.New(context.Background(), address)
	if err != nil {
		panic(err)
	}
	return weir.SQL(pool, quiet())
}

// script is a job that does what its args say.
type script struct {
	N  int
	Do [][]map[string]json.RawMessage
}

func (script) Kind() string { return "script" }

func (script) Result() any { return nil }

// newJob is a job of a case.
type newJob struct {
	Kind    string
	Args    json.RawMessage
	Options json.RawMessage
	Name    string   // of a step
	After   []string // steps that it waits for
}

func (j newJob) options() (weir.Option, error) {
	var options struct {
		weir.NewJob
		Key string `json:"idempotency_key"`
	}
	if err := json.Unmarshal(j.Options, &options); err != nil {
		return nil, err
	}
	made := options.NewJob
	made.Kind, made.Args = j.Kind, j.Args
	weir.IdempotencyKey(options.Key)(&made)
	return func(out *weir.NewJob) { *out = made }, nil
}

// producer answers requests of producers.
type producer struct {
	client *weir.Client
	mu     sync.Mutex
	seen   [][2]string // job and event
}

func (p *producer) answer(line []byte) (any, error) {
	var r struct {
		Do, Name, Queue string
		ID              weir.ID
		EverySeconds    int `json:"every_seconds"`
		Job             newJob
		Jobs, Steps     []newJob
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, err
	}
	ctx := context.Background()
	var answer any
	var err error
	switch r.Do {
	case "enqueue":
		answer, err = p.enqueue(ctx, r.Jobs)
	case "result":
		answer, err = weir.Await[any](ctx, p.client, r.ID)
		var failed *weir.JobFailedError
		if errors.As(err, &failed) {
			return object{"refused": object{"code": failed.State}}, nil
		}
	case "cancel":
		err = p.client.Cancel(ctx, r.ID)
	case "submit":
		answer, err = p.submit(ctx, r.Name, r.Steps)
	case "schedule":
		err = p.schedule(ctx, r.Name, time.Duration(r.EverySeconds)*time.Second, r.Job)
	case "unschedule":
		err = p.client.DeleteSchedule(ctx, r.Name)
	case "watch":
		go p.watch(ctx, r.Queue)
	case "seen":
		p.mu.Lock()
		defer p.mu.Unlock()
		answer = append([][2]string{}, p.seen...)
	default:
		err = fmt.Errorf("there is no %q", r.Do)
	}
	return object{"answer": answer}, err
}

func (p *producer) enqueue(ctx context.Context, jobs []newJob) (any, error) {
	made := make([]weir.NewJob, len(jobs))
	for i, j := range jobs {
		option, err := j.options()
		if err != nil {
			return nil, err
		}
		made[i] = weir.New(script{}, option)
	}
	var done []weir.Enqueued
	var err error
	if len(made) == 1 {
		var one weir.Enqueued
		one, err = p.client.Enqueue(ctx, script{}, func(j *weir.NewJob) { *j = made[0] })
		done = []weir.Enqueued{one}
	} else {
		done, err = p.client.EnqueueMany(ctx, made...)
	}
	answer := make([]object, len(done))
	for i, d := range done {
		answer[i] = object{"id": d.ID, "duplicate": d.Duplicate}
	}
	return answer, err
}

func (p *producer) submit(ctx context.Context, name string, steps []newJob) (any, error) {
	flow, made := weir.NewWorkflow(name), map[string]weir.AnyStep{}
	for _, s := range steps {
		option, err := s.options()
		if err != nil {
			return nil, err
		}
		var after []weir.AnyStep
		for _, name := range s.After {
			after = append(after, made[name])
		}
		made[s.Name] = weir.AddStep(flow, s.Name, script{}, option, weir.After(after...))
	}
	return p.client.Submit(ctx, flow)
}

func (p *producer) schedule(ctx context.Context, name string, every time.Duration, j newJob) error {
	option, err := j.options()
	if err != nil {
		return err
	}
	return p.client.SetSchedule(ctx, name, weir.Schedule{Every: every, Job: weir.New(script{}, option)})
}

func (p *producer) watch(ctx context.Context, queue string) {
	for e, err := range p.client.Events(ctx, weir.EventFilter{Queue: queue}) {
		if err != nil {
			panic(err)
		}
		p.mu.Lock()
		p.seen = append(p.seen, [2]string{e.JobID.String(), e.Event})
		p.mu.Unlock()
	}
}

// work runs a worker until it is told to end.
func work(c *weir.Client, text string) {
	var settings struct {
		Queues       []string
		Concurrency  int
		LeaseSeconds int `json:"lease_seconds"`
		GraceSeconds int `json:"grace_seconds"`
	}
	if err := json.Unmarshal([]byte(text), &settings); err != nil {
		panic(err)
	}
	w := weir.NewWorker(c, weir.WorkerConfig{
		Queues: settings.Queues, Concurrency: settings.Concurrency,
		Lease: time.Duration(settings.LeaseSeconds) * time.Second, Grace: time.Duration(settings.GraceSeconds) * time.Second,
	})
	snoozed := &sync.Map{}
	weir.Handle(w, func(ctx context.Context, j *weir.Job[script]) (any, error) {
		fmt.Println("ran", j.ID)
		for _, step := range j.Args.Do[min(j.Attempt, len(j.Args.Do))-1] {
			for what, value := range step {
				if result, goesOn, err := perform(ctx, j, snoozed, what, value); err != nil || !goesOn {
					return result, err
				}
			}
		}
		return nil, nil
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := w.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// perform does a step, and says whether the handler goes on with the next.
func perform(ctx context.Context, j *weir.Job[script], snoozed *sync.Map, what string, value json.RawMessage) (result any, goesOn bool, err error) {
	var number float64
	var text string
	_ = json.Unmarshal(value, &number)
	_ = json.Unmarshal(value, &text)
	length := time.Duration(number * float64(time.Second))
	switch what {
	case "sleep":
		select {
		case <-time.After(length):
			return nil, true, nil
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	case "progress":
		j.Progress(number, "so far")
		return nil, true, nil
	case "fail":
		return nil, false, errors.New(text)
	case "retry in":
		return nil, false, weir.RetryIn(length, errors.New("later"))
	case "discard":
		return nil, false, weir.Discard(errors.New(text))
	case "cancel":
		return nil, false, weir.Cancel(errors.New(text))
	case "return":
		return value, false, nil
	case "return arg":
		return j.Args.N, false, nil
	case "return dependencies":
		return j.Dependencies, false, nil
	case "snooze":
		if _, again := snoozed.LoadOrStore(j.ID, true); again {
			return nil, true, nil
		}
		return nil, false, weir.Snooze(length)
	}
	return nil, false, fmt.Errorf("there is no step %q", what)
}
