package api

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/jobs"
)

// budget bounds what the requests of a node hold together, such as the bytes of their bodies.
type budget struct {
	most int64
	held atomic.Int64
}

// fits says whether there is room for an amount. It takes nothing.
func (b *budget) fits(n int64) bool { return b.held.Load()+n <= b.most }

// take takes an amount, or nothing if there is no room for it.
func (b *budget) take(n int64) bool {
	if b.held.Add(n) > b.most {
		b.held.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.held.Add(-n) }

// body is a request's body, which takes from a budget what has arrived of it. What has not arrived takes no memory; if it took from the
// budget, bodies that are only announced would keep others out.
type body struct {
	io.ReadCloser
	ctx        context.Context
	bytes      *budget
	connection *http.ResponseController
	began      time.Time // of the first read
	taken      int64
}

func (b *body) Read(p []byte) (int, error) {
	if b.began.IsZero() {
		b.began = time.Now() // huma has just set the deadline of the first read
	} else {
		b.extend()
	}
	n, err := b.ReadCloser.Read(p)
	if n > 0 && !b.bytes.take(int64(n)) {
		return 0, tooManyBytes(b.ctx)
	}
	b.taken += int64(n)
	return n, err
}

// extend gives the next part of a body bodyStall, as long as all of it arrives within bodyPatience.
func (b *body) extend() {
	now := time.Now()
	deadline, last := now.Add(bodyStall), b.began.Add(bodyPatience)
	if last.Before(deadline) {
		deadline = last
	}
	_ = b.connection.SetReadDeadline(deadline)
}

// Close clears the read deadline once the body has been read. Otherwise it would cancel the request: net/http keeps reading the connection
// to detect a client that disconnects, and takes an expired deadline for one.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	_ = b.connection.SetReadDeadline(time.Time{}) // not every ResponseWriter can; then none was set either
	return err
}

func tooManyBytes(ctx context.Context) *Problem {
	p := newProblem(ctx, jobs.Overloaded, "the bodies of too many requests are in flight")
	p.Hint = "Try again a little later, with less at a time."
	return p
}

// places bounds the calls that wait, all together and those of each caller.
type places struct {
	budget

	mu sync.Mutex
	of map[int32]int64 // by principal, of those that have some
}

// share is the part of all places that one caller may take: a quarter.
func (p *places) share() int64 { return max(1, p.most/4) }

// enter takes a place for a call that waits. The caller gives it back by leave.
func enter(ctx context.Context, p *places) (leave func(), err error) {
	caller := access.From(ctx)
	if caller != nil && !p.takeFor(caller.ID) {
		problem := newProblem(ctx, rateLimited, "too many calls of this caller wait on this node")
		problem.Hint = "Ask another node, or wait with fewer calls."
		return nil, problem
	}
	leave = func() {
		p.give(1)
		if caller != nil {
			p.giveFor(caller.ID)
		}
	}
	if !p.take(1) {
		if caller != nil {
			p.giveFor(caller.ID)
		}
		problem := newProblem(ctx, jobs.Overloaded, "too many calls wait on this node")
		problem.Hint = "Ask another node, or try again later."
		return nil, problem
	}
	return leave, nil
}

func (p *places) takeFor(principal int32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[principal] >= p.share() {
		return false
	}
	if p.of == nil {
		p.of = map[int32]int64{}
	}
	p.of[principal]++
	return true
}

func (p *places) giveFor(principal int32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[principal]--; p.of[principal] == 0 {
		delete(p.of, principal)
	}
}
