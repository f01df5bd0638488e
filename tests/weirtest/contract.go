//go:build unix

package weirtest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// largestChecked bounds the answers that are checked: long lists have the same items as short ones.
const largestChecked = 256 << 10

// Contract is an OpenAPI document of version 3.1, whose schemas are JSON Schemas.
type Contract struct {
	routes   *http.ServeMux // only finds the operation of a call
	tree     Object
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema // compiled, by pointer
}

// NewContract reads a document. It is stricter than the document in one way: an answer may have only the fields that its schema names, so that
// none has a field that clients do not know.
func NewContract(document []byte) (*Contract, error) {
	tree, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	c := &Contract{routes: http.NewServeMux(), tree: tree.(Object), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	for path, item := range c.tree["paths"].(Object) {
		for method := range item.(Object) {
			c.routes.Handle(strings.ToUpper(method)+" "+path, http.NotFoundHandler())
		}
	}
	for name, schema := range c.tree["components"].(Object)["schemas"].(Object) {
		if name != "JobError" { // workers give what they like
			closeObjects(schema.(Object))
		}
	}
	c.compiler.AssertFormat()
	return c, c.compiler.AddResource("openapi.json", c.tree)
}

// closeObjects refuses fields that a schema does not name.
func closeObjects(schema Object) {
	properties, ok := schema["properties"].(Object)
	if _, said := schema["additionalProperties"]; ok && !said {
		schema["additionalProperties"] = false
	}
	for _, property := range properties {
		closeObjects(property.(Object))
	}
}

// Conforms says how an answer to a call differs from the contract.
func (c *Contract) Conforms(method, path string, r *Response) error {
	request, err := http.NewRequestWithContext(context.Background(), method, path, nil)
	if err != nil {
		return nil // no path that the service could know
	}
	_, pattern := c.routes.Handler(request)
	method, path, ok := strings.Cut(pattern, " ")
	if !ok || len(r.Body) > largestChecked {
		return nil
	}
	op := c.tree["paths"].(Object)[path].(Object)[strings.ToLower(method)].(Object)
	status, ok := described(op["responses"].(Object), r.Status)
	if !ok {
		return fmt.Errorf("the status %d is not described", r.Status)
	}
	response := op["responses"].(Object)[status].(Object)
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	content, _ := response["content"].(Object)
	if len(r.Body) == 0 && len(content) == 0 {
		return nil
	}
	if _, ok := content[kind]; !ok {
		return fmt.Errorf("the type %q is not described for status %d", kind, r.Status)
	}
	if !strings.Contains(kind, "json") || strings.Contains(kind, "ndjson") {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.Body))
	if err != nil {
		return err
	}
	if problem, ok := value.(Object); ok && status == "default" && !slices.Contains(op["x-weir-problems"].([]any), problem["code"]) {
		return fmt.Errorf("the problem %v is not described", problem["code"])
	}
	return c.Check(pointer("paths", path, strings.ToLower(method), "responses", status, "content", kind, "schema"), value)
}

// Check says how a value differs from the schema at a place of the document.
func (c *Contract) Check(pointer string, value any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	schema := c.schemas[pointer]
	if schema == nil {
		var err error
		if schema, err = c.compiler.Compile("openapi.json#" + pointer); err != nil {
			return err
		}
		c.schemas[pointer] = schema
	}
	return schema.Validate(value)
}

// described finds the entry for a status: its own, that of its hundred, or default.
func described(responses Object, status int) (string, bool) {
	for _, name := range []string{strconv.Itoa(status), strconv.Itoa(status/100) + "XX"} {
		if responses[name] != nil {
			return name, true
		}
	}
	return "default", status >= 400 && responses["default"] != nil
}

// pointer is a JSON pointer, as a part of a URL.
func pointer(steps ...string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	text := ""
	for _, step := range steps {
		text += "/" + escape.Replace(step)
	}
	return text
}

// served is the contract of the program that this run tests, read from the first node that is asked.
var served struct {
	mu sync.Mutex
	it *Contract
}

// contract returns the contract, or nil if the node cannot be asked now.
func (s *Node) contract() *Contract {
	s.T.Helper()
	served.mu.Lock()
	defer served.mu.Unlock()
	if served.it != nil {
		return served.it
	}
	answer, err := s.Client.Get(s.URL + "/openapi.json") //nolint:noctx // a short call, which outlives no test
	if err != nil {
		return nil
	}
	defer answer.Body.Close()
	document, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return nil
	}
	if served.it, err = NewContract(document); err != nil {
		s.T.Errorf("reading the OpenAPI document: %v", err)
	}
	return served.it
}

// checkAnswer fails the test if an answer differs from the contract.
func (s *Node) checkAnswer(r *http.Request, answer *Response) {
	s.T.Helper()
	if !strings.HasPrefix(r.URL.Path, "/v1/") && r.URL.Path != "/livez" && r.URL.Path != "/readyz" {
		return
	}
	if c := s.contract(); c != nil {
		if err := c.Conforms(r.Method, r.URL.RequestURI(), answer); err != nil {
			s.T.Errorf("an answer is not what the OpenAPI document says: %v\n%v", err, answer)
		}
	}
}
