//go:build unix

package bounds

import (
	"fmt"
	"strings"
	"testing"

	. "github.com/weirhq/weir/tests/weirtest"
)

// The doors beside enqueues and acks: signals, steps, schedules, breakers, edits, workers and queues, each with numbers that print long and with
// ones behind many zeros.
func TestNumbersThatPrintLongAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	d := New(t)
	workflow := Value[int64](t, d, `select weir.submit_workflow('{"name": "w", "steps": [{"name": "s", "wait_for": {"signal": "go"}}, {"name": "b", "kind": "k", "queue": "steps"}]}')`)
	step := ClaimOne(t, d, "steps")
	Exec(t, d, `select weir.set_schedule('s', '{"every_seconds": 3600, "job": {"kind": "k"}}')`)
	id := EnqueueOne(t, d, "q")
	for name, value := range map[string]string{
		"large": "[" + strings.Repeat("1e131071,", 200) + "1]", "zeros": "[0." + strings.Repeat("0", 45) + "1e-16000]",
		"many": "[" + strings.Repeat("1e900,", 4000) + "1]",
	} {
		for sql, argument := range map[string]string{
			"select weir.signal($1::bigint, 'go', $2)":                                                  value,
			"select weir.add_steps($1::bigint, $3::bigint, $2)":                                         `[{"name": "more", "kind": "k", "args": ` + value + `}]`,
			"select weir.add_steps($1::bigint, $3::bigint, ($2)::jsonb)":                                `[{"name": "more", "kind": "k", "metadata": {"a": ` + value + `}}]`,
			"select weir.submit_workflow($2)":                                                           `{"name": "w", "metadata": {"a": ` + value + `}, "steps": [{"name": "s", "kind": "k"}]}`,
			"select weir.set_schedule('t', $2)":                                                         `{"every_seconds": 60, "job": {"kind": "k", "args": ` + value + `}}`,
			"select weir.edit_schedule('s', $2)":                                                        `{"job": {"kind": "k", "args": ` + value + `}}`,
			"select weir.set_breaker('b', $2)":                                                          `{"while_open": {"policy": "complete_default", "result": ` + value + `}}`,
			"select weir.register_worker('w', $2)":                                                      `{"labels": {"a": ` + value + `}}`,
			"select weir.set_queue('q', $2)":                                                            `{"max_depth": ` + value + `}`,
			"select weir.edit($4, $2)":                                                                  `{"tags": ` + value + `}`,
			"select weir.enqueue_batch($2)":                                                             `[{"kind": "k"}, {"kind": "k", "metadata": {"a": ` + value + `}}]`,
			"select weir.start_operation('export_jobs', $2)":                                            `{"queue": ` + value + `}`,
			"select weir.set_webhook('w', $2)":                                                          `{"url": "https://a.example", "events": ` + value + `}`,
			"select weir.preview_definition($2)":                                                        `{"every_seconds": 60, "job": {"kind": "k", "args": ` + value + `}}`,
			"select weir.heartbeat(array[$1::bigint], array[$3::bigint], progress => array[$2::jsonb])": value,
		} {
			quoted := strings.NewReplacer("$1", fmt.Sprint(workflow), "$2", "'"+argument+"'", "$3", fmt.Sprint(step.Token), "$4", fmt.Sprint(id)).Replace(sql)
			if strings.Contains(sql, "add_steps") || strings.Contains(sql, "heartbeat") {
				quoted = strings.Replace(quoted, fmt.Sprint(workflow), fmt.Sprint(step.ID), 1)
			}
			d.Unchanged(name, func() {
				if e := WantSQLState(t, TryExec(d, quoted), "WR010"); len(e.Message) > 500 {
					t.Errorf("%s, %s: a message of %d bytes", name, sql, len(e.Message))
				}
			})
		}
	}
}
