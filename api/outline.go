package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// outline makes of a JSON text the tree that huma.Validate wants, in one pass and without the payloads: true stands for whatever the
// schema lets be anything, args and results above all. A tree of those would take longer to make than all else that is done with a body.
//
// The text must be valid JSON: that spares the outline all checks.
type outline struct {
	text    []byte
	at      int
	schemas huma.Registry
	twice   bool // a name is in an object twice; of those, readers of JSON take now the one and now the other
	path    []step
	huge    string // where there is a number that would be printed with thousands of digits
}

func (o *outline) value(schema *huma.Schema) any {
	for schema != nil && schema.Ref != "" {
		schema = o.schemas.SchemaFromRef(schema.Ref)
	}
	o.space()
	start := o.at
	if schema == nil || schema.Type == "" {
		o.skip()
		return true
	}
	switch o.text[o.at] {
	case '{':
		tree := map[string]any{}
		for o.at++; o.more('}'); {
			name := o.string()
			o.space()
			o.at++ // the colon
			if _, there := tree[name]; there {
				o.twice = true
			}
			property := schema.Properties[name]
			if property == nil {
				property, _ = schema.AdditionalProperties.(*huma.Schema) // any name, as of a label
			}
			o.path = append(o.path, step{name: name})
			tree[name] = o.value(property)
			o.path = o.path[:len(o.path)-1]
		}
		return tree
	case '[':
		tree := []any{}
		for o.at++; o.more(']'); {
			o.path = append(o.path, step{index: len(tree)})
			tree = append(tree, o.value(schema.Items))
			o.path = o.path[:len(o.path)-1]
		}
		return tree
	case '"':
		return o.string()
	}
	o.skip()
	switch word := string(o.text[start:o.at]); word {
	case "null":
		return nil
	case "true", "false":
		return word == "true"
	default:
		number, _ := strconv.ParseFloat(word, 64) // one that is too large is infinite, and so out of every range
		return number
	}
}

// more says whether another element of an object or array comes, and moves to it; otherwise it moves behind the end.
func (o *outline) more(end byte) bool {
	o.space()
	if o.text[o.at] == ',' {
		o.at++
		o.space()
	}
	if o.text[o.at] == end {
		o.at++
		return false
	}
	return true
}

func (o *outline) space() {
	for o.at < len(o.text) && strings.IndexByte(" \t\r\n", o.text[o.at]) >= 0 {
		o.at++
	}
}

func (o *outline) string() string {
	start := o.at
	o.skip()
	token := o.text[start:o.at]
	plain := token[1 : len(token)-1]
	for _, c := range plain {
		if c == '\\' || c >= 0x80 {
			var s string
			_ = json.Unmarshal(token, &s)
			return s
		}
	}
	return string(plain)
}

// skip moves behind a value, whatever is in it.
func (o *outline) skip() {
	for depth := 0; o.at < len(o.text); {
		c := o.text[o.at]
		switch c {
		case 'e', 'E':
			if o.huge == "" && o.exponent() > 999 {
				o.huge = o.place()
			}
		case '"':
			for o.at++; o.text[o.at] != '"'; o.at++ {
				if o.text[o.at] == '\\' {
					o.at++
				}
			}
		case '{', '[':
			depth++
		case '}', ']', ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return // the end of a number or a word
			}
			if c == '}' || c == ']' {
				depth--
			}
		}
		o.at++
		if depth == 0 && (c == '"' || c == '}' || c == ']') {
			return
		}
	}
}

// exponent is the size of the one that begins here, if a number does.
func (o *outline) exponent() (size int) {
	if before := o.text[o.at-1]; before < '0' || before > '9' {
		return 0 // it is the end of true or false
	}
	for _, c := range bytes.TrimLeft(o.text[o.at+1:min(o.at+40, len(o.text))], "+-") {
		if c < '0' || c > '9' {
			break
		}
		size = min(10*size+int(c-'0'), 100_000)
	}
	return size
}

// step leads into an object, or, without a name, into an array.
type step struct {
	name  string
	index int
}

// place is where the outline is, as problems tell it.
func (o *outline) place() string {
	at := "body"
	for _, s := range o.path {
		if s.name == "" {
			at += fmt.Sprintf("[%d]", s.index)
		} else {
			at += "." + s.name
		}
	}
	return at
}
