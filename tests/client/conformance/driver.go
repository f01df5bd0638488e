//go:build unix

package conformance

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// Driver is the program that makes a client do what cases say.
type Driver struct {
	// Client is what cases call the client: go, typescript, python or java.
	Client string
	// Settings are added to its environment.
	Settings []string
	// Command is the program, and its first arguments.
	Command []string
}

// start starts a driver that is asked nothing.
func (d Driver) start(t *testing.T, args ...string) *weirtest.Process {
	t.Helper()
	return weirtest.StartProgram(t, d.Settings, d.Command[0], append(d.Command[1:len(d.Command):len(d.Command)], args...)...)
}

// conversation is with a driver that answers requests, one after the other.
type conversation struct {
	process *weirtest.Process
	to      io.Writer
	replies chan []byte // closed: it has ended
}

func (d Driver) talk(t *testing.T, args ...string) *conversation {
	t.Helper()
	process, to, from := weirtest.StartPiped(t, d.Settings, d.Command[0], append(d.Command[1:len(d.Command):len(d.Command)], args...)...)
	c := &conversation{process: process, to: to, replies: make(chan []byte)}
	go func() {
		defer close(c.replies)
		lines := bufio.NewScanner(from)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			select {
			case c.replies <- append([]byte(nil), lines.Bytes()...):
			case <-process.Ended:
				return
			}
		}
	}()
	return c
}

// reply is what a driver says of a request: an answer, or a refusal.
type reply struct {
	Answer  any
	Refused *refusal
	Failed  string // what went wrong in the driver
}

// refusal is a problem of the API, or how a job ended that did not complete.
type refusal struct {
	Status int
	Code   string
}

// ask makes a request.
func (c *conversation) ask(request map[string]any) (reply, error) {
	text, err := json.Marshal(request)
	if err != nil {
		return reply{}, err
	}
	if _, err := c.to.Write(append(text, '\n')); err != nil {
		return reply{}, fmt.Errorf("the driver has ended: %w\n%s", err, c.process.Output)
	}
	select {
	case line, ok := <-c.replies:
		if !ok {
			return reply{}, fmt.Errorf("the driver has ended at %s:\n%s", text, c.process.Output)
		}
		return understand(line)
	case <-time.After(2 * weirtest.Patience):
		return reply{}, fmt.Errorf("the driver does not answer %s:\n%s", text, c.process.Output)
	}
}

func understand(line []byte) (r reply, err error) {
	if err := json.Unmarshal(line, &r); err != nil {
		return r, fmt.Errorf("the driver said %q: %w", line, err)
	}
	if r.Failed != "" {
		return r, fmt.Errorf("the driver failed: %s", r.Failed)
	}
	whole, err := decode(line)
	if err != nil {
		return r, err
	}
	r.Answer = whole.(map[string]any)["answer"]
	return r, nil
}
