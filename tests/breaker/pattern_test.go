package breaker

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// TestPatternsThatTakeLongAreRefused sets patterns whose matching takes time that grows faster than the text.
func TestPatternsThatTakeLongAreRefused(t *testing.T) {
	weirtest.Long(t, "it matches slow patterns")
	t.Parallel()
	s := weirtest.StartNode(t)
	for _, pattern := range []string{
		`^(a*)(a*)(a*)(a*)b\1\2\3\4x$`, `(a)\\\1`, `(?=.*(?=.*(?=.*b)))a`, `a(?!b)`, `(?<=a)b`, `(?<!a)b`, `(?b)\(a*\)\1`, `***:(a*)`, `***=a`, `(a{0,100}){0,100}x`, `((a{10}){10}){10}`, `((ab){255}){9,200}`, `(a{2,}){200}{200}`,
		`(?:` + strings.Repeat("a?", 490) + `)*`, `(?:` + strings.Repeat("a?", 98) + `)*`, `(?:(?:a?){255})*`, `(?:(?:a?a?a?a?a?a?a?a?){11})*`,
	} {
		settings := weirtest.Object{"counts": weirtest.Object{"pattern": pattern}}
		refusal := weirtest.WantSQLState(t, weirtest.TryExec(s.DB, "select weir.set_breaker('b', $1)", settings), "WR010")
		if refusal.ColumnName != "counts.pattern" {
			t.Errorf("SQL refuses %q of %s", refusal.ColumnName, pattern)
		}
		s.Do(http.MethodPut, "/v1/breakers/b", settings).Problem(http.StatusUnprocessableEntity, "invalid_argument")
	}
	for pattern, message := range map[string]string{
		`a\\1`: `a\1`, `(?i)timeout|(?:5[0-9]{2})`: "TIMEOUT", `^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`: "0f8fad5b-d9cb-469f-a165-70867728950e",
		`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}`: "at 2026-01-31T09:30:00Z", `a{0,255}b`: "b", `((25[0-5]|[0-9]{1,3})[.]){3}[0-9]{1,3}`: "connect to 10.0.0.1",
	} {
		name := fmt.Sprintf("b%d", len(pattern))
		weirtest.Exec(t, s.DB, "select weir.set_breaker($1, $2)", name, weirtest.Object{"failure_threshold": 1, "counts": weirtest.Object{"pattern": pattern}})
		weirtest.Exec(t, s.DB, "select weir.report_breaker($1, 'failure', $2)", name, weirtest.Object{"message": message})
		if state := weirtest.Value[string](t, s.DB, "select state from weir.breakers where breaker = $1", name); state != "open" {
			t.Errorf("after the message %q the breaker for %s is %s", message, pattern, state)
		}
	}

	// The patterns of a statement share a time. Here it ends long before the last message, though none matches: what is left counts as failed.
	weirtest.Exec(t, s.DB, "select weir.set_breaker('slow', $1)", weirtest.Object{"failure_threshold": 1000000, "counts": weirtest.Object{
		"pattern": `.*a` + strings.Repeat(".", 190) + "x", "except_types": []string{"Ignored"},
	}})
	counted := func(kind string) int {
		return weirtest.Value[int](t, s.DB, `select count(*) from unnest((select weir.counted_failures(array_agg(b.id), array_agg(jsonb_build_object('type', $1::text, 'message',
				(select string_agg(md5(m || ' ' || i), '') from generate_series(1, 31) i))))
			from weir.breaker b cross join generate_series(1, 5000) m where b.name = 'slow')) c where c`, kind)
	}
	if n := counted("Any"); n == 0 || n == 5000 {
		t.Errorf("%d of 5000 failures counted, want some", n)
	}
	if n := counted("Ignored"); n != 0 {
		t.Errorf("%d failures counted whose type is excepted", n)
	}

	// Only the beginning of a message is matched.
	weirtest.Exec(t, s.DB, "select weir.set_breaker('long', $1)", weirtest.Object{"failure_threshold": 1, "counts": weirtest.Object{"pattern": "end"}})
	for _, c := range []struct {
		before int
		state  string
	}{{2000, "closed"}, {900, "open"}} {
		weirtest.Exec(t, s.DB, "select weir.report_breaker('long', 'failure', $1)", weirtest.Object{"message": strings.Repeat("a", c.before) + "end"})
		if state := weirtest.Value[string](t, s.DB, "select state from weir.breakers where breaker = 'long'"); state != c.state {
			t.Errorf("after a message with the word at %d the breaker is %s, want %s", c.before, state, c.state)
		}
	}
}
