package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/weirhq/weir/jobs"
)

// queryForm is what is known of the query parameters of an operation.
type queryForm struct {
	times []string // those that are times
	lists []string // those that may be given several times
	args  bool     // args.path=value is taken
}

// readQuery checks a query, and writes it in the one form that huma reads: a=1&a=2 becomes a=1,2, and args.customer.id=42 becomes
// args={"customer":{"id":42}}.
func readQuery(r *http.Request, form queryForm) *Problem {
	if r.URL.RawQuery == "" {
		return nil
	}
	ctx := r.Context()
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return invalidAt(ctx, "query", "is malformed")
	}
	changed := false
	for _, name := range form.lists {
		if given := values[name]; len(given) > 1 && !slices.Contains(given, "") {
			values[name], changed = []string{strings.Join(given, ",")}, true
		}
	}
	if p := badQuery(ctx, values, form.times); p != nil {
		return p
	}
	if form.args {
		joined, p := joinArgs(ctx, values)
		if p != nil {
			return p
		}
		changed = changed || joined
	}
	if changed {
		r.URL.RawQuery = values.Encode()
	}
	return nil
}

// badQuery refuses what huma ignores, as a list without one of its filters has everything, and times in a form that bodies do not take.
func badQuery(ctx context.Context, values url.Values, times []string) *Problem {
	var errs []ProblemError
	for name, given := range values {
		switch {
		case len(given) > 1:
			errs = append(errs, ProblemError{"query." + name, "is given more than once"})
		case given[0] == "" && name != "cursor": // an empty cursor is the first page's
			errs = append(errs, ProblemError{"query." + name, "is empty: leave it out"})
		case textProblem(given[0]) != "":
			errs = append(errs, ProblemError{"query." + name, textProblem(given[0])})
		case textProblem(name) != "":
			errs = append(errs, ProblemError{"query", "has a parameter whose name " + textProblem(name)})
		case slices.Contains(times, name) && timeProblem(given[0]) != "":
			errs = append(errs, ProblemError{"query." + name, timeProblem(given[0])})
		}
	}
	if len(errs) > 0 {
		return newProblem(ctx, jobs.InvalidArgument, "the request is not valid", errs...)
	}
	return nil
}

const argsPrefix = "args."

// joinArgs replaces the paths into args in a query by one object.
func joinArgs(ctx context.Context, values url.Values) (joined bool, p *Problem) {
	var paths []string
	for name := range values {
		if strings.HasPrefix(name, argsPrefix) {
			paths = append(paths, name)
		}
	}
	if len(paths) == 0 {
		return false, nil
	}
	slices.Sort(paths) // so that the same problem is named each time
	args := map[string]any{}
	for _, name := range paths {
		if values.Has("args") {
			return false, invalidAt(ctx, "query."+name, "cannot be combined with args")
		}
		if !setPath(args, strings.Split(strings.TrimPrefix(name, argsPrefix), "."), argsValue(values.Get(name))) {
			return false, invalidAt(ctx, "query."+name, "leads into a value that another path gives")
		}
		values.Del(name)
	}
	text, err := json.Marshal(args)
	if err != nil {
		return false, invalidAt(ctx, "query.args", "cannot be read")
	}
	values.Set("args", string(text))
	return true, nil
}

// setPath sets a value inside of an object. It returns false if something else is there.
func setPath(object map[string]any, path []string, value any) bool {
	for ; len(path) > 1; path = path[1:] {
		if _, exists := object[path[0]]; !exists {
			object[path[0]] = map[string]any{}
		}
		inner, isObject := object[path[0]].(map[string]any)
		if !isObject {
			return false
		}
		object = inner
	}
	if _, exists := object[path[0]]; exists {
		return false
	}
	object[path[0]] = value
	return true
}

// argsValue reads the value of a path into args: as JSON, unless it is none or would be an object or an array.
func argsValue(text string) any {
	if json.Valid([]byte(text)) && !strings.ContainsAny(text[:1], "{[") {
		return json.RawMessage(text)
	}
	return text
}
