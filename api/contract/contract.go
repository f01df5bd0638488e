// Package contract makes the OpenAPI document that clients are generated from. It starts from what the API says of itself, which is made for
// checking requests, and gives it the form that generators need: names for enums and objects, one answer for all problems, sizes of integers.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// object is a JSON object of the document.
type object = map[string]any

// Versions of OpenAPI in which there is a document.
const (
	Version31 = "3.1"
	Version30 = "3.0"
)

// Publish turns the description of the API, an OpenAPI document of version 3.1, into the document for clients in one of the versions.
func Publish(description []byte, version string) ([]byte, error) {
	if version != Version31 && version != Version30 {
		return nil, fmt.Errorf("there is a document for OpenAPI %s and %s, and none for %q", Version31, Version30, version)
	}
	d := json.NewDecoder(bytes.NewReader(description))
	d.UseNumber()
	var tree object
	if err := d.Decode(&tree); err != nil {
		return nil, fmt.Errorf("reading the description of the API: %w", err)
	}
	if err := nameEnums(tree); err != nil {
		return nil, err
	}
	nameObjects(tree)
	openJSON(tree)
	sizeIntegers(tree)
	plainParameters(tree)
	plainAnswers(tree)
	openAnswers(tree)
	if version == Version30 {
		downgrade(tree)
	}
	// Indented and without HTML's escapes it can be read, and compared line by line.
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(tree); err != nil {
		return nil, fmt.Errorf("writing the document: %w", err)
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

// schemas is the named schemas of a document.
func schemas(tree object) object { return tree["components"].(object)["schemas"].(object) }

func reference(name string) string { return "#/components/schemas/" + name }

// property finds a property of a named schema: Job.state.
func property(tree object, place string) (object, bool) {
	name, field, _ := strings.Cut(place, ".")
	schema, _ := schemas(tree)[name].(object)
	properties, _ := schema["properties"].(object)
	found, ok := properties[field].(object)
	return found, ok
}

// eachSchema calls visit for every schema in the document, the inner ones last. visit may change it in place.
func eachSchema(tree object, visit func(schema object)) {
	for _, name := range slices.Sorted(maps.Keys(schemas(tree))) {
		within(schemas(tree)[name], visit)
	}
	eachOperation(tree, func(op object) {
		for _, p := range list(op["parameters"]) {
			within(p.(object)["schema"], visit)
		}
		body, _ := op["requestBody"].(object)
		eachMedia(body, func(_ string, media object) { within(media["schema"], visit) })
		responses, _ := op["responses"].(object)
		for _, status := range slices.Sorted(maps.Keys(responses)) {
			response := responses[status].(object)
			eachMedia(response, func(_ string, media object) { within(media["schema"], visit) })
			headers, _ := response["headers"].(object)
			for _, header := range headers {
				within(header.(object)["schema"], visit)
			}
		}
	})
}

// within calls visit for a schema and those inside it.
func within(s any, visit func(schema object)) {
	schema, ok := s.(object)
	if !ok {
		return
	}
	visit(schema)
	within(schema["items"], visit)
	within(schema["additionalProperties"], visit)
	properties, _ := schema["properties"].(object)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		within(properties[name], visit)
	}
	for _, several := range []string{"oneOf", "anyOf", "allOf"} {
		for _, one := range list(schema[several]) {
			within(one, visit)
		}
	}
}

// eachOperation calls visit for every operation, in the order of paths.
func eachOperation(tree object, visit func(op object)) {
	paths := tree["paths"].(object)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		item := paths[path].(object)
		for _, method := range []string{"get", "put", "post", "delete", "patch"} {
			if op, ok := item[method].(object); ok {
				visit(op)
			}
		}
	}
}

// eachMedia calls visit for every type of a body.
func eachMedia(body object, visit func(kind string, media object)) {
	content, _ := body["content"].(object)
	for _, kind := range slices.Sorted(maps.Keys(content)) {
		visit(kind, content[kind].(object))
	}
}

func list(v any) []any {
	items, _ := v.([]any)
	return items
}

// kinds is the types of a schema, of which null may be one.
func kinds(schema object) []string {
	switch t := schema["type"].(type) {
	case string:
		return []string{t}
	case []any:
		var all []string
		for _, one := range t {
			all = append(all, one.(string))
		}
		return all
	}
	return nil
}

// become replaces a schema by another, and keeps what is said about it in its place.
func become(schema, other object, nullable bool) {
	kept := object{}
	for _, name := range []string{"description", "default", "deprecated"} {
		if v, ok := schema[name]; ok {
			kept[name] = v
		}
	}
	clear(schema)
	maps.Copy(schema, kept)
	if nullable {
		schema["anyOf"] = []any{other, object{"type": "null"}}
		return
	}
	maps.Copy(schema, other)
}
