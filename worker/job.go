package worker

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// claimedJob is a job as a claim returns it.
type claimedJob struct {
	ID             string          `json:"id"`
	Token          string          `json:"token"`
	Kind           string          `json:"kind"`
	Queue          string          `json:"queue"`
	Args           json.RawMessage `json:"args"`
	Attempt        int             `json:"attempt"`
	MaxAttempts    int             `json:"max_attempts"`
	TimeoutSeconds int             `json:"timeout_seconds"`
	Tags           json.RawMessage `json:"tags"`
	Metadata       json.RawMessage `json:"metadata"`
	Dependencies   json.RawMessage `json:"dependencies,omitempty"`
	Degraded       bool            `json:"degraded"`
}

// maxVariable is the longest value that a variable of the environment gets; Linux takes 128 KiB.
const maxVariable = 100 << 10

// traceParent is the trace context that the producer put into the metadata, as the traceparent of W3C.
func (j *claimedJob) traceParent() string {
	var m struct {
		TraceParent string `json:"traceparent"`
	}
	if json.Unmarshal(j.Metadata, &m) != nil || !traceParent.MatchString(m.TraceParent) {
		return ""
	}
	return m.TraceParent
}

var traceParent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// environment is what the program learns about its job.
func (j *claimedJob) environment() []string {
	tags, metadata := j.Tags, j.Metadata
	if tags == nil {
		tags = []byte("[]")
	}
	if metadata == nil {
		metadata = []byte("{}")
	}
	env := []string{
		"WEIR_JOB_REPORT_FD=" + reportDescriptor,
		"WEIR_JOB_ID=" + j.ID,
		"WEIR_JOB_TOKEN=" + j.Token,
		"WEIR_JOB_KIND=" + j.Kind,
		"WEIR_JOB_QUEUE=" + j.Queue,
		"WEIR_JOB_ATTEMPT=" + strconv.Itoa(j.Attempt),
		"WEIR_JOB_MAX_ATTEMPTS=" + strconv.Itoa(j.MaxAttempts),
		"WEIR_JOB_TIMEOUT_SECONDS=" + strconv.Itoa(j.TimeoutSeconds),
		"WEIR_JOB_TAGS=" + string(tags),
		"WEIR_JOB_METADATA=" + string(metadata),
		"WEIR_JOB_DEGRADED=" + strconv.FormatBool(j.Degraded),
	}
	if len(j.Dependencies) > 0 && len(j.Dependencies) <= maxVariable {
		env = append(env, "WEIR_JOB_DEPENDENCIES="+string(j.Dependencies))
	}
	if trace := j.traceParent(); trace != "" {
		env = append(env, "TRACEPARENT="+trace)
	}
	return env
}

// input is what the program reads: the args or the whole job, with a line break at the end for programs that read lines.
func (p *Program) input(j *claimedJob) io.Reader {
	text := j.Args
	if p.Envelope {
		text, _ = json.Marshal(j) // of what was JSON
	}
	if text == nil {
		text = []byte("{}")
	}
	return io.MultiReader(bytes.NewReader(text), strings.NewReader("\n"))
}
