package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// bodyTree walks a JSON text along its schema, once. It makes the tree that huma.Validate checks, in which true stands for every payload
// (args, results and whatever else the schema leaves open), and it finds what no schema can express: repeated names, times out of range,
// and text and numbers that PostgreSQL cannot store.
//
// The text must be valid JSON: the walk does not check syntax.
type bodyTree struct {
	text     []byte
	at       int
	schemas  huma.Registry
	walkOnly bool // make no tree, only find problems
	path     []step
	names    [][]byte // of the objects that the walk is in
	cleaned  int      // depth of objects whose text is cleaned later, so that any is taken
	problems []bodyProblem
}

// bodyProblem is something that a schema cannot express.
type bodyProblem struct {
	ProblemError
	index     int  // of the element of the outermost array that it is in, or -1
	ofPayload bool // a value cannot be stored; otherwise the body is ambiguous or a time is wrong
	tooLarge  bool
}

// maxProblems is more than a batch has elements.
const maxProblems = 20_000

// cleanedSchemas name the objects of free text in which cleanText replaces what cannot be stored: a report of a failure is never refused for its text.
var cleanedSchemas = map[string]bool{"#/components/schemas/Failure": true, "#/components/schemas/Progress": true}

// value walks a value. outer counts the objects around it that the schema leaves open: 1 for a member of metadata.
func (b *bodyTree) value(schema *huma.Schema, outer int) any {
	cleaned := false
	for schema != nil && schema.Ref != "" {
		cleaned = cleaned || cleanedSchemas[schema.Ref]
		schema = b.schemas.SchemaFromRef(schema.Ref)
	}
	b.space()
	start := b.at
	if schema != nil && len(schema.OneOf) == 2 { // one, or an array of them
		if schema = schema.OneOf[0]; b.text[b.at] == '[' {
			return b.array(schema)
		}
	}
	if schema == nil || schema.Type == "" {
		b.payload(outer)
		return true
	}
	switch b.text[b.at] {
	case '{':
		if cleaned {
			b.cleaned++
			defer func() { b.cleaned-- }()
		}
		return b.object(schema)
	case '[':
		return b.array(schema.Items)
	case '"':
		if b.walkOnly && schema.Format == "" {
			b.payload(0)
			return nil
		}
		s := b.string()
		if schema.Format == "date-time" {
			if message := timeProblem(s); message != "" {
				b.found(bodyProblem{ProblemError: ProblemError{Message: message}})
			}
		}
		return s
	}
	b.payload(0)
	switch word := string(b.text[start:b.at]); word {
	case "null":
		return nil
	case "true", "false":
		return word == "true"
	default:
		number, _ := strconv.ParseFloat(word, 64) // one that is too large is infinite, and so out of every range
		return number
	}
}

func (b *bodyTree) object(schema *huma.Schema) any {
	var tree map[string]any
	if !b.walkOnly {
		tree = make(map[string]any, min(len(schema.Properties), 8))
	}
	first := len(b.names)
	var known map[string]bool // of an object with many names
	for b.at++; b.more('}'); {
		raw := b.name()
		b.space()
		b.at++ // the colon
		property, outer := schema.Properties[string(raw)], 0
		if property == nil {
			property, _ = schema.AdditionalProperties.(*huma.Schema) // any name, such as a label
			outer = 1
		}
		b.path = append(b.path, step{name: raw})
		switch {
		case b.walkOnly && len(b.path) == 3 && string(raw) == "principal" && schema.Properties["kind"] != nil:
			// Of a job in a batch: only the engine may write it, and SQL would take it.
			b.found(bodyProblem{ProblemError: ProblemError{Message: "is no field of a job"}})
			b.names = append(b.names, raw)
		case repeats(b.names[first:], raw, &known):
			b.found(bodyProblem{ProblemError: ProblemError{Message: "is given more than once"}})
		default:
			b.names = append(b.names, raw)
		}
		value := b.value(property, outer)
		if !b.walkOnly {
			tree[string(raw)] = value
		}
		b.path = b.path[:len(b.path)-1]
	}
	b.names = b.names[:first]
	return tree
}

// repeats says whether a name is among those before it. Few names are compared one by one; many are put into a map.
func repeats(before [][]byte, name []byte, known *map[string]bool) bool {
	if len(before) < 32 {
		for _, n := range before {
			if bytes.Equal(n, name) {
				return true
			}
		}
		return false
	}
	if *known == nil {
		*known = make(map[string]bool, 2*len(before))
		for _, n := range before {
			(*known)[string(n)] = true
		}
	}
	if (*known)[string(name)] {
		return true
	}
	(*known)[string(name)] = true
	return false
}

func (b *bodyTree) array(items *huma.Schema) any {
	tree := []any{}
	n := 0
	for b.at++; b.more(']'); n++ {
		b.path = append(b.path, step{index: n})
		value := b.value(items, 0)
		if !b.walkOnly {
			tree = append(tree, value)
		}
		b.path = b.path[:len(b.path)-1]
	}
	return tree
}

// more says whether another element of an object or array follows, and moves to it; otherwise it moves behind the end.
func (b *bodyTree) more(end byte) bool {
	b.space()
	if b.text[b.at] == ',' {
		b.at++
		b.space()
	}
	if b.text[b.at] == end {
		b.at++
		return false
	}
	return true
}

func (b *bodyTree) space() {
	for b.at < len(b.text) {
		switch b.text[b.at] {
		case ' ', '\t', '\r', '\n':
			b.at++
		default:
			return
		}
	}
}

// name is the name of a member, without a copy where it has no escapes.
func (b *bodyTree) name() []byte {
	start := b.at
	escaped := b.quoted()
	token := b.text[start:b.at]
	if !escaped {
		return token[1 : len(token)-1]
	}
	var s string
	_ = json.Unmarshal(token, &s)
	return []byte(s)
}

func (b *bodyTree) string() string {
	start := b.at
	escaped := b.quoted()
	token := b.text[start:b.at]
	if !escaped {
		return string(token[1 : len(token)-1])
	}
	if message := escapeProblem(token); message != "" && b.cleaned == 0 {
		b.found(bodyProblem{ProblemError: ProblemError{Message: message}, ofPayload: true})
	}
	var s string
	_ = json.Unmarshal(token, &s)
	return s
}

// quoted moves behind a string and says whether it has escapes.
func (b *bodyTree) quoted() (escaped bool) {
	b.at, escaped = behindString(b.text, b.at)
	return escaped
}

// behindString is the end of the string that begins at a place in a text.
func behindString(text []byte, at int) (end int, escaped bool) {
	at++
	for at < len(text) {
		switch text[at] {
		case '"':
			return at + 1, escaped
		case '\\':
			escaped = true
			at++
		}
		at++
	}
	return at, escaped
}

func (b *bodyTree) found(p bodyProblem) {
	if len(b.problems) >= maxProblems {
		return
	}
	p.Location, p.index = b.place(), -1
	for _, s := range b.path {
		if s.name == nil {
			p.index = s.index
			break
		}
	}
	b.problems = append(b.problems, p)
}

// step leads into an object, or, without a name, into an array.
type step struct {
	name  []byte
	index int
}

// place is where the walk is, in the form that problems use.
func (b *bodyTree) place() string {
	at := "body"
	for _, s := range b.path {
		if s.name == nil {
			at += fmt.Sprintf("[%d]", s.index)
		} else {
			at += "." + string(s.name)
		}
	}
	return at
}

// timeMessage tells the one form of a time that bodies and queries take.
const timeMessage = "must be a time as in RFC 3339, such as 2026-01-31T09:00:00Z (in a URL, + is %2B)"

// timeForm is stricter than time.Parse, which takes 9:00:00 and a comma.
var timeForm = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$`)

// timeProblem says what is wrong with a time. PostgreSQL rounds to microseconds, and the result must still have a year of four digits:
// answers could not show it otherwise.
func timeProblem(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || !timeForm.MatchString(s) {
		return timeMessage
	}
	if year := t.Round(time.Microsecond).UTC().Year(); year < 1 || year > 9999 {
		return "must be a time from the year 1 to the year 9999, in UTC and rounded to microseconds"
	}
	return ""
}
