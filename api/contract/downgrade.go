package contract

import (
	"maps"
	"slices"
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
		oldNull(schema)
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
func oldNull(schema object) {
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
		schema["nullable"] = true
		if len(schema) == 1 && several[0].(object)["$ref"] == nil {
			maps.Copy(schema, several[0].(object))
			return
		}
		schema["allOf"] = []any{several[0]}
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
