package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"
	quick "github.com/goccy/go-json"

	"github.com/weirhq/weir/jobs"
)

// FuzzBodiesAreReadAlike sees to it that what the quick decoder takes, the standard one takes too, for the same; and that both write the same of it.
func FuzzBodiesAreReadAlike(f *testing.F) {
	a := describe(Config{})
	types := []reflect.Type{reflect.TypeFor[map[string]json.RawMessage]()}
	for t := range a.bodies {
		types = append(types, t)
	}
	slices.SortFunc(types, func(a, b reflect.Type) int { return strings.Compare(a.String(), b.String()) })
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
		for _, kind := range types {
			got := reflect.New(kind)
			if quick.Unmarshal([]byte(text), got.Interface()) != nil {
				continue // and the standard decoder has the last word
			}
			want := reflect.New(kind)
			if err := json.Unmarshal([]byte(text), want.Interface()); err != nil {
				t.Fatalf("%s of %q: %v", kind, text, err)
			}
			if !reflect.DeepEqual(got.Interface(), want.Interface()) {
				t.Fatalf("%s of %q: %+v and not %+v", kind, text, got.Elem(), want.Elem())
			}
			alike(t, got.Interface())
		}
	})
}

func TestAnswersAreWrittenAsTheStandardLibraryDoes(t *testing.T) {
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
	job.Kind, job.Args, job.Tags = "<&>\u2028\x01\xff\"\\/\u007f", json.RawMessage(`"<&>\u2028 😀 \ud800"`), nil
	alike(t, ClaimedJobs{Jobs: []jobs.ClaimedJob{job}})
	alike(t, ClaimedJobs{})
}

func alike(t *testing.T, v any) {
	t.Helper()
	var got, want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatalf("%+v: %v", v, err)
	}
	if err := jsonFormat.Marshal(&got, v); err != nil || got.String() != want.String() {
		t.Fatalf("wrote %q and not %q: %v", got.Bytes(), want.Bytes(), err)
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
