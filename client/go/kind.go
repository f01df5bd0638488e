package weir

import (
	"fmt"
	"reflect"
	"sync"
)

// Kinded is the args of a job that name their kind. The method is called on the zero value too, so it must not look at fields.
//
// Args that have no such method name their kind by a tag of weir on any field:
//
//	type SendReceipt struct {
//		_     struct{} `weir:"send_receipt"`
//		Order int      `json:"order"`
//	}
type Kinded interface {
	// Kind is what the job does, 1 to 200 characters. Workers in all languages know it by this name.
	Kind() string
}

// tagName is the name of the tag that holds a kind.
const tagName = "weir"

// taggedKinds remembers the kinds of types that have a tag, so that each is looked at once.
var taggedKinds sync.Map // reflect.Type to string

// kindOf is the kind of some args. Its error says how to name one.
func kindOf(args any) (string, error) {
	if a, ok := args.(Kinded); ok {
		if kind := a.Kind(); kind != "" {
			return kind, nil
		}
		return "", fmt.Errorf("weir: %T.Kind() is empty", args)
	}
	t := reflect.TypeOf(args)
	if t == nil {
		return "", fmt.Errorf("weir: a job takes args that name its kind, not nil")
	}
	if kind, ok := taggedKinds.Load(t); ok {
		return kind.(string), nil
	}
	s := t
	if s.Kind() == reflect.Pointer {
		s = s.Elem()
	}
	if s.Kind() == reflect.Struct {
		for i := range s.NumField() {
			if kind := s.Field(i).Tag.Get(tagName); kind != "" {
				taggedKinds.Store(t, kind)
				return kind, nil
			}
		}
	}
	return "", fmt.Errorf("weir: %T names no kind: give it a method Kind() string, or a field with a tag weir", args)
}

// kindFor is the kind of the args of type A.
func kindFor[A any]() (string, error) {
	var zero A
	if t := reflect.TypeFor[A](); t.Kind() == reflect.Pointer {
		return kindOf(reflect.New(t.Elem()).Interface())
	}
	return kindOf(zero)
}
