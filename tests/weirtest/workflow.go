//go:build unix

package weirtest

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// Workflow is a workflow as clients see it.
type Workflow struct {
	ID                                                  string
	Name, State                                         string
	Progress                                            float64
	Steps, Completed, Dead, Cancelled, Running, Waiting int
	DeadlineAt, FinishedAt                              *time.Time
	Failure                                             *struct{ Type, Step, Message string }
	ParentJobID                                         string `json:"parent_job_id"`
	ParentWorkflowID                                    string `json:"parent_workflow_id"`
	ForkedFrom                                          string `json:"forked_from"`
	Duplicate                                           bool
}

// Step is a step of a workflow as clients see it.
type Step struct {
	Name, State, Needs, Kind, Worker string
	HeldReason                       string   `json:"held_reason"`
	JobID                            string   `json:"job_id"`
	DependsOn                        []string `json:"depends_on"`
	Result, Error                    json.RawMessage
	AddedBy                          string `json:"added_by"`
}

// Graph is the graph of a workflow as clients see it.
type Graph struct {
	Nodes        []struct{ Name, State string }
	Edges        []struct{ From, To, Kind string }
	CriticalPath []string `json:"critical_path"`
}

// Submit submits a workflow named w and returns its id.
func (s *Node) Submit(fields Object, steps ...Object) string {
	s.T.Helper()
	body := Object{"name": "w", "steps": steps}
	for name, value := range fields {
		body[name] = value
	}
	return Decode[Workflow](s.Post("/v1/workflows", body).Want(http.StatusCreated)).ID
}

// Workflow returns a workflow.
func (s *Node) Workflow(id string) Workflow {
	s.T.Helper()
	return Decode[Workflow](s.Get("/v1/workflows/" + id).Want(http.StatusOK))
}

// CheckWorkflows fails the test if a stored workflow contradicts itself.
func CheckWorkflows(t testing.TB, q Querier) {
	t.Helper()
	for _, line := range Values[string](t, q, `select format('workflow %s, step %s: %s', id, step, problem)
		from weir.check_workflows() where exists (select from weir.workflow)`) {
		t.Error(line)
	}
}
