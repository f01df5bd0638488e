//go:build unix

package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"time"
)

// variables are what cases write as $name.
type variables map[string]any

var variable = regexp.MustCompile(`\$[a-z]+`)

// fill puts the values of variables in their places. A text that is a variable and no more becomes its value. Without variables, it fills nothing.
func (v variables) fill(value any) (any, error) {
	if v == nil {
		return value, nil
	}
	var err error
	switch value := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(value))
		for name, member := range value {
			if out[name], err = v.fill(member); err != nil {
				return nil, err
			}
		}
		return out, nil
	case []any:
		out := make([]any, len(value))
		for i, element := range value {
			if out[i], err = v.fill(element); err != nil {
				return nil, err
			}
		}
		return out, nil
	case string:
		return v.fillText(value)
	}
	return value, nil
}

func (v variables) fillText(text string) (any, error) {
	if variable.FindString(text) == text && text != "" {
		if value, ok := v[text[1:]]; ok {
			return value, nil
		}
	}
	var err error
	out := variable.ReplaceAllStringFunc(text, func(name string) string {
		value, ok := v[name[1:]]
		if !ok {
			err = fmt.Errorf("%s has no value", name)
		}
		return fmt.Sprint(value)
	})
	return out, err
}

// match says where a value is not what a case wants. Objects may have more members than are wanted; null stands for none, which the Go client reads as
// an empty text. A variable without a value gets the one that it meets, if everything else matches; $any meets any value.
func (v variables) match(want, got any) error {
	want, err := tree(want)
	if err != nil {
		return err
	}
	found := maps.Clone(v)
	if err := found.compare("", want, got); err != nil {
		return err
	}
	maps.Copy(v, found)
	return nil
}

func (v variables) compare(place string, want, got any) error {
	switch want := want.(type) {
	case map[string]any:
		return v.compareObject(place, want, got)
	case []any:
		elements, ok := got.([]any)
		if !ok || len(elements) != len(want) {
			return mismatch(place, want, got)
		}
		for i := range want {
			if err := v.compare(fmt.Sprintf("%s[%d]", place, i), want[i], elements[i]); err != nil {
				return err
			}
		}
		return nil
	case string:
		return v.compareText(place, want, got)
	}
	if !same(want, got) {
		return mismatch(place, want, got)
	}
	return nil
}

func (v variables) compareObject(place string, want map[string]any, got any) error {
	if some, ok := want["$has"]; ok {
		return v.compareSome(place, some, got)
	}
	members, ok := got.(map[string]any)
	if !ok {
		return mismatch(place, want, got)
	}
	for name := range want {
		if err := v.compare(place+"."+name, want[name], members[name]); err != nil {
			return err
		}
	}
	return nil
}

// compareSome looks for elements of an array.
func (v variables) compareSome(place string, want, got any) error {
	elements, _ := got.([]any)
	for _, one := range want.([]any) {
		found := false
		for i := range elements {
			tried := maps.Clone(v)
			if found = tried.compare("", one, elements[i]) == nil; found {
				maps.Copy(v, tried)
				break
			}
		}
		if !found {
			return mismatch(place, one, got)
		}
	}
	return nil
}

func (v variables) compareText(place, want string, got any) error {
	if variable.FindString(want) == want && want != "" {
		if _, known := v[want[1:]]; !known {
			if got == nil {
				return mismatch(place, want, got)
			}
			if want != "$any" {
				v[want[1:]] = got
			}
			return nil
		}
	}
	filled, err := v.fillText(want)
	if err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	if !same(filled, got) {
		return mismatch(place, filled, got)
	}
	return nil
}

// same compares values that are neither objects nor arrays. Numbers and times have several forms.
func same(a, b any) bool {
	if a == b || a == nil && b == "" {
		return true
	}
	if x, y := number(a), number(b); x != nil && y != nil {
		return x.Cmp(y) == 0
	}
	x, y := moment(a), moment(b)
	return !x.IsZero() && x.Equal(y)
}

func number(value any) *big.Rat {
	text, ok := value.(json.Number)
	if !ok {
		return nil
	}
	n, ok := new(big.Rat).SetString(text.String())
	if !ok {
		return nil
	}
	return n
}

func moment(value any) time.Time {
	text, _ := value.(string)
	at, _ := time.Parse(time.RFC3339, text)
	return at
}

func mismatch(place string, want, got any) error {
	return fmt.Errorf("%s is %s, want %s", place, short(got), short(want))
}

func short(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(text[:min(len(text), 1000)])
}
