package jobs

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/weirhq/weir/db"
)

// pageBytes is about how much of PostgreSQL's answers one page of a list reads: one more item may pass it.
const pageBytes = 8 << 20

// WithPage returns a context for reading one page of a list. A list that is long in bytes then ends early, and IsCut says so.
func WithPage(ctx context.Context) context.Context {
	ctx, _ = db.WithPage(ctx, pageBytes)
	return ctx
}

// IsCut says whether a list that was read in this context ended early.
func IsCut(ctx context.Context) bool { return db.IsCut(ctx) }

const (
	listBatch = 2000                   // the most candidates of one statement
	textBatch = 100                    // the first candidates of a search for a text, which reads all that a job has
	listFor   = 2 * time.Second        // how long the search for one page lasts,
	openFor   = 200 * time.Millisecond // and how long it lasts where no index helps,
	openLeast = 20_000                 // unless it has gone over fewer ids

	strideShort = 100 * time.Millisecond // a statement that takes less may read more candidates,
	strideLong  = 400 * time.Millisecond // and one that takes longer must read fewer
)

// stride is how many candidates the statements of a search read, so that none takes long: the search can stop only between two.
type stride struct{ size int }

// newStride begins with few candidates if words are searched for.
func newStride(words bool) *stride {
	if words {
		return &stride{textBatch}
	}
	return &stride{listBatch}
}

// took learns from a statement.
func (s *stride) took(d time.Duration) {
	switch {
	case d < strideShort:
		s.size = min(2*s.size, listBatch)
	case d > strideLong:
		s.size = max(s.size/4, 1)
	}
}

// failed says whether to try again with fewer candidates after an error. A statement that took too long was cancelled, or
// this side has closed its connection.
func (s *stride) failed(err error) bool {
	if !db.IsTimeout(err) && !errors.Is(err, net.ErrClosed) || s.size == 1 {
		return false
	}
	s.size = max(s.size/8, 1)
	return true
}
