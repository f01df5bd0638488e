package queue

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
)

// Step is a job of a workflow and the places, in the workflow, of the steps that it depends on.
type Step struct {
	Job
	DependsOn []int
}

// WorkflowQueue is a Queue whose jobs can wait for each other.
type WorkflowQueue interface {
	Queue
	// Submit commits workflows, all in one transaction. Several goroutines call it.
	Submit(ctx context.Context, workflows [][]Step) error
	// Broken counts what is wrong with the workflows in the database.
	Broken(ctx context.Context) (int64, error)
}

// Submit takes all workflows in one statement.
func (q *weirSQL) Submit(ctx context.Context, workflows [][]Step) error {
	definitions := make([]string, len(workflows))
	for i, steps := range workflows {
		definitions[i] = string(weirWorkflow(steps))
	}
	rows, err := q.pool.Query(ctx, "select weir.submit_workflow(d) from unnest($1::jsonb[]) d", definitions)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err == nil && len(ids) != len(workflows) {
		err = fmt.Errorf("%d workflows were submitted and %d ids came back", len(workflows), len(ids))
	}
	return err
}

func (q *weirSQL) Broken(ctx context.Context) (n int64, err error) {
	return n, q.pool.QueryRow(ctx, "select (select count(*) from weir.check_workflows()) + (select count(*) from weir.workflow where state <> 'completed')").Scan(&n)
}

// weirWorkflow is a workflow as the SQL contract and the REST API take it.
func weirWorkflow(steps []Step) []byte {
	text := []byte(`{"name":"bench","steps":[`)
	for i, s := range steps {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(strconv.AppendInt(append(text, `{"name":"s`...), int64(i), 10), `","kind":"bench","args":`...)
		text = append(text, s.Args...)
		for j, d := range s.DependsOn {
			if j == 0 {
				text = append(text, `,"depends_on":["s`...)
			} else {
				text = append(text, `,"s`...)
			}
			text = append(strconv.AppendInt(text, int64(d), 10), '"')
		}
		if len(s.DependsOn) > 0 {
			text = append(text, ']')
		}
		text = append(text, '}')
	}
	return append(text, "]}"...)
}
