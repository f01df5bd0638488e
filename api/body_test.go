package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
	v2 "github.com/go-json-experiment/json"

	"github.com/weirhq/weir/jobs"
)

// bodyTypes are the Go types of all bodies.
func bodyTypes(a *API) (types []reflect.Type) {
	for t := range a.bodies {
		types = append(types, t)
	}
	slices.SortFunc(types, func(a, b reflect.Type) int { return strings.Compare(a.String(), b.String()) })
	return types
}

// FuzzBodies checks that what passes as JSON is JSON to encoding/json too, that both read the same from it, and that a batch is split into its jobs.
func FuzzBodies(f *testing.F) {
	a := describe(Config{})
	types := bodyTypes(a)
	for _, path := range a.huma.OpenAPI().Paths {
		for _, operation := range operationsOf(path) {
			if operation.RequestBody != nil && operation.RequestBody.Content["application/json"] != nil {
				text, err := json.Marshal(operation.RequestBody.Content["application/json"].Example)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(string(text))
			}
		}
	}
	for _, text := range []string{
		``, `null`, `{}x`, `{"kind": "a\u00e9\ud800\"b", "args": {"x": [1, {"y": "}]\\\""}]}}`, "{\"kind\": \"\x01\"}", "{\"kind\": \"\xff\", \"Args\": \"\xff\"}", `{"priority": 1e0}`, `{"priority": 5.0}`, `{"kind":"a","KIND":"b"}`,
		`{"acks":[{"id":"1","token":"01","outcome":"fail","error":null,"retry":false,"delay_seconds":1e400},null]}`, `{"acks":[{"id":1}]}`, `{"acks":[{"id":"9223372036854775808"}]}`, `{"acks":[{"result":null},{"result":[1,]}]}`,
		`{"run_at": "2026-02-30T00:00:00Z"}`, `{"run_at": "2026-02-03T04:05:06.789+01:00", "tags": ["a", null], "parent_id": ""}`, `{"jobs":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`,
		`{"worker":"w","queues":["a"],"limit":-0,"wait_seconds":0.1e1}`, `{"\u006bind":"a"}`, `{"kind":"\u2028\u2029<>&"}`, "{\"args\":\"\\ud83d\\ude00\u2028<\"}", `{"limit":01}`, `{"limit":+1}`, `{"limit":1.}`, `{"limit":tru}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ctx := context.Background()
		if malformed(ctx, []byte(text)) != nil {
			return
		}
		if !json.Valid([]byte(text)) {
			t.Fatalf("%q is not JSON", text)
		}
		for _, kind := range types {
			readAlike(t, kind, text)
		}
		batch, err := readBatch(ctx, a, []byte(text))
		if err != nil {
			return
		}
		var want map[string][]json.RawMessage
		if err := json.Unmarshal([]byte(text), &want); err != nil || len(want) != 1 || len(batch) != len(want["jobs"]) {
			t.Fatalf("%q was split into %d jobs: %v", text, len(batch), err)
		}
		for i, job := range want["jobs"] {
			if string(job) != string(batch[i]) {
				t.Fatalf("%q: job %d is %q and not %q", text, i, batch[i], job)
			}
		}
	})
}

// readAlike checks what a text becomes in a Go type, if its names are exact and not repeated: encoding/json takes names of another case.
func readAlike(t *testing.T, kind reflect.Type, text string) {
	t.Helper()
	got, want := reflect.New(kind), reflect.New(kind)
	if v2.Unmarshal([]byte(text), got.Interface(), v2.RejectUnknownMembers(true)) != nil {
		return
	}
	if err := json.Unmarshal([]byte(text), want.Interface()); err != nil {
		t.Fatalf("%s of %q: %v", kind, text, err)
	}
	if !reflect.DeepEqual(got.Interface(), want.Interface()) {
		t.Fatalf("%s of %q: %+v and not %+v", kind, text, got.Elem(), want.Elem())
	}
	again := reflect.New(kind)
	if v2.Unmarshal([]byte(text), again.Interface(), jsonOptions) != nil || !reflect.DeepEqual(again.Interface(), got.Interface()) {
		t.Fatalf("%s of %q: %+v and not %+v", kind, text, again.Elem(), got.Elem())
	}
}

func TestAnswersMatchEncodingJSON(t *testing.T) {
	t.Parallel()
	a := describe(Config{})
	n := 0
	for _, path := range a.huma.OpenAPI().Paths {
		for _, operation := range operationsOf(path) {
			for _, response := range operation.Responses {
				if media := response.Content["application/json"]; media != nil {
					alike(t, media.Example)
					n++
				}
			}
		}
	}
	if n < 50 {
		t.Errorf("there were %d answers", n)
	}
	job := exampleClaimedJob()
	job.Kind, job.Args, job.Tags, job.Degraded = "<&>\u2028\x01\xff\"\\/\u007f", json.RawMessage(`"<&>\u2028 😀 \ud800"`), []string{"a", "\t"}, true
	job.Dependencies = json.RawMessage(`{"reserve": {"shelf": 7}}`)
	alike(t, ClaimedJobs{Jobs: []jobs.ClaimedJob{job, exampleClaimedJob()}})
	alike(t, ClaimedJobs{Jobs: []jobs.ClaimedJob{}, Reason: jobs.RefusedAtCapacity})
}

// alike checks that an answer is what encoding/json makes of it, but for the form of strings and spaces.
func alike(t *testing.T, v any) {
	t.Helper()
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("%+v: %v", v, err)
	}
	var text bytes.Buffer
	if err := writeJSON(&text, v); err != nil {
		t.Fatalf("%+v: %v", v, err)
	}
	var gotTree, wantTree any
	if err := errors.Join(json.Unmarshal(text.Bytes(), &gotTree), json.Unmarshal(want, &wantTree)); err != nil || !reflect.DeepEqual(gotTree, wantTree) {
		t.Fatalf("wrote %q and not %q: %v", text.Bytes(), want, err)
	}
}

func init() { rules["unencodable"] = rule{} }

func TestAnswerThatCannotBeEncodedIsAProblem(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]any{
		"hot":  ClaimedJobs{Jobs: []jobs.ClaimedJob{{LeaseExpiresAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}}},
		"cold": jobs.Job{CreatedAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			a := newTestAPI(t, &log)
			type output struct{ Body any }
			register(a, huma.Operation{OperationID: "unencodable", Method: http.MethodGet, Path: "/test"}, documented{}, func(context.Context, *struct{}) (*output, error) {
				return &output{answer}, nil
			})
			if _, p := ask(t, a, "GET", "/test", ""); p.Code != jobs.Internal {
				t.Errorf("%+v", p)
			}
			if !strings.Contains(log.String(), "encoding the answer") {
				t.Errorf("the log says %s", log.String())
			}
		})
	}
}

func operationsOf(p *huma.PathItem) (all []*huma.Operation) {
	for _, o := range []*huma.Operation{p.Get, p.Post, p.Put, p.Patch, p.Delete} {
		if o != nil {
			all = append(all, o)
		}
	}
	return all
}
