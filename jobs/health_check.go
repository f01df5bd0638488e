package jobs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weirhq/weir/db"
)

const (
	healthEvery = 10 * time.Second
	healthSlow  = time.Second     // a database that takes longer to answer is a problem
	healthLimit = 2 * time.Second // and one that takes longer still counts as one that does not answer
)

// Check is the result of the last check of a component of this node.
type Check struct {
	Name    string
	At      time.Time // by the node's clock
	Message string    // what is wrong; empty: nothing
	seconds float64   // how long it took to answer; 0: not measured
}

// watched are the components of this node, and their last checks.
type watched struct {
	mu       sync.Mutex
	problems map[string]func() string // of the components that other packages add
	database Check                    // the last check of it; without a name: there was none
}

// Watch adds a component to the health of this node. problem returns what is wrong with it, or nothing. It is called every few seconds, until
// unwatch is called.
func (e *Engine) Watch(name string, problem func() string) (unwatch func()) {
	w := &e.watched
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.problems == nil {
		w.problems = map[string]func() string{}
	}
	w.problems[name] = problem
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.problems, name)
	}
}

// Checks returns the components of this node as they are now, by name; the database as it was last checked.
func (e *Engine) Checks() []Check {
	e.watched.mu.Lock()
	database := e.watched.database
	e.watched.mu.Unlock()
	return e.checksWith(database)
}

func (e *Engine) checksWith(database Check) (checks []Check) {
	now := e.clock.Now().UTC()
	e.watched.mu.Lock()
	problems := maps.Clone(e.watched.problems)
	e.watched.mu.Unlock()
	if database.Name != "" {
		checks = append(checks, database)
	}
	listener := ""
	if !e.listener.Up() {
		listener = "the connection that listens for wake-ups is down: claims poll"
	}
	checks = append(checks, Check{Name: "listener", At: now, Message: listener}, Check{Name: "loops", At: now, Message: e.runner.Problem()})
	for _, name := range slices.Sorted(maps.Keys(problems)) {
		checks = append(checks, Check{Name: name, At: now, Message: problems[name]()})
	}
	slices.SortStableFunc(checks, func(a, b Check) int { return strings.Compare(a.Name, b.Name) })
	return checks
}

// ownHealth is the health of this node's components where the database does not say.
func (e *Engine) ownHealth(name string, err error) []Component {
	now := e.clock.Now().UTC()
	database := Check{Name: "database", At: now, Message: problemOf(err)}
	components := []Component{}
	for _, c := range e.checksWith(database) {
		if name != "" && name != c.Name {
			continue
		}
		ok := c.Message == ""
		component := Component{
			Name: c.Name, Node: e.node, Status: HealthOK, Since: c.At, CheckedAt: c.At, Message: c.Message, Checks: 1, SuccessRate: 1,
			History: []HealthCheck{{At: c.At, OK: ok, Message: c.Message}},
		}
		if !ok {
			component.Status, component.SuccessRate = HealthFailing, 0
		}
		components = append(components, component)
	}
	return components
}

// healthStep checks the components of this node and, unless another node has just done so, those of the service.
type healthStep struct {
	e       *Engine
	begun   bool
	unsaved time.Time // since when no check could be saved; zero: the last one was
}

func (s *healthStep) step(ctx context.Context) (time.Duration, error) {
	if !s.begun {
		s.begun = true
		return time.Second, nil // the other loops begin too
	}
	began := s.e.clock.Now()
	database := s.e.askDatabase(ctx)
	s.e.setDatabaseCheck(database)
	if err := s.save(ctx, database); err != nil {
		if s.unsaved.IsZero() {
			s.unsaved = began
		}
		return 0, err
	}
	limited, cancel := context.WithTimeout(ctx, healthEvery)
	defer cancel()
	if _, err := s.e.loops.CheckHealth(limited); err != nil {
		return 0, fromDB("checking the components", err)
	}
	return healthEvery, nil
}

// forget drops the checks of this node, which ends in good order: it is not lost.
func (e *Engine) forget(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthLimit)
	defer cancel()
	if err := e.loops.ForgetNode(ctx, e.node); err != nil {
		e.log.Warn("could not drop the checks of this node", "error", err)
	}
}

// save saves the checks of this node. A time without an answer is saved as one failed check when it is over.
func (s *healthStep) save(ctx context.Context, database Check) error {
	if !s.unsaved.IsZero() {
		silence := fmt.Sprintf("it did not answer for %.0f s", s.e.clock.Since(s.unsaved).Seconds())
		if err := s.e.saveCheck(ctx, Check{Name: "database", Message: silence}); err != nil {
			return err
		}
		s.unsaved = time.Time{}
	}
	for _, c := range s.e.checksWith(database) {
		if err := s.e.saveCheck(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// askDatabase asks it through the pool that serves calls.
func (e *Engine) askDatabase(ctx context.Context) Check {
	limited, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	began := e.clock.Now()
	err := e.usable(limited)
	took := e.clock.Since(began)
	check := Check{Name: "database", At: began.UTC(), seconds: took.Seconds()}
	switch {
	case err != nil:
		check.Message = problemOf(err)
	case took > healthSlow:
		check.Message = fmt.Sprintf("it took %.1f s to answer", took.Seconds())
	}
	return check
}

func (e *Engine) setDatabaseCheck(c Check) {
	e.watched.mu.Lock()
	defer e.watched.mu.Unlock()
	e.watched.database = c
}

// problemOf is what an error of usable says about the database.
func problemOf(err error) string {
	var e *Error
	if errors.As(err, &e) && e.cause == nil {
		return e.Message
	}
	return "it does not answer: " + string(CodeOf(err))
}

func (e *Engine) saveCheck(ctx context.Context, c Check) error {
	limited, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	err := e.loops.RecordHealth(limited, db.RecordHealthParams{Component: c.Name, Node: e.node, Ok: c.Message == "", Seconds: nonZero(c.seconds), Message: nonZero(c.Message)})
	return fromDB("saving a check of a component", err)
}
