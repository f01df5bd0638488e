package api

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

func treeOf(a *API, text, schema string) (any, *bodyTree) {
	b := &bodyTree{text: []byte(text), schemas: a.schemas()}
	return b.value(a.schemas().Map()[schema], 0), b
}

func TestBodyTreeLeavesOutPayloads(t *testing.T) {
	t.Parallel()
	a := describe(Config{})
	text := ` { "kind" : "a\u00e9\"b" ,"args":{"x":[1,{"y":"}]\\\""}],"x":2}, "priority":-5e-1, "max_attempts":1e999,
		"retry":{"strategy":null,"jitter":true,"max_seconds":3},"tags":[ "ü" , "t\\" ,3,[]] ,"unknown":[{"deep":1}], "metadata":{"m":{"a":1}}}  `
	got, b := treeOf(a, text, "NewJob")
	inf := got.(map[string]any)["max_attempts"].(float64)
	if inf < 1e308 {
		t.Errorf("1e999 became %g", inf)
	}
	delete(got.(map[string]any), "max_attempts")
	want := map[string]any{
		"kind": "aé\"b", "args": true, "priority": -0.5, "retry": map[string]any{"strategy": nil, "jitter": true, "max_seconds": 3.0},
		"tags": []any{"ü", "t\\", 3.0, []any{}}, "unknown": true, "metadata": map[string]any{"m": true},
	}
	if !reflect.DeepEqual(got, want) || len(b.problems) > 0 {
		t.Errorf("%#v", got)
	}
	for text, want := range map[string]any{`"a"`: "a", ` 3 `: 3.0, `null`: nil, `[]`: []any{}, `[ {"kind" : 1} , 2]`: []any{true, true}, `{}`: map[string]any{}} {
		if got, _ := treeOf(a, text, "NewJob"); !reflect.DeepEqual(got, want) {
			t.Errorf("%s became %#v", text, got)
		}
	}
}

func TestRepeatedNameIsRefused(t *testing.T) {
	t.Parallel()
	a := describe(Config{})
	if _, err := decode[jobs.NewJob](context.Background(), a, []byte(`{"kind": "a", "k\u0069nd": "b"}`)); err == nil {
		t.Error("it is taken")
	}
	if _, err := decode[jobs.NewJob](context.Background(), a, []byte(`{"kind": "a", "args": {"x": 1, "x": 2}}`)); err != nil {
		t.Errorf("in args, which may be anything: %v", err)
	}
}

func TestPayloadsAreKeptAsTheyCame(t *testing.T) {
	t.Parallel()
	a := describe(Config{})
	for _, payload := range []string{
		`123456789012345678901234567890.123456789`, `1e999`, `-0.0`, `null`, `"<ü&>\u2028\ud83d\ude00😀"`, `{"b":1,"a":[ 1 , 2 ]}`, `{"x":1,"x":2}`, `{"Kind":"kind"}`,
		strings.Repeat("[", 100) + strings.Repeat("]", 100),
	} {
		job, err := decode[jobs.NewJob](context.Background(), a, []byte(`{"kind":"a","args":`+payload+`}`))
		if err != nil || string(job.Args) != payload {
			t.Errorf("%.50s: %v", payload, err)
		}
		batch, err := decode[AckBatch](context.Background(), a, []byte(`{"acks":[{"id":"1","token":"1","outcome":"complete","result":`+payload+`}]}`))
		if err != nil || string(batch.Acks[0].Result) != payload {
			t.Errorf("%.50s: %v", payload, err)
		}
	}
}

// FuzzBodyTree checks that a walk reads valid JSON to its very end, and agrees with encoding/json where the schema leaves nothing open.
func FuzzBodyTree(f *testing.F) {
	for _, text := range []string{
		`{"a":1,"b":[{"c":"\"}\\"},[],{}],"d":{"e":null}}`, ` [ "\u00e9" , -1.5e+3 , true , false ] `, `{"b":[{"c":"x"},1],"c":"\\"}`, `"\ud800"`, `{"":{},"a":[[[]]]}`, `-0`,
	} {
		f.Add(text)
	}
	all := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{}}
	all.Items = all
	for _, name := range []string{"", "a", "b", "c", "d", "e"} {
		all.Properties[name] = all
	}
	some := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{"a": {}, "b": all, "d": {Type: huma.TypeString}}}
	f.Fuzz(func(t *testing.T, text string) {
		if malformed(context.Background(), []byte(text)) != nil {
			return
		}
		for _, schema := range []*huma.Schema{all, some, {}} {
			for _, walkOnly := range []bool{false, true} {
				b := &bodyTree{text: []byte(text), walkOnly: walkOnly}
				tree := b.value(schema, 0)
				b.space()
				if b.at != len(text) {
					t.Fatalf("%q: stopped at byte %d", text, b.at)
				}
				var want any
				if schema == all && !walkOnly && len(b.problems) == 0 && json.Unmarshal([]byte(text), &want) == nil && onlyNames(want, all.Properties) && !reflect.DeepEqual(tree, want) {
					t.Fatalf("%q: %#v", text, tree)
				}
			}
		}
	})
}

// onlyNames says whether a tree has no names but these.
func onlyNames(tree any, names map[string]*huma.Schema) bool {
	switch tree := tree.(type) {
	case []any:
		for _, v := range tree {
			if !onlyNames(v, names) {
				return false
			}
		}
	case map[string]any:
		for name, v := range tree {
			if names[name] == nil || !onlyNames(v, names) {
				return false
			}
		}
	}
	return true
}

// A few bytes would become megabytes when PostgreSQL writes them out.
func TestHugeExponentsAreRefused(t *testing.T) {
	t.Parallel()
	a := describe(Config{})
	for args, refused := range map[string]bool{`1e1003`: true, `[{"x": -1.5E+131071}]`: true, `1E-1002`: true, `1e999`: false, `[true, 1e9, "2e9999", {"3e9999": 1}]`: false} {
		if _, err := decode[jobs.NewJob](context.Background(), a, []byte(`{"kind": "a", "args": `+args+`}`)); (err != nil) != refused {
			t.Errorf("%s: %v", args, err)
		}
	}
}
