package key

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

// hostile are values that go where a document promises others.
var hostile = []string{
	`null`, `true`, `0`, `-1`, `1.5`, `1e400`, `-1e-400`, `99999999999999999999`, `9223372036854775807`, `2147483648`, `NaN`, `""`, `" "`, `"\u0000"`,
	`"\ud800"`, `"a\u0000b"`, `"'; drop table weir.job; --"`, `"%s%n{}$1\\"`, `"../../etc/passwd"`, `"."`, `".."`, `"٣"`, `"9999-12-31T23:59:60Z"`,
	`"0000-01-01T00:00:00Z"`, `"2026-02-30T00:00:00+99:99"`, `[]`, `{}`, `[null]`, `[[[[[[]]]]]]`, `{"": ""}`, `{"a": 1, "a": 2}`, `{"principal": 1}`,
	`"` + strings.Repeat("x", 5000) + `"`, strings.Repeat("[", 200) + strings.Repeat("]", 200), `[1e131071, 1e131071]`,
}

// hostileText are values of a path, a query or a header.
var hostileText = []string{
	"0", "-1", "1", "4711", "99999999999999999999", "9223372036854775808", "..", ".", "%00", "%ff", "%2e%2e%2f", "*", "'", "\"", "a%20b", "%F0%9F%92%A9", "null",
	"true", "1e3", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00Z", "none", "0x1F", "a,b", "a%2Cb", strings.Repeat("x", 300), strings.Repeat("9", 400), "%5B%5D", "%7B%7D",
}

// target is an operation to which requests are sent.
type target struct {
	operation
	query   []string
	example any // of its body
}

func targets(t *testing.T, s *weirtest.Node) (all []target) {
	t.Helper()
	document := weirtest.Decode[struct {
		Paths map[string]map[string]struct {
			Parameters  []struct{ Name, In string }
			RequestBody struct {
				Content map[string]struct{ Example any }
			}
		}
	}](s.Get("/openapi.json").Want(http.StatusOK))
	for _, o := range operations(t, s) {
		in := document.Paths[o.Path][strings.ToLower(o.Method)]
		one := target{operation: o, example: in.RequestBody.Content["application/json"].Example}
		for _, p := range in.Parameters {
			if p.In == "query" {
				one.query = append(one.query, p.Name)
			}
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b target) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// malformed makes a request that differs from a good one in a few places.
func (o target) malformed(r *rand.Rand) (method, path, body string) {
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	method = o.Method
	path = parameter.ReplaceAllStringFunc(o.Path, func(string) string { return pick(hostileText) })
	if r.IntN(3) == 0 {
		var query []string
		for range 1 + r.IntN(3) {
			name := pick(append([]string{"no_such_parameter"}, o.query...))
			query = append(query, name+"="+pick(hostileText))
		}
		path += "?" + strings.Join(query, "&")
	}
	if o.example != nil {
		body = string(mutated(r, o.example))
	}
	switch r.IntN(20) {
	case 0: // cut off
		body = body[:r.IntN(len(body)+1)]
	case 1: // a byte is another
		if text := []byte(body); len(text) > 0 {
			text[r.IntN(len(text))] = byte(r.IntN(256))
			body = string(text)
		}
	case 2:
		body = pick(hostile)
	case 3:
		method = pick([]string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "X"})
	}
	return method, path, body
}

// mutated writes a value with about one part in four replaced, left out, or beside a stranger.
func mutated(r *rand.Rand, value any) []byte {
	if r.IntN(6) == 0 {
		return []byte(hostile[r.IntN(len(hostile))])
	}
	var text bytes.Buffer
	switch v := value.(type) {
	case map[string]any:
		text.WriteByte('{')
		write := func(name string, value []byte) {
			if text.Len() > 1 {
				text.WriteByte(',')
			}
			quoted, _ := json.Marshal(name)
			text.Write(quoted)
			text.WriteByte(':')
			text.Write(value)
		}
		for name, part := range v {
			switch r.IntN(10) {
			case 0:
			case 1:
				write(name, mutated(r, part))
				write(name, mutated(r, part))
			default:
				write(name, mutated(r, part))
			}
		}
		if r.IntN(8) == 0 {
			write("stranger", []byte(hostile[r.IntN(len(hostile))]))
		}
		text.WriteByte('}')
	case []any:
		text.WriteByte('[')
		for i, part := range v {
			if i > 0 {
				text.WriteByte(',')
			}
			text.Write(mutated(r, part))
		}
		text.WriteByte(']')
	default:
		whole, _ := json.Marshal(v)
		text.Write(whole)
	}
	return text.Bytes()
}

// TestMalformedRequestsAreAnswered sends malformed requests to every operation, made of the OpenAPI document: as an admin,
// where none may be answered with 500, and without a key, where none may be answered with anything of weir's.
// WEIR_TEST_REQUESTS says how many; WEIR_TEST_SEED repeats a run.
func TestMalformedRequestsAreAnswered(t *testing.T) {
	weirtest.Long(t, "ten thousand malformed requests")
	t.Parallel()
	requests, err := strconv.Atoi(os.Getenv("WEIR_TEST_REQUESTS"))
	if err != nil {
		requests = 10_000
	}
	seed, err := strconv.ParseUint(os.Getenv("WEIR_TEST_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("WEIR_TEST_SEED=%d", seed)
	s := weirtest.StartNodeWithAuth(t)
	all := targets(t, s)
	var sent, answered atomic.Int64
	statuses := make([]atomic.Int64, 600)
	var senders sync.WaitGroup
	for worker := range 8 {
		senders.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(worker)))
			for sent.Add(1) <= int64(requests) {
				o := all[r.IntN(len(all))]
				method, path, body := o.malformed(r)
				if strings.Contains(path, "/v1/events") && r.IntN(20) > 0 {
					continue // a stream takes time
				}
				caller := s
				if r.IntN(4) == 0 {
					caller = s.As("")
				}
				answer, err := sendRaw(t.Context(), caller, method, path, body)
				if err != nil {
					continue // it waits, or the client itself refuses to send it
				}
				answered.Add(1)
				statuses[answer.Status].Add(1)
				switch {
				case answer.Status >= 500 && answer.Status != http.StatusServiceUnavailable && answer.Status != http.StatusNotImplemented:
					t.Errorf("seed %d: %s %s\n%s\n%v", seed, method, path, body, answer)
				case caller.Key == "" && answer.Status < 400 && !slices.Contains([]string{"/livez", "/readyz"}, o.Path):
					t.Errorf("seed %d: without a key: %s %s\n%s\n%v", seed, method, path, body, answer)
				}
			}
		})
	}
	senders.Wait()
	var counts []string
	for status := range statuses {
		if n := statuses[status].Load(); n > 0 {
			counts = append(counts, fmt.Sprintf("%d: %d", status, n))
		}
	}
	t.Logf("%d of %d requests were answered: %s", answered.Load(), requests, strings.Join(counts, ", "))
	if answered.Load() < int64(requests)/2 {
		t.Error("most requests had no answer")
	}
	s.Get("/v1/whoami").Want(http.StatusOK)
}

// sendRaw sends a path as it is written.
func sendRaw(ctx context.Context, s *weirtest.Node, method, path, body string) (*weirtest.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, err
	}
	u.Opaque = "//" + u.Host + path
	request, err := http.NewRequestWithContext(ctx, method, s.URL, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.URL = u
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	return s.SendRequest(request)
}
