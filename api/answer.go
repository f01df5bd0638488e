package api

import (
	stdjson "encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// writePatience is how long the client may take for each part of an answer. A client that reads slowly gets all of it; one that stops
// reading is disconnected.
const writePatience = 15 * time.Second

// writeSize bounds the part of an answer that must be read within writePatience.
const writeSize = 64 << 10

// answer is a ResponseWriter that counts, holds back the status until there is something to send, and sets a deadline for each write.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int // 0: none yet
	sent    bool
	bytes   int64

	patience time.Duration // for each write
	http2    bool          // its deadline ends a stream even while nothing is written, so it holds only during a write
}

func newAnswer(w http.ResponseWriter) *answer {
	return &answer{ResponseWriter: w, control: http.NewResponseController(w), patience: writePatience}
}

// WriteHeader holds the status back: if the body then cannot be encoded, a problem still can be answered.
func (a *answer) WriteHeader(status int) {
	if status < 200 {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(b []byte) (written int, err error) {
	a.send()
	for {
		part := b[written:min(written+writeSize, len(b))]
		a.extend()
		n, err := a.ResponseWriter.Write(part)
		a.lift()
		a.bytes += int64(n)
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}

// FlushError is for http.ResponseController.
func (a *answer) FlushError() error {
	a.send()
	a.extend()
	defer a.lift()
	return a.control.Flush()
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) send() {
	if a.sent {
		return
	}
	a.sent = true
	if a.status == 0 {
		a.status = http.StatusOK
	}
	a.ResponseWriter.WriteHeader(a.status)
}

// finish sends what is still held back. net/http writes the rest of its buffer afterwards, also within the deadline that is set here.
func (a *answer) finish() {
	a.send()
	a.extend()
}

func (a *answer) extend() {
	_ = a.control.SetWriteDeadline(time.Now().Add(a.patience)) // the ResponseWriters of some tests have none
}

func (a *answer) lift() {
	if a.http2 {
		_ = a.control.SetWriteDeadline(time.Time{})
	}
}

// jsonFormat is how answers are written.
var jsonFormat = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		if err := writeJSON(w, v); err != nil {
			// Huma would write a text of its own with the status of success. A panic becomes a problem, and is logged.
			panic(fmt.Errorf("encoding the answer: %w", err))
		}
		return nil
	},
	Unmarshal: stdjson.Unmarshal,
}

// appendsJSON is an answer that is written so often that it has an encoder of its own.
type appendsJSON interface {
	appendJSON(text []byte) ([]byte, error)
}

var answerBuffers = sync.Pool{New: func() any { return new([]byte) }}

// largeBuffer is not kept: few answers are larger.
const largeBuffer = 1 << 20

// writeJSON writes nothing unless all of v can be encoded.
func writeJSON(w io.Writer, v any) error {
	direct, ok := v.(appendsJSON)
	if !ok {
		e := stdjson.NewEncoder(ignoreErrors{w})
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	buffer := answerBuffers.Get().(*[]byte)
	text, err := direct.appendJSON((*buffer)[:0])
	if err == nil {
		text = append(text, '\n')
		_, _ = w.Write(text)
	}
	if cap(text) <= largeBuffer {
		*buffer = text
		answerBuffers.Put(buffer)
	}
	return err
}

// ignoreErrors is a writer to a client that may be gone, which is not an error of encoding.
type ignoreErrors struct{ io.Writer }

func (w ignoreErrors) Write(b []byte) (int, error) {
	_, _ = w.Writer.Write(b)
	return len(b), nil
}
