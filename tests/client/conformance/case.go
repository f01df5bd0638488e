//go:build unix

package conformance

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// cases is the file.
type cases struct {
	Calls    []callCase
	Work     []workCase
	Mistakes struct { // cases that must fail
		Calls []callCase
		Work  []workCase
	}
}

// callCase is a case of calls of the REST API.
type callCase struct {
	Name   string
	Except map[string]string // clients that cannot do this, and why
	Steps  []step
	Says   string // of a mistake: what its failure says
}

// step is one call, and what must come of it.
type step struct {
	Call    string         // the id of the operation
	With    map[string]any // its parameters, by the names in the OpenAPI document
	Body    any
	Gives   any // what the answer has, at least
	Until   any // the same, but the call is made again until it has
	Refused *struct {
		Status int
		Code   string
	}
}

// workCase is a case of jobs and of the workers that do them.
type workCase struct {
	Name     string
	Only     string // REST or SQL. Defaults to both
	Jobs     []jobs
	Workflow []workflowStep
	Schedule *jobs    // makes such a job every second
	Events   []string // what is told of each of its jobs, in this order
	Once     bool     // no handler runs twice
	Workers  *workers // those that it has to itself. Defaults to one that it shares
	Faults   []fault
	Says     string
}

// jobs are jobs of one sort.
type jobs struct {
	Count   int    // defaults to 1
	Kind    string // defaults to script
	Do      []any  // what the handler does, by attempt: lists of steps
	Options map[string]any
	Again   bool           // each is enqueued a second time, which makes no second job
	Cancel  bool           // each is cancelled while it runs
	Shows   map[string]any // how it looks at some time while it runs
	Ends    map[string]any // how it looks at the end
}

// workflowStep is a step of a workflow.
type workflowStep struct {
	Name  string
	After []string
	jobs  `yaml:",inline"`
}

// workers are processes with a worker each.
type workers struct {
	Count        int `json:"-"`
	Concurrency  int `json:"concurrency"`
	LeaseSeconds int `json:"lease_seconds" yaml:"lease_seconds"`
	GraceSeconds int `json:"grace_seconds" yaml:"grace_seconds"`
}

// fault is something that goes wrong, or goes well again, once enough jobs are in a state.
type fault struct {
	When map[string]int
	Then string
}

func load(t *testing.T) cases {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), "client", "conformance", "cases.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c cases
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil {
		t.Fatal(err)
	}
	if len(c.Calls) == 0 || len(c.Work) == 0 || len(c.Mistakes.Calls) == 0 || len(c.Mistakes.Work) == 0 {
		t.Fatal("a part of the file has no cases")
	}
	return c
}

// root is the folder of the repository.
func root(t *testing.T) string {
	t.Helper()
	for folder := "."; ; folder = filepath.Join("..", folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			path, err := filepath.Abs(folder)
			if err != nil {
				t.Fatal(err)
			}
			return path
		}
	}
}

// tree is a value as JSON has it, with whole numbers of any size.
func tree(value any) (out any, err error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return decode(text)
}

func decode(text []byte) (out any, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	err = d.Decode(&out)
	return out, err
}
