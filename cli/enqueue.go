package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

type enqueueCommand struct {
	Kind        string    `arg:"" help:"What the worker should do."`
	Queue       string    `help:"The queue to wait in. Defaults to default." placeholder:"NAME"`
	Args        string    `help:"What to do it with: JSON, @FILE to read it from a file, - from standard input." placeholder:"JSON"`
	Priority    int       `help:"1 to 10, 10 first. Defaults to the queue's." placeholder:"N"`
	Delay       delay     `help:"Not before so long from now: 90 (seconds), 90s, 5m, 2h." xor:"when" placeholder:"TIME"`
	RunAt       time.Time `help:"Not before this time, in RFC 3339: 2027-01-31T09:00:00Z." xor:"when" placeholder:"TIME"`
	MaxAttempts int       `help:"After this many failed attempts it is dead. Defaults to the queue's." placeholder:"N"`
	UniqueKey   string    `help:"While a job of this key has not ended, another one is not enqueued." placeholder:"KEY"`
	Breaker     string    `help:"The circuit breaker of the dependency that it needs." placeholder:"NAME"`
	Tag         []string  `help:"A label; may be given several times." sep:"none" placeholder:"TAG"`
	Parent      string    `help:"The job that it belongs to." placeholder:"ID"`
	ResultTTL   delay     `name:"result-ttl" help:"Keep its result so long after it completed. Defaults to as long as the job." placeholder:"TIME"`
	answerFlags
}

// newJob is the body of POST /v1/jobs, as far as this command fills it in.
type newJob struct {
	Kind         string          `json:"kind"`
	Queue        string          `json:"queue,omitempty"`
	Args         json.RawMessage `json:"args,omitempty"`
	Priority     int             `json:"priority,omitempty"`
	DelaySeconds float64         `json:"delay_seconds,omitempty"`
	RunAt        *time.Time      `json:"run_at,omitempty"`
	MaxAttempts  int             `json:"max_attempts,omitempty"`
	Unique       *uniqueKey      `json:"unique,omitempty"`
	Breaker      string          `json:"breaker,omitempty"`
	Tags         []string        `json:"tags,omitempty"`
	ParentID     string          `json:"parent_id,omitempty"`
	ResultTTL    int             `json:"result_ttl_seconds,omitempty"`
}

type uniqueKey struct {
	Key string `json:"key"`
}

// Run enqueues the job and says which it is.
func (c *enqueueCommand) Run(ctx context.Context, std streams) error {
	weir, err := c.client()
	if err != nil {
		return err
	}
	args, err := readArgs(c.Args, std.in)
	if err != nil {
		return err
	}
	body := newJob{
		Kind: c.Kind, Queue: c.Queue, Args: args, Priority: c.Priority, DelaySeconds: time.Duration(c.Delay).Seconds(), MaxAttempts: c.MaxAttempts, Breaker: c.Breaker, Tags: c.Tag,
		ParentID: c.Parent, ResultTTL: int(time.Duration(c.ResultTTL).Seconds()),
	}
	if !c.RunAt.IsZero() {
		body.RunAt = &c.RunAt
	}
	if c.UniqueKey != "" {
		body.Unique = &uniqueKey{Key: c.UniqueKey}
	}
	var answer json.RawMessage
	if err := weir.post(ctx, "/v1/jobs", body, &answer); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(std.out, answer)
	}
	var j job
	if err := json.Unmarshal(answer, &j); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	said := "is enqueued in"
	if j.Duplicate {
		said = "has this unique key already, in"
	}
	fmt.Fprintf(std.out, "job %s %s %s: %s\n", j.ID, said, j.Queue, newPainter(std.out).state(j.State)+j.when(time.Now()))
	return nil
}

// readArgs takes the args from the command line, a file or standard input. Nothing given is nothing sent.
func readArgs(given string, stdin io.Reader) (json.RawMessage, error) {
	text, source := []byte(given), "--args"
	var err error
	if path, isFile := strings.CutPrefix(given, "@"); isFile {
		source = path
		text, err = os.ReadFile(path)
	} else if given == "-" {
		source = "standard input"
		text, err = io.ReadAll(stdin)
	} else if given == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the args: %w", err)
	}
	if !json.Valid(text) {
		return nil, usagef(`%s is not JSON; a text needs its quotes: --args '"text"'`, source)
	}
	return text, nil
}

// delay is a length of time on the command line: a number of seconds, or with a unit.
type delay time.Duration

// UnmarshalText is called by kong.
func (d *delay) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil {
		var seconds float64
		if seconds, err = strconv.ParseFloat(string(text), 64); err != nil {
			return fmt.Errorf("%q is no length of time: give seconds, or a unit as in 90s, 5m, 2h", text)
		}
		parsed = time.Duration(seconds * float64(time.Second))
	}
	if parsed < 0 {
		return fmt.Errorf("%q is negative", text)
	}
	*d = delay(parsed)
	return nil
}

func printJSON(w io.Writer, text json.RawMessage) error {
	_, err := fmt.Fprintf(w, "%s\n", strings.TrimSpace(string(text)))
	return err
}
