//go:build unix

package weirtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Document is the parts of an OpenAPI document that client generators read.
type Document struct {
	OpenAPI string
	Info    struct{ Title, Version string }
	Paths   map[string]map[string]DocumentOperation
	Tree    Object // all of it, to follow references
}

// DocumentOperation is an operation of a Document.
type DocumentOperation struct {
	OperationID string
	Problems    []string `json:"x-weir-problems"` // the codes that it may answer with
	RequestBody *struct{ Content map[string]DocumentContent }
	Responses   map[string]DocumentResponse
}

// DocumentResponse is a response of an operation.
type DocumentResponse struct {
	Ref     string `json:"$ref"`
	Content map[string]DocumentContent
}

// DocumentContent is a body of an operation, for one media type.
type DocumentContent struct {
	Schema   Object
	Example  any
	Examples Object
}

// Document returns an OpenAPI document of this node.
func (s *Node) Document(path string) Document {
	s.T.Helper()
	r := s.Get(path).Want(http.StatusOK)
	if kind := r.Header.Get("Content-Type"); kind != "application/json" {
		s.T.Errorf("%s is %s", path, kind)
	}
	d := Decode[Document](r)
	d.Tree = Decode[Object](r)
	return d
}

// Follow returns what a reference of the document points to.
func (d Document) Follow(ref string) (any, bool) {
	var at any = d.Tree
	for step := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		object, _ := at.(Object)
		if at = object[step]; at == nil {
			return nil, false
		}
	}
	return at, true
}

// Answer returns what an operation says about a status: alone, or for all of its hundred, or for all others.
func (op DocumentOperation) Answer(status int) (DocumentResponse, bool) {
	for _, name := range []string{strconv.Itoa(status), strconv.Itoa(status/100) + "XX"} {
		if r, ok := op.Responses[name]; ok {
			return r, true
		}
	}
	r, ok := op.Responses["default"]
	return r, ok && status >= 400
}

// Value returns the value of an example, followed if it is a reference.
func (d Document) Value(example any) any {
	if ref, ok := example.(Object)["$ref"].(string); ok {
		example, _ = d.Follow(ref)
	}
	value, _ := example.(Object)
	return value["value"]
}

// Response returns a response, followed if it is a reference.
func (d Document) Response(t *testing.T, r DocumentResponse) DocumentResponse {
	t.Helper()
	if r.Ref == "" {
		return r
	}
	tree, ok := d.Follow(r.Ref)
	if !ok {
		t.Fatalf("%s leads nowhere", r.Ref)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	var found DocumentResponse
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// Conforms says where a value does not match a schema, as far as the document uses JSON Schema. It is stricter in one
// way: an object may have only fields that the schema names, so that no answer has a field that clients do not know.
func (d Document) Conforms(schema Object, value any) error {
	if ref, ok := schema["$ref"].(string); ok {
		found, ok := d.Follow(ref)
		if !ok {
			return fmt.Errorf("%s leads nowhere", ref)
		}
		return d.Conforms(found.(Object), value)
	}
	if value == nil && schema["nullable"] == true {
		return nil
	}
	for _, several := range []string{"anyOf", "oneOf"} {
		if err := d.conformsToOne(schema[several], value); err != nil {
			return err
		}
	}
	if allOf, ok := schema["allOf"].([]any); ok {
		for _, one := range allOf {
			if err := d.Conforms(one.(Object), value); err != nil {
				return err
			}
		}
	}
	kinds := schemaKinds(schema)
	if whole := jsonKind(value) == "integer" && slices.Contains(kinds, "number"); len(kinds) > 0 && !whole && !slices.Contains(kinds, jsonKind(value)) {
		return fmt.Errorf("%v is of type %s, want %v", value, jsonKind(value), kinds)
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, value) {
		return fmt.Errorf("%v is not among %v", value, enum)
	}
	switch value := value.(type) {
	case Object:
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := value[name.(string)]; !ok {
				return fmt.Errorf("%s is missing", name)
			}
		}
		properties, known := schema["properties"].(Object)
		for name, x := range value {
			property, ok := properties[name].(Object)
			if !ok {
				if known && schema["additionalProperties"] != true {
					return fmt.Errorf("%s is not described", name)
				}
				continue
			}
			if err := d.Conforms(property, x); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case []any:
		if items, ok := schema["items"].(Object); ok {
			for i, x := range value {
				if err := d.Conforms(items, x); err != nil {
					return fmt.Errorf("[%d]: %w", i, err)
				}
			}
		}
	case string:
		if pattern, ok := schema["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(value) {
			return fmt.Errorf("%q does not match %s", value, pattern)
		}
		if schema["format"] == "date-time" {
			if at, err := time.Parse(time.RFC3339Nano, value); err != nil || at.Location() != time.UTC {
				return fmt.Errorf("%q is no time in UTC", value)
			}
		}
	case float64:
		if lowest, ok := schema["minimum"].(float64); ok && value < lowest {
			return fmt.Errorf("%v is below %v", value, lowest)
		}
		if highest, ok := schema["maximum"].(float64); ok && value > highest {
			return fmt.Errorf("%v is above %v", value, highest)
		}
	}
	return nil
}

// conformsToOne says why a value matches none of several schemas.
func (d Document) conformsToOne(several, value any) error {
	schemas, _ := several.([]any)
	var reasons []error
	for _, one := range schemas {
		err := d.Conforms(one.(Object), value)
		if err == nil {
			return nil
		}
		reasons = append(reasons, err)
	}
	return errors.Join(reasons...)
}

// schemaKinds are the types that a schema allows, in the way of 3.1 or of 3.0.
func schemaKinds(schema Object) []string {
	var kinds []string
	switch kind := schema["type"].(type) {
	case string:
		kinds = append(kinds, kind)
	case []any:
		for _, k := range kind {
			kinds = append(kinds, k.(string))
		}
	}
	if len(kinds) > 0 && schema["nullable"] == true {
		kinds = append(kinds, "null")
	}
	return kinds
}

func jsonKind(value any) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return "string"
	case []any:
		return "array"
	case float64:
		if value == float64(int64(value)) {
			return "integer"
		}
		return "number"
	}
	return "object"
}
