package api

import (
	"context"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/weirhq/weir/jobs"
)

// parameters are those of one operation, outside its body.
type parameters struct {
	places  map[string]string // by name: query.limit, path.name, header.Last-Event-ID
	query   queryForm
	hasBody bool
	body    map[string]bool // the names of the body
}

func (a *API) parametersOf(input, body reflect.Type) *parameters {
	p := &parameters{places: map[string]string{}, hasBody: body != nil, body: map[string]bool{}}
	for _, field := range reflect.VisibleFields(input) {
		for _, in := range []string{"path", "query", "header"} {
			tag, ok := field.Tag.Lookup(in)
			if !ok {
				continue
			}
			name, _, _ := strings.Cut(tag, ",")
			p.places[name] = in + "." + name
			if in != "query" {
				continue
			}
			switch {
			case field.Type == reflect.TypeFor[time.Time]():
				p.query.times = append(p.query.times, name)
			case field.Type.Kind() == reflect.Slice:
				p.query.lists = append(p.query.lists, name)
			case name == "args":
				p.query.args = true
			}
		}
	}
	if body != nil {
		for name := range a.bodies[body].Properties {
			p.body[name] = true
		}
	}
	return p
}

// place is where in a request the engine's field is, or "" if the request has no such value.
func (p *parameters) place(field string) string {
	if inQuery, ok := strings.CutPrefix(field, "filter."); ok && !p.hasBody {
		field = inQuery
	}
	first, _, _ := strings.Cut(field, ".")
	first, _, _ = strings.Cut(first, "[")
	switch place, isParameter := p.places[field]; {
	case field == "":
		return ""
	case isParameter && !p.body[first]:
		return place
	case p.hasBody:
		return "body." + field
	}
	return ""
}

// missing is the problem of an id that is too large for any object: the engine could not name it.
func missing(ctx context.Context, digits string, code jobs.Code, what string) *Problem {
	if _, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return nil
	}
	return newProblem(ctx, code, "there is no "+what+" "+digits)
}

// pathProblem refuses a path with text that no name can have.
func pathProblem(ctx context.Context, r *http.Request) *Problem {
	message := textProblem(r.URL.Path)
	if message == "" {
		return nil
	}
	place := "path"
	given := strings.Split(r.URL.Path, "/")
	for i, part := range strings.Split(routeOf(r), "/") {
		if i < len(given) && textProblem(given[i]) != "" {
			place = "path." + strings.Trim(part, "{}")
		}
	}
	return invalidAt(ctx, place, message)
}

// headerProblem refuses text in the headers that weir stores or looks up.
func headerProblem(ctx context.Context, r *http.Request) *Problem {
	for _, name := range []string{"Idempotency-Key", "Last-Event-ID"} {
		if message := textProblem(r.Header.Get(name)); message != "" {
			return invalidAt(ctx, "header."+name, message)
		}
	}
	return nil
}
