package contract

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// plainAnswers says which headers every answer has, and makes one answer of several successes with the same content: a client asks for the status
// only where it matters.
func plainAnswers(tree object) {
	eachOperation(tree, func(op object) {
		responses := op["responses"].(object)
		joinSuccesses(responses)
		for _, r := range responses {
			response := r.(object)
			headers, ok := response["headers"].(object)
			if !ok {
				headers = object{}
				response["headers"] = headers
			}
			headers["X-Request-Id"] = object{"$ref": "#/components/headers/X-Request-Id"}
		}
	})
}

func joinSuccesses(responses object) {
	var successes []string
	for _, status := range slices.Sorted(maps.Keys(responses)) {
		if strings.HasPrefix(status, "2") {
			successes = append(successes, status)
		}
	}
	if len(successes) != 2 {
		return
	}
	first, second := responses[successes[0]].(object), responses[successes[1]].(object)
	one, other := jsonContent(first), jsonContent(second)
	if one == nil || other == nil || !reflect.DeepEqual(one["schema"], other["schema"]) {
		return
	}
	joined := object{
		"description": successes[0] + ": " + sentence(first) + " " + successes[1] + ": " + sentence(second),
		"content": object{"application/json": object{
			"schema": one["schema"],
			"examples": object{
				"s" + successes[0]: object{"summary": successes[0], "value": one["example"]},
				"s" + successes[1]: object{"summary": successes[1], "value": other["example"]},
			},
		}},
	}
	headers := object{}
	for _, r := range []object{first, second} {
		more, _ := r["headers"].(object)
		maps.Copy(headers, more)
	}
	joined["headers"] = headers
	for _, status := range successes {
		delete(responses, status)
	}
	responses["2XX"] = joined
}

func jsonContent(response object) object {
	content, _ := response["content"].(object)
	media, _ := content["application/json"].(object)
	return media
}

func sentence(response object) string {
	said, _ := response["description"].(string)
	return strings.TrimSuffix(said, ".") + "."
}

// openAnswers lets schemas of answers get new fields, also where a request has them too. The API refuses unknown fields of requests anyway.
func openAnswers(tree object) {
	seen := map[string]bool{}
	var follow func(s any)
	follow = func(s any) {
		within(s, func(schema object) {
			if schema["additionalProperties"] == false {
				delete(schema, "additionalProperties")
			}
			ref, _ := schema["$ref"].(string)
			if name := strings.TrimPrefix(ref, reference("")); ref != "" && !seen[name] {
				seen[name] = true
				follow(schemas(tree)[name])
			}
		})
	}
	eachOperation(tree, func(op object) {
		for _, r := range op["responses"].(object) {
			eachMedia(r.(object), func(_ string, media object) {
				follow(media["schema"])
				follow(media["x-item-schema"])
			})
		}
	})
}
