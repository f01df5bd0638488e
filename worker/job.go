package worker

import (
	"bytes"
	"encoding/json"
	"io"
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
	Degraded       bool            `json:"degraded"`
}

// environment is what the program learns about its job.
func (j *claimedJob) environment() []string {
	tags, metadata := j.Tags, j.Metadata
	if tags == nil {
		tags = []byte("[]")
	}
	if metadata == nil {
		metadata = []byte("{}")
	}
	return []string{
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
}

// input is the args, with a line break at the end for programs that read lines.
func (j *claimedJob) input() io.Reader {
	args := j.Args
	if args == nil {
		args = []byte("{}")
	}
	return io.MultiReader(bytes.NewReader(args), strings.NewReader("\n"))
}
