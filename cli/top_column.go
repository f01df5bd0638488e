package cli

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/terminal"
)

// column is a column of a pane.
type column[T any] struct {
	key     string
	title   string
	width   int // in characters; of the first column the least
	rank    int // a narrow screen leaves out the columns of the highest ranks
	left    bool
	cell    func(row *T) string
	style   func(row *T) terminal.Style
	compare func(a, b *T) int // what comes first
}

type queueColumn = column[topQueue]

// most sorts large numbers first.
func most[T any, N cmp.Ordered](of func(row *T) N) func(a, b *T) int {
	return func(a, b *T) int { return cmp.Compare(of(b), of(a)) }
}

// number is a number of jobs in at most six characters.
func number(n int64) string {
	switch {
	case n < 100_000:
		return strconv.FormatInt(n, 10)
	case n < 10_000_000:
		return strconv.FormatInt(n/1000, 10) + "k"
	}
	return strconv.FormatInt(n/1_000_000, 10) + "M"
}

func (q *topQueue) number(n int64) string {
	if !q.Exact && n > 0 {
		return number(n) + "+"
	}
	return number(n)
}

// rate is a number a second.
func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0"
	case perSecond < 10:
		return fmt.Sprintf("%.2f", perSecond)
	case perSecond < 1000:
		return fmt.Sprintf("%.1f", perSecond)
	}
	return number(int64(perSecond))
}

func percent(fraction float64) string {
	if fraction == 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f", 100*fraction)
}

func (q *topQueue) later() int64 { return q.Scheduled + q.Retryable }

func (q *topQueue) p95() float64 {
	if q.wait == nil || q.wait.Total.Count == 0 {
		return -1
	}
	return q.wait.Total.P95
}

// mode is whether jobs are handed out, in a word or two.
func (q *topQueue) mode() string {
	switch {
	case q.Paused:
		return "paused"
	case q.BreakerState == "open":
		return "open"
	case q.BreakerState == "half_open":
		return "half_open"
	}
	return "active"
}

var queueColumns = []queueColumn{
	{
		key: "name", title: "QUEUE", width: 12, left: true, cell: func(q *topQueue) string { return q.Name },
		compare: func(a, b *topQueue) int { return cmp.Compare(a.Name, b.Name) },
	},
	{
		key: "waiting", title: "WAITING", width: 8, rank: 1, cell: func(q *topQueue) string { return q.number(q.Available) },
		compare: most(func(q *topQueue) int64 { return q.Available }),
	},
	{
		key: "running", title: "RUNNING", width: 8, rank: 1, cell: func(q *topQueue) string { return number(q.Running) },
		compare: most(func(q *topQueue) int64 { return q.Running }),
	},
	{
		key: "later", title: "LATER", width: 7, rank: 6, cell: func(q *topQueue) string { return q.number(q.later()) },
		compare: most((*topQueue).later),
	},
	{
		key: "held", title: "HELD", width: 6, rank: 5, cell: func(q *topQueue) string { return q.number(q.Held) },
		compare: most(func(q *topQueue) int64 { return q.Held }),
	},
	{
		key: "dead", title: "DEAD", width: 6, rank: 4, cell: func(q *topQueue) string { return q.number(q.Dead) },
		compare: most(func(q *topQueue) int64 { return q.Dead }),
	},
	{
		key: "in", title: "IN/S", width: 6, rank: 2, cell: func(q *topQueue) string { return rate(q.in) },
		compare: most(func(q *topQueue) float64 { return q.in }),
	},
	{
		key: "out", title: "OUT/S", width: 6, rank: 2, cell: func(q *topQueue) string { return rate(q.out) },
		compare: most(func(q *topQueue) float64 { return q.out }),
	},
	{
		key: "failing", title: "FAIL %", width: 7, rank: 4, cell: func(q *topQueue) string { return percent(q.failing()) },
		style: func(q *topQueue) terminal.Style {
			if q.failing() >= 0.1 {
				return terminal.Red
			}
			return terminal.Plain
		},
		compare: most(func(q *topQueue) float64 { return q.failing() }),
	},
	{
		key: "oldest", title: "OLDEST", width: 7, rank: 2, cell: func(q *topQueue) string {
			if q.Available == 0 {
				return "-"
			}
			return roughly(Seconds(q.OldestAvailableSeconds))
		},
		style: func(q *topQueue) terminal.Style {
			if q.Available > 0 && Seconds(q.OldestAvailableSeconds) > topSlowAfter {
				return terminal.Yellow
			}
			return terminal.Plain
		},
		compare: most(func(q *topQueue) float64 { return q.OldestAvailableSeconds }),
	},
	{
		key: "p95", title: "P95 WAIT", width: 9, rank: 3, cell: func(q *topQueue) string {
			if q.p95() < 0 {
				return "-"
			}
			return roughly(Seconds(q.p95()))
		},
		compare: most((*topQueue).p95),
	},
	{
		key: "state", title: "STATE", width: 9, rank: 3, left: true, cell: (*topQueue).mode,
		style:   func(q *topQueue) terminal.Style { return terminal.StateStyle(q.mode()) },
		compare: func(a, b *topQueue) int { return -cmp.Compare(a.mode(), b.mode()) },
	},
}

var workerColumns = []column[worker]{
	{title: "WORKER", width: 14, left: true, cell: func(w *worker) string { return w.Name }},
	{title: "RUNNING", width: 9, rank: 1, cell: func(w *worker) string {
		if w.Capacity == nil {
			return strconv.Itoa(w.Running)
		}
		return strconv.Itoa(w.Running) + "/" + strconv.Itoa(*w.Capacity)
	}},
	{title: "LOAD", width: 6, rank: 3, cell: func(w *worker) string { return cmp.Or(w.load(), "-") }},
	{title: "SEEN", width: 7, rank: 2, cell: func(w *worker) string { return roughly(max(0, time.Since(w.LastSeen))) }},
	{
		title: "STATE", width: 9, rank: 1, left: true, cell: func(w *worker) string { return w.State },
		style: func(w *worker) terminal.Style { return terminal.StateStyle(w.State) },
	},
	{title: "HOST", width: 16, rank: 5, left: true, cell: func(w *worker) string { return cmp.Or(w.Hostname, "-") }},
	{title: "QUEUES", width: 20, rank: 4, left: true, cell: func(w *worker) string { return cmp.Or(strings.Join(w.Queues, ","), "-") }},
}
