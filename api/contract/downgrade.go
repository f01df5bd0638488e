package contract

import (
	"maps"
	"slices"
	"strings"
)

// downgrade turns a document of version 3.1 into one of 3.0.
func downgrade(tree object) {
	tree["openapi"] = "3.0.3"
	delete(tree, "jsonSchemaDialect")
	if webhooks, ok := tree["webhooks"]; ok {
		tree["x-webhooks"] = webhooks
		delete(tree, "webhooks")
	}
	eachSchema(tree, func(schema object) {
		oldNull(tree, schema)
		oldBounds(schema)
		if examples := list(schema["examples"]); len(examples) > 0 {
			schema["example"] = examples[0]
			delete(schema, "examples")
		}
		if _, ok := schema["$ref"]; ok && len(schema) > 1 {
			schema["allOf"] = []any{object{"$ref": schema["$ref"]}}
			delete(schema, "$ref")
		}
	})
}

// oldNull says in the way of 3.0 that a value may be null.
func oldNull(tree, schema object) {
	if all := kinds(schema); slices.Contains(all, "null") && len(all) > 1 {
		schema["type"] = all[0]
		schema["nullable"] = true
	}
	several := list(schema["anyOf"])
	if len(several) != 2 {
		return
	}
	if second, ok := several[1].(object); ok && second["type"] == "null" {
		delete(schema, "anyOf")
		maps.Copy(schema, several[0].(object))
		ref, _ := schema["$ref"].(string)
		if named, ok := schemas(tree)[strings.TrimPrefix(ref, reference(""))].(object); ok {
			delete(schema, "$ref") // beside it, 3.0 knows no null
			schema["type"] = named["type"]
			if values := list(named["enum"]); values != nil {
				schema["enum"] = append(slices.Clone(values), nil)
			} else {
				schema["allOf"] = []any{object{"$ref": ref}}
			}
		}
		schema["nullable"] = true
	}
}

// oldBounds says in the way of 3.0 that a bound is excluded.
func oldBounds(schema object) {
	for exclusive, bound := range map[string]string{"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"} {
		if v, ok := schema[exclusive]; ok {
			schema[bound], schema[exclusive] = v, true
		}
	}
}
