package connection

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/weirhq/weir/tests/weirtest"
)

// proxy forwards connections to a server, until it is told to forward nothing more on those that it has. It acknowledges what it receives, and closes nothing.
type proxy struct {
	listener net.Listener
	target   *pgx.ConnConfig
	dead     atomic.Int64 // connections up to this number are cut
	last     atomic.Int64 // the newest connection
	refuse   atomic.Bool  // new connections are cut too
}

func newProxy(t *testing.T, databaseURL string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{}
	if p.target, err = pgx.ParseConfig(databaseURL); err != nil {
		t.Fatal(err)
	}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	go p.run()
	t.Cleanup(func() { p.listener.Close() })
	u.Host = p.listener.Addr().String()
	query := u.Query()
	query.Del("host")
	query.Del("port")
	u.RawQuery = query.Encode()
	return p, u.String()
}

func (p *proxy) run() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		n := p.last.Add(1)
		network, address := addressOf(p.target)
		server, err := net.Dial(network, address)
		if err != nil {
			client.Close()
			continue
		}
		cut := func() bool { return n <= p.dead.Load() || p.refuse.Load() }
		go forward(server, client, cut)
		go forward(client, server, cut)
	}
}

func addressOf(c *pgx.ConnConfig) (network, address string) {
	if c.Host != "" && c.Host[0] == '/' {
		return "unix", fmt.Sprintf("%s/.s.PGSQL.%d", c.Host, c.Port)
	}
	return "tcp", net.JoinHostPort(c.Host, fmt.Sprint(c.Port))
}

// forward copies until the connection is cut. After that it reads on, and forwards nothing, not even the end.
func forward(to, from net.Conn, cut func() bool) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if cut() {
			if err != nil {
				return
			}
			continue
		}
		if n > 0 {
			_, _ = to.Write(buffer[:n])
		}
		if err != nil {
			to.Close()
			return
		}
	}
}

// cut stops forwarding on all connections that there are.
func (p *proxy) cut() { p.dead.Store(p.last.Load()) }

// TestCutConnectionsAreNoticed cuts all connections of a node to its database without a word, while calls use them. Left
// to itself, TCP gives up after a quarter of an hour.
func TestCutConnectionsAreNoticed(t *testing.T) {
	weirtest.Long(t, "it waits until cut connections are noticed")
	t.Parallel()
	d := weirtest.New(t)
	p, through := newProxy(t, d.Direct)
	s, _ := weirtest.StartServe(t, &weirtest.Database{Pool: d.Pool, URL: through, Direct: through, T: t})
	s.Eventually("it listens", func() bool { return s.Metric("weir_listener_up") == 1 })

	// Calls that never stop, so that some are under way when the connections are cut.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var failures atomic.Int64
	var served [20]atomic.Int64
	// serves waits until each caller has had n more calls served.
	serves := func(what string, n int64) {
		var before [len(served)]int64
		for i := range served {
			before[i] = served[i].Load()
		}
		s.Eventually(what, func() bool {
			for i := range served {
				if served[i].Load() < before[i]+n {
					return false
				}
			}
			return true
		})
	}
	var callers sync.WaitGroup
	for i := range served {
		callers.Go(func() {
			for ctx.Err() == nil {
				r, err := s.Send(context.WithoutCancel(ctx), http.MethodPost, "/v1/jobs", weirtest.Object{"kind": "k", "queue": fmt.Sprint("q", i)})
				if err != nil || r.Status != http.StatusCreated {
					failures.Add(1)
				} else {
					served[i].Add(1)
				}
			}
		})
	}
	serves("all callers are served", 2)
	p.cut()
	began := time.Now()
	serves("the calls that were under way end, and later ones are served", 2)
	cancel()
	callers.Wait()
	s.Post("/v1/jobs", weirtest.Object{"kind": "k", "queue": "q"}).Want(http.StatusCreated)
	s.Get("/v1/jobs?limit=1").Want(http.StatusOK)
	s.Eventually("it listens on another connection", func() bool {
		return s.Count(`select count(*) from pg_stat_activity where datname = current_database() and application_name = 'weir listener' and backend_start > clock_timestamp() - $1::interval`,
			time.Since(began)) == 1
	})
	t.Logf("%d calls failed", failures.Load())
}

// TestAListenerWhoseConnectionIsCutIsDown cuts the connections of a node, and all that it makes afterwards.
func TestAListenerWhoseConnectionIsCutIsDown(t *testing.T) {
	weirtest.Long(t, "it waits until a cut connection is noticed")
	t.Parallel()
	d := weirtest.New(t)
	p, through := newProxy(t, d.Direct)
	s, _ := weirtest.StartServe(t, &weirtest.Database{Pool: d.Pool, URL: through, Direct: through, T: t})
	s.Eventually("it listens", func() bool { return s.Metric("weir_listener_up") == 1 })
	p.refuse.Store(true)
	listens := func() bool { // /metrics also counts, on a database that does not answer
		return s.Metric("weir_listener_up") == 1
	}
	s.Eventually("the listener is down", func() bool { return !listens() })
	if r := s.Get("/readyz"); r.Status != http.StatusServiceUnavailable {
		t.Errorf("%v", r)
	}
	p.cut()
	p.refuse.Store(false)
	s.Eventually("it listens again", listens)
	s.Eventually("it is ready again", func() bool { return s.Get("/readyz").Status == http.StatusOK })
}

// TestAStatementThatWaitsForLongIsNotCut holds a lock for longer than a silent connection is trusted.
func TestAStatementThatWaitsForLongIsNotCut(t *testing.T) {
	weirtest.Long(t, "it waits for a lock")
	t.Parallel()
	s := weirtest.StartNode(t)
	id := s.Enqueue(weirtest.Object{"kind": "k", "queue": "q"})
	commit := s.ExecUncommitted("lock table weir.job_ready in access exclusive mode")
	time.AfterFunc(6*time.Second, commit)
	r := s.Post("/v1/jobs/"+id+"/cancel", nil)
	r.Want(http.StatusOK)
}
