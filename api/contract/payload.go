package contract

import (
	"maps"
	"slices"
)

// failure is the error that a worker reports.
var failure = object{
	"type": "object",
	"properties": object{
		"message": object{"type": "string", "description": "What went wrong."},
		"type":    object{"type": "string", "description": "The class of the error."},
		"stack":   object{"type": "string", "description": "Where it happened."},
	},
	"description": "Why an attempt failed, or why a job is dead.",
}

// nameObjects gives names to objects that are described where they are used.
func nameObjects(tree object) {
	for _, s := range schemas(tree) {
		fields, _ := s.(object)["properties"].(object)
		described, _ := fields["error"].(object)
		if _, inline := described["properties"]; inline {
			become(described, object{"$ref": reference("JobError")}, false)
		}
	}
	if event, ok := property(tree, "Event.error"); ok {
		become(event, object{"$ref": reference("JobError")}, false)
	}
	schemas(tree)["JobError"] = failure
	for _, field := range []string{"kind", "queue", "tag"} {
		if schema, ok := property(tree, "JobFilter."+field); ok {
			schemas(tree)["OneOrMoreNames"] = object{"oneOf": schema["oneOf"], "description": "One name, or several."}
			become(schema, object{"$ref": reference("OneOrMoreNames")}, false)
		}
	}
	if schema, ok := property(tree, "JobFilter.state"); ok {
		schemas(tree)["OneOrMoreStates"] = object{"oneOf": schema["oneOf"], "description": "One state, or several."}
		become(schema, object{"$ref": reference("OneOrMoreStates")}, false)
	}
	for _, field := range []string{"args", "result"} { // a key with redact sees null
		if schema, ok := property(tree, "Comparison."+field); ok {
			become(schema, object{"$ref": schema["$ref"]}, true)
		}
	}
	if schema, ok := property(tree, "WorkflowStep.wait_for"); ok {
		become(schema, object{"$ref": reference("WaitFor")}, false)
	}
}

// goJSON makes oapi-codegen keep JSON as it came: a number beyond 2^53 would lose digits in Go's any.
var goJSON = object{
	"x-go-type":                       "json.RawMessage",
	"x-go-type-skip-optional-pointer": true,
}

// openJSON says how to hold values that may be any JSON.
func openJSON(tree object) {
	dependencies, ok := property(tree, "ClaimedJob.dependencies")
	if ok {
		dependencies["type"] = []any{"object", "null"}
		dependencies["additionalProperties"] = object{}
		maps.Copy(dependencies, goJSON)
		dependencies["x-go-type"] = "map[string]json.RawMessage"
	}
	for _, s := range schemas(tree) {
		fields, _ := s.(object)["properties"].(object)
		for _, field := range fields {
			schema := field.(object)
			free := schema["additionalProperties"] == true && schema["properties"] == nil
			if isAny(schema) || free {
				maps.Copy(schema, goJSON)
			}
		}
	}
}

// isAny says whether a schema takes any JSON.
func isAny(schema object) bool {
	for _, name := range []string{"type", "$ref", "oneOf", "anyOf", "allOf", "enum", "x-go-type"} {
		if schema[name] != nil {
			return false
		}
	}
	return true
}

// plainParameters leaves out what a parameter's schema repeats, and Accept, which is no parameter in OpenAPI: the types of the answer say it.
func plainParameters(tree object) {
	eachOperation(tree, func(op object) {
		parameters := list(op["parameters"])
		parameters = slices.DeleteFunc(parameters, func(p any) bool { return p.(object)["name"] == "Accept" })
		for _, p := range parameters {
			if schema, ok := p.(object)["schema"].(object); ok && schema["description"] == p.(object)["description"] {
				delete(schema, "description")
			}
		}
		if len(parameters) == 0 {
			delete(op, "parameters")
			return
		}
		op["parameters"] = parameters
	})
}
