package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"time"
	"unicode/utf16"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"
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

// maxExponent bounds the digits of a number once PostgreSQL has written it out.
const maxExponent = 999

// maxPayload is the largest payload that PostgreSQL may write out.
const maxPayload = 1 << 20

// cleanedSchemas name the objects of free text in which cleanText replaces what cannot be stored: a report of a failure is never refused for its text.
var cleanedSchemas = map[string]bool{"#/components/schemas/Failure": true, "#/components/schemas/Progress": true}

func (b *bodyTree) value(schema *huma.Schema) any {
	cleaned := false
	for schema != nil && schema.Ref != "" {
		cleaned = cleaned || cleanedSchemas[schema.Ref]
		schema = b.schemas.SchemaFromRef(schema.Ref)
	}
	b.space()
	start := b.at
	if schema == nil || schema.Type == "" {
		b.payload()
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
			b.payload()
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
	b.payload()
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
		property := schema.Properties[string(raw)]
		if property == nil {
			property, _ = schema.AdditionalProperties.(*huma.Schema) // any name, such as a label
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
		value := b.value(property)
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
		value := b.value(items)
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

// payload moves behind a value that the schema leaves open. PostgreSQL must be able to store it, and to write it out within the limit: a number
// such as 1e999, which is a few bytes here, has a thousand digits there.
func (b *bodyTree) payload() {
	text, start, added := b.text, b.at, 0
	message := ""
	at, depth := start, 0
walk:
	for at < len(text) {
		switch text[at] {
		case '"':
			end, hasEscapes := behindString(text, at)
			if hasEscapes && message == "" {
				message = escapeProblem(text[at:end])
			}
			at = end
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		case ' ', '\t', '\r', '\n', ',', ':':
			at++
		default:
			end := behindScalar(text, at)
			if exponent := exponentOf(text[at:end]); exponent > 0 {
				added += exponent
				if exponent > maxExponent && message == "" {
					message = "has a number with an exponent beyond 999"
				}
			}
			at = end
		}
		if depth == 0 {
			break walk
		}
	}
	b.at = at
	switch {
	case message != "" && b.cleaned == 0:
		b.found(bodyProblem{ProblemError: ProblemError{Message: message}, ofPayload: true})
	case at-start+added > maxPayload && compactSize(text[start:at])+added > maxPayload:
		b.found(bodyProblem{ProblemError: ProblemError{Message: "must be at most 1 MiB, with its numbers written out in full"}, ofPayload: true, tooLarge: true})
	}
}

// compactSize is the size of a value without spaces and needless escapes, which is how PostgreSQL measures it.
func compactSize(text []byte) int {
	compact := jsontext.Value(bytes.Clone(text))
	if compact.Format(jsonOptions) != nil {
		return len(text)
	}
	return len(compact)
}

// behindScalar is the end of the number, true, false or null that begins at a place in a text.
func behindScalar(text []byte, at int) int {
	for at < len(text) {
		switch text[at] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return at
		}
		at++
	}
	return at
}

// exponentOf is the size of a number's exponent.
func exponentOf(token []byte) (size int) {
	if c := token[0]; c != '-' && (c < '0' || c > '9') {
		return 0 // true, false or null
	}
	for i, c := range token {
		if c != 'e' && c != 'E' {
			continue
		}
		for _, digit := range token[i+1:] {
			if digit >= '0' && digit <= '9' {
				size = min(10*size+int(digit-'0'), 1_000_000)
			}
		}
		break
	}
	return size
}

// escapeProblem says which escape of a string PostgreSQL cannot store.
func escapeProblem(token []byte) string {
	for i := 0; i+1 < len(token); i++ {
		if token[i] != '\\' {
			continue
		}
		i++
		if token[i] != 'u' {
			continue
		}
		switch r := escaped(token[i-1:]); {
		case r == 0:
			return `has the character \u0000, which cannot be stored`
		case utf16.IsSurrogate(r):
			if low := escaped(token[i+5:]); utf16.DecodeRune(r, low) == '\uFFFD' {
				return "has half of a surrogate pair"
			}
			i += 10
			continue
		}
		i += 4
	}
	return ""
}

// escaped is the character of the escape \uXXXX that a text begins with, or -1.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
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
