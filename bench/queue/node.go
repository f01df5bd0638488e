package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/bench/peers"
)

// nodeQueue is a system that runs in Node: one process enqueues and one works. peers/protocol.mjs says how they talk.
type nodeQueue struct {
	peer string
	left string // the statement that counts what is not completed

	url, node, script string
	start             sync.Once
	producer          *producer
	startErr          error
}

func (q *nodeQueue) Open(ctx context.Context, url string) (err error) {
	q.url = url
	if q.node, q.script, err = peers.Install(ctx, q.peer); err != nil {
		return absent("%s cannot be installed: %w", q.peer, err)
	}
	out, err := exec.CommandContext(ctx, q.node, q.script, "setup", url).CombinedOutput()
	if err != nil {
		return fmt.Errorf("setting up %s: %w: %.1000s", q.peer, err, out)
	}
	return nil
}

func (q *nodeQueue) Close(context.Context) error {
	if q.producer == nil {
		return nil
	}
	return q.producer.talk.end()
}

func (q *nodeQueue) Left(ctx context.Context) (n int64, err error) {
	conn, err := pgx.Connect(ctx, q.url)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return n, conn.QueryRow(ctx, q.left).Scan(&n)
}

func (q *nodeQueue) Enqueue(ctx context.Context, jobs []Job) error {
	q.start.Do(func() {
		p := &producer{waiting: map[string]chan error{}}
		if p.talk, q.startErr = startTalk(ctx, p.answer, q.node, q.script, "produce", q.url, "{}"); q.startErr == nil {
			q.producer = p
		}
	})
	if q.startErr != nil {
		return q.startErr
	}
	return q.producer.enqueue(ctx, jobs)
}

func (q *nodeQueue) Work(ctx context.Context, crew Crew, ledger *Ledger) (func() error, error) {
	options, err := json.Marshal(map[string]any{"connections": crew.Connections, "batch": crew.Batch, "waiting": crew.Waiting, "timed": ledger.timed})
	if err != nil {
		return nil, err
	}
	hear := func(line string) error { return note(ledger, line) }
	talk, err := startTalk(ctx, hear, q.node, q.script, "work", q.url, string(options))
	if err != nil {
		return nil, err
	}
	return talk.end, nil
}

// note enters a line of a working process into the ledger.
func note(ledger *Ledger, line string) error {
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return fmt.Errorf("a line that makes no sense: %q", line)
	}
	number, err := strconv.ParseInt(fields[len(fields)-1], 10, 64)
	switch {
	case err != nil:
		return err
	case fields[0] == "d":
		ledger.Completed(number)
	case fields[0] == "c" && len(fields) == 3:
		ms, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return err
		}
		ledger.Claimed(time.UnixMicro(int64(ms*1000)), number)
	default:
		return fmt.Errorf("a line that makes no sense: %q", line)
	}
	return nil
}

// producer matches the answers of a producing process with the calls that wait for them.
type producer struct {
	talk    *talk
	mu      sync.Mutex
	last    int
	waiting map[string]chan error
}

func (p *producer) enqueue(ctx context.Context, jobs []Job) error {
	done := make(chan error, 1)
	p.mu.Lock()
	p.last++
	id := strconv.Itoa(p.last)
	p.waiting[id] = done
	p.mu.Unlock()

	line := append([]byte(id), ' ')
	for _, job := range jobs {
		line = append(append(line, ','), job.Args...)
	}
	line[len(id)+1] = '['
	if err := p.talk.say(append(line, "]\n"...)); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-p.talk.gone:
		return errors.New("the producing process has ended")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *producer) answer(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	id, message, _ := strings.Cut(rest, " ")
	p.mu.Lock()
	done := p.waiting[id]
	delete(p.waiting, id)
	p.mu.Unlock()
	switch {
	case done == nil || word != "ok" && word != "error":
		return fmt.Errorf("an answer that makes no sense: %q", line)
	case word == "error":
		done <- errors.New(message)
	default:
		done <- nil
	}
	return nil
}
