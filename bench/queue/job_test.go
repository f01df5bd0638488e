package queue

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestJobsAreDistinctAndOfTheirSize(t *testing.T) {
	for _, size := range []int{100, 250, 2000, 20000} {
		seen := map[string]bool{}
		for n := int64(1); n <= 1000; n++ {
			args := MakeJob(n, size).Args
			if !json.Valid(args) {
				t.Fatalf("not JSON: %s", args)
			}
			if len(args) < size-10 || len(args) > size+40 {
				t.Errorf("args of %d bytes, wanted about %d", len(args), size)
			}
			_, rest, _ := bytes.Cut(args, []byte(",")) // without the number
			if seen[string(rest)] {
				t.Errorf("two jobs with the args %s", args)
			}
			seen[string(rest)] = true
		}
	}
}

func TestANumberIsReadBackFromWhateverTheDatabaseMakesOfTheArgs(t *testing.T) {
	for _, args := range []string{`{"n": 42, "a": 1}`, `{"n":42}`, string(MakeJob(42, 250).Args)} {
		if n, err := numberOf([]byte(args)); err != nil || n != 42 {
			t.Errorf("%s: %d, %v", args, n, err)
		}
	}
	if _, err := numberOf([]byte(`{"a": 1}`)); err == nil {
		t.Error("args without a number pass")
	}
}
