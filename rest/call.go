package rest

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Call is a request to the service.
type Call struct {
	Method string
	Path   string // of Path, or a constant
	Query  url.Values
	Header http.Header
	Body   any           // sent as JSON; nil: none
	Wait   time.Duration // how long the call asks the service to wait before it answers
}

// Get is a call that reads.
func Get(path string) Call { return Call{Method: http.MethodGet, Path: path} }

// Post is a call that acts.
func Post(path string, body any) Call { return Call{Method: http.MethodPost, Path: path, Body: body} }

// Delete is a call that removes.
func Delete(path string) Call { return Call{Method: http.MethodDelete, Path: path} }

// With adds a parameter to the query, unless it is empty.
func (c Call) With(name, value string) Call {
	if value == "" {
		return c
	}
	query := url.Values{name: {value}}
	for name, values := range c.Query {
		query[name] = append(values[:len(values):len(values)], query[name]...)
	}
	c.Query = query
	return c
}

// Path joins segments below /v1. A segment may be any text: a name with a slash in it stays one segment, and so do the
// names "." and "..", which HTTP clients and servers would otherwise resolve.
func Path(segments ...string) string {
	var path strings.Builder
	path.WriteString("/v1")
	for _, segment := range segments {
		path.WriteByte('/')
		if segment == "." || segment == ".." {
			path.WriteString(strings.ReplaceAll(segment, ".", "%2E"))
		} else {
			path.WriteString(url.PathEscape(segment))
		}
	}
	return path.String()
}
