package tests

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// conforms says how a value is not as a schema of the document says, as far as the document uses JSON Schema. It is stricter than that in
// one thing: an object may only have fields that the schema names, or an answer could have some that no client knows of.
func (d apiDocument) conforms(schema obj, value any) error {
	if ref, ok := schema["$ref"].(string); ok {
		found, ok := d.follow(ref)
		if !ok {
			return fmt.Errorf("%s leads nowhere", ref)
		}
		return d.conforms(found.(obj), value)
	}
	if allOf, ok := schema["allOf"].([]any); ok {
		for _, one := range allOf {
			if err := d.conforms(one.(obj), value); err != nil {
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
	case obj:
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := value[name.(string)]; !ok {
				return fmt.Errorf("%s is missing", name)
			}
		}
		properties, known := schema["properties"].(obj)
		for name, x := range value {
			property, ok := properties[name].(obj)
			if !ok {
				if known && schema["additionalProperties"] != true {
					return fmt.Errorf("%s is not described", name)
				}
				continue
			}
			if err := d.conforms(property, x); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	case []any:
		if items, ok := schema["items"].(obj); ok {
			for i, x := range value {
				if err := d.conforms(items, x); err != nil {
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

// schemaKinds are the types that a schema allows, in the way of 3.1 or of 3.0.
func schemaKinds(schema obj) []string {
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
