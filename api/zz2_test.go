package api
import ("testing";"encoding/json";"fmt";"bytes"
v2 "github.com/go-json-experiment/json"
"github.com/go-json-experiment/json/jsontext")

func BenchmarkAlt(b *testing.B) {
	acks := []byte(`{"acks":[`)
	for i := range 100 {
		acks = fmt.Appendf(acks, `%s{"id":"%d","token":"%d","outcome":"complete"}`, ","[:min(i, 1)], 4711000+i, 4811000+i)
	}
	acks = append(acks, "]}"...)
	batch := []byte(`{"jobs":[`)
	for i := range 100 {
		batch = fmt.Appendf(batch, `%s{"kind":"bench","args":%s}`, ","[:min(i, 1)], benchArgs(i))
	}
	batch = append(batch, "]}"...)
	opts := jsontext.AllowDuplicateNames(true)
	for name, text := range map[string][]byte{"acks": acks, "batch": batch} {
	b.Run(name+"/stdvalid", func(b *testing.B) { for b.Loop() { json.Valid(text) } })
	b.Run(name+"/v2valid", func(b *testing.B) { for b.Loop() { if !jsontext.Value(text).IsValid(opts) {b.Fatal()} } })
	b.Run(name+"/v2readvalue", func(b *testing.B) { for b.Loop() { d := jsontext.NewDecoder(bytes.NewBuffer(text), opts); d.ReadValue() } })
	b.Run(name+"/v2readvaluedup", func(b *testing.B) { for b.Loop() { d := jsontext.NewDecoder(bytes.NewBuffer(text)); d.ReadValue() } })
	b.Run(name+"/v2rawmap", func(b *testing.B) { for b.Loop() { var m map[string][]jsontext.Value; v2.Unmarshal(text, &m, opts) } })
	}
	b.Run("acks/std", func(b *testing.B) { for b.Loop() { var m AckBatch; json.Unmarshal(acks, &m) } })
	b.Run("acks/v2", func(b *testing.B) { for b.Loop() { var m AckBatch; v2.Unmarshal(acks, &m, opts) } })
	b.Run("acks/v2dup", func(b *testing.B) { for b.Loop() { var m AckBatch; v2.Unmarshal(acks, &m) } })
	b.Run("acks/goccy", func(b *testing.B) { for b.Loop() { unmarshal[AckBatch](acks) } })
}
