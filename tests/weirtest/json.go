//go:build unix

package weirtest

import (
	"bytes"
	"encoding/json"
	"math/big"
	"slices"
	"testing"
)

// With returns an object with the fields of both. Those of more win.
func With(o Object, more Object) Object {
	all := Object{}
	for _, from := range []Object{o, more} {
		for name, x := range from {
			all[name] = x
		}
	}
	return all
}

// SameJSON compares two JSON texts: numbers by value, objects without regard to the order of their fields.
func SameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	for text, into := range map[*[]byte]*any{&a: &x, &b: &y} {
		d := json.NewDecoder(bytes.NewReader(*text))
		d.UseNumber()
		if err := d.Decode(into); err != nil {
			t.Errorf("%.200q is no JSON: %v", *text, err)
			return false
		}
	}
	return sameTree(x, y)
}

func sameTree(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, xOK := new(big.Rat).SetString(string(a))
		y, yOK := new(big.Rat).SetString(string(b))
		return xOK && yOK && x.Cmp(y) == 0
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameTree)
	case Object:
		b, ok := b.(Object)
		if !ok || len(a) != len(b) {
			return false
		}
		for name, x := range a {
			if y, there := b[name]; !there || !sameTree(x, y) {
				return false
			}
		}
		return true
	}
	return a == b
}
