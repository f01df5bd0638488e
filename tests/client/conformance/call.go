//go:build unix

package conformance

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// operation is what the OpenAPI document says of an operation.
type operation struct {
	method, path string
	in           map[string]string // where each parameter is: path, query or header
}

// operationsOf are those of a node's document, by id.
func operationsOf(s *weirtest.Node) map[string]operation {
	document := weirtest.Decode[struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct{ Name, In string }
		}
	}](s.Get("/openapi.json").Want(http.StatusOK))
	found := map[string]operation{}
	for path, methods := range document.Paths {
		for method, o := range methods {
			places := map[string]string{}
			for _, p := range o.Parameters {
				places[p.Name] = p.In
			}
			found[o.OperationID] = operation{method: strings.ToUpper(method), path: path, in: places}
		}
	}
	return found
}

// Requests are what drivers are asked to call in the cases, without what is refused. Variables stand there by their names.
func Requests(t *testing.T, s *weirtest.Node) (requests []map[string]any) {
	t.Helper()
	c := &caller{operations: operationsOf(s)}
	for _, one := range load(t).Calls {
		for _, s := range one.Steps {
			request, err := c.request(s, nil)
			if err != nil {
				t.Fatal(err)
			}
			if s.Refused == nil {
				requests = append(requests, request)
			}
		}
	}
	return requests
}

// Calls has a generated client make the calls of all cases.
func Calls(t *testing.T, d Driver) {
	t.Helper()
	all, s := load(t), weirtest.StartNode(t)
	c := &caller{driver: d.talk(t, "call", s.URL), operations: operationsOf(s)}
	for _, one := range all.Calls {
		t.Run(one.Name, func(t *testing.T) {
			one.skip(t, d)
			if err := c.run(one); err != nil {
				t.Error(err)
			}
		})
	}
	for _, one := range all.Mistakes.Calls {
		t.Run("mistake "+one.Name, func(t *testing.T) {
			one.skip(t, d)
			if err := c.run(one); err == nil || !strings.Contains(err.Error(), one.Says) {
				t.Errorf("the error is %v, want %q", err, one.Says)
			}
		})
	}
	t.Logf("%d calls", c.calls)
}

func (one callCase) skip(t *testing.T, d Driver) {
	t.Helper()
	if why, ok := one.Except[d.Client]; ok {
		t.Skip(why)
	}
}

// caller makes the calls of cases.
type caller struct {
	driver     *conversation
	operations map[string]operation
	cases      int
	calls      int
}

func (c *caller) run(one callCase) error {
	c.cases++
	known := variables{"queue": fmt.Sprintf("case-%d", c.cases)}
	for i, s := range one.Steps {
		if err := c.step(s, known); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.Call, err)
		}
	}
	return nil
}

func (c *caller) step(s step, known variables) error {
	request, err := c.request(s, known)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(weirtest.Patience); ; time.Sleep(20 * time.Millisecond) {
		c.calls++
		r, err := c.driver.ask(request)
		if err != nil {
			return err
		}
		if s.Until == nil {
			return judge(s, r, known)
		}
		s.Gives = s.Until
		if err = judge(s, r, known); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func judge(s step, r reply, known variables) error {
	switch {
	case s.Refused != nil && r.Refused == nil:
		return fmt.Errorf("it succeeded, want %s: %s", s.Refused.Code, short(r.Answer))
	case s.Refused != nil && (r.Refused.Status != s.Refused.Status || r.Refused.Code != s.Refused.Code):
		return fmt.Errorf("it was refused with %d %s, want %d %s", r.Refused.Status, r.Refused.Code, s.Refused.Status, s.Refused.Code)
	case s.Refused != nil:
		return nil
	case r.Refused != nil:
		return fmt.Errorf("it was refused with %d %s", r.Refused.Status, r.Refused.Code)
	case s.Gives == nil:
		return nil
	}
	return known.match(s.Gives, r.Answer)
}

// request is a step as its driver takes it. Without known variables, they stay.
func (c *caller) request(s step, known variables) (map[string]any, error) {
	o, ok := c.operations[s.Call]
	if !ok {
		return nil, errors.New("there is no such operation")
	}
	given := map[string]map[string]any{"path": {}, "query": {}, "header": {}}
	for name, value := range s.With {
		place, ok := o.in[name]
		if !ok {
			return nil, fmt.Errorf("it has no parameter %s", name)
		}
		filled, err := known.fill(value)
		if err != nil {
			return nil, err
		}
		given[place][name] = filled
	}
	request := map[string]any{"call": s.Call, "method": o.method, "template": o.path, "path": given["path"], "query": given["query"], "header": given["header"]}
	if s.Body != nil {
		body, err := known.fill(s.Body)
		if err != nil {
			return nil, err
		}
		request["body"] = body
	}
	return request, nil
}
