package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/weirhq/weir/jobs"
)

// The bodies and the answer that most calls carry. Each batch is of 100 jobs with args of 230 bytes.

func benchArgs(n int) string {
	return fmt.Sprintf(`{"number":%d,"to":"customer.%d@example.com","subject":"Your order is on its way","items":[{"sku":"A-%d","count":2},{"sku":"B-%d","count":1}],"note":"%s"}`,
		n, n, n, n, strings.Repeat("x", 80))
}

func BenchmarkReadEnqueue(b *testing.B) {
	a := describe(Config{})
	text := []byte(`{"kind":"bench","args":` + benchArgs(4711) + `}`)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := decode[jobs.NewJob](context.Background(), a, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadBatch(b *testing.B) {
	a := describe(Config{})
	text := []byte(`{"jobs":[`)
	for i := range 100 {
		text = fmt.Appendf(text, `%s{"kind":"bench","args":%s}`, ","[:min(i, 1)], benchArgs(i))
	}
	text = append(text, "]}"...)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if found, err := readBatch(context.Background(), a, text); err != nil || len(found) != 100 {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadAcks(b *testing.B) {
	a := describe(Config{})
	text := []byte(`{"acks":[`)
	for i := range 100 {
		text = fmt.Appendf(text, `%s{"id":"%d","token":"%d","outcome":"complete"}`, ","[:min(i, 1)], 4711000+i, 4811000+i)
	}
	text = append(text, "]}"...)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := decode[AckBatch](context.Background(), a, text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteClaims(b *testing.B) {
	answer := ClaimedJobs{}
	for i := range 100 {
		job := exampleClaimedJob()
		job.Args = json.RawMessage(benchArgs(i))
		answer.Jobs = append(answer.Jobs, job)
	}
	var out bytes.Buffer
	for b.Loop() {
		out.Reset()
		if err := jsonFormat.Marshal(&out, answer); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(out.Len()))
}
