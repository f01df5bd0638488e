package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// PatchOperation is one operation of a JSON Patch (RFC 6902).
type PatchOperation struct {
	Op    string          `json:"op" enum:"add,remove,replace" doc:"add, remove or replace."`
	Path  string          `json:"path" doc:"A JSON Pointer (RFC 6901)." example:"/order"`
	Value json.RawMessage `json:"value,omitempty" doc:"The new value, of add and replace."`
}

// Bounds of a patch: one beyond them replaces the whole.
const (
	maxPatch   = 1000    // operations
	maxPatched = 1 << 16 // bytes of each value, which takes some fifty times as much when it is decoded
)

// patchOf is the JSON Patch that makes one value of another. Where it would have too many operations, or a value is large,
// its one operation replaces the whole, and coarse is true.
func patchOf(from, to json.RawMessage) (patch []PatchOperation, coarse bool, err error) {
	if bytes.Equal(from, to) {
		return []PatchOperation{}, false, nil
	}
	whole := []PatchOperation{{Op: "replace", Path: "", Value: to}}
	if len(from) > maxPatched || len(to) > maxPatched {
		return whole, true, nil
	}
	a, err := treeOf(from)
	if err != nil {
		return nil, false, err
	}
	b, err := treeOf(to)
	if err != nil {
		return nil, false, err
	}
	d := differ{ops: []PatchOperation{}}
	if d.compare("", a, b); d.full {
		return whole, true, nil
	}
	return d.ops, false, nil
}

// treeOf decodes a value and keeps its numbers as they are written. Nothing is null.
func treeOf(text json.RawMessage) (any, error) {
	if len(text) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("reading a value: %w", err)
	}
	return v, nil
}

// differ collects the operations of a patch, until there are too many.
type differ struct {
	ops  []PatchOperation
	full bool
}

func (d *differ) add(op, path string, value any) {
	if d.full = d.full || len(d.ops) == maxPatch; d.full {
		return
	}
	o := PatchOperation{Op: op, Path: path}
	if op != "remove" {
		o.Value, _ = json.Marshal(value) // what was decoded can be encoded
	}
	d.ops = append(d.ops, o)
}

func (d *differ) compare(path string, a, b any) {
	if d.full {
		return
	}
	switch a := a.(type) {
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			d.compareObjects(path, a, b)
			return
		}
	case []any:
		if b, ok := b.([]any); ok {
			d.compareArrays(path, a, b)
			return
		}
	}
	if !sameScalar(a, b) {
		d.add("replace", path, b)
	}
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func (d *differ) compareObjects(path string, a, b map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(a)) {
		at := path + "/" + pointerEscapes.Replace(name)
		if other, ok := b[name]; ok {
			d.compare(at, a[name], other)
		} else {
			d.add("remove", at, nil)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[name]; !ok {
			d.add("add", path+"/"+pointerEscapes.Replace(name), b[name])
		}
	}
}

// compareArrays compares the elements between an equal beginning and an equal end by their places.
func (d *differ) compareArrays(path string, a, b []any) {
	begin := 0
	for begin < len(a) && begin < len(b) && sameTree(a[begin], b[begin]) {
		begin++
	}
	for len(a) > begin && len(b) > begin && sameTree(a[len(a)-1], b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	at := func(i int) string { return path + "/" + strconv.Itoa(i) }
	both := min(len(a), len(b))
	for i := begin; i < both && !d.full; i++ {
		d.compare(at(i), a[i], b[i])
	}
	for i := len(a) - 1; i >= both && !d.full; i-- {
		d.add("remove", at(i), nil)
	}
	for i := both; i < len(b) && !d.full; i++ {
		d.add("add", at(i), b[i])
	}
}

// sameTree says whether two decoded values are equal.
func sameTree(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, sameTree)
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, sameTree)
	}
	return sameScalar(a, b)
}

// sameScalar says whether two scalars are equal; 1, 1.0 and 1e0 are.
func sameScalar(a, b any) bool {
	switch b.(type) {
	case map[string]any, []any:
		return false
	}
	x, isNumber := a.(json.Number)
	y, both := b.(json.Number)
	if !isNumber || !both || x == y {
		return a == b
	}
	return numberOf(x) != nil && numberOf(y) != nil && numberOf(x).Cmp(numberOf(y)) == 0
}

// numberOf is the value of a number, or nil for one that would be large to write out.
func numberOf(n json.Number) *big.Rat {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(string(n)), "e")
	if e, err := strconv.Atoi(strings.TrimPrefix(exponent, "+")); exponent != "" && (err != nil || e > 1000 || e < -1000) || len(mantissa) > 2000 {
		return nil
	}
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return nil
	}
	return r
}
