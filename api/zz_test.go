package api
import ("context";"encoding/json")
func readBatch(_ context.Context, _ *API, text []byte) ([]json.RawMessage, error) {
	batch, err := unmarshal[map[string][]json.RawMessage](text)
	return (*batch)["jobs"], err
}
