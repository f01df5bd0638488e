package worker

import (
	"io"
	"strings"
)

const (
	// maxResult is the largest result that weir keeps, in bytes.
	maxResult = 1 << 20

	// maxStderr is how many of the last bytes of standard error go into the reason of a failure.
	maxStderr = 4 << 10
)

// head keeps the beginning of what is written to it.
type head struct {
	limit int
	text  []byte
	cut   bool // more than the limit was written
}

func (h *head) Write(p []byte) (int, error) {
	room := h.limit - len(h.text)
	if len(p) > room {
		h.cut = true
		h.text = append(h.text, p[:room]...)
	} else {
		h.text = append(h.text, p...)
	}
	return len(p), nil
}

// tail keeps the end of what is written to it, and passes everything on.
type tail struct {
	limit   int
	text    []byte
	cut     bool
	through io.Writer // nil: nowhere
	log     io.Writer // nil: none
}

func (t *tail) Write(p []byte) (int, error) {
	if t.through != nil {
		_, _ = t.through.Write(p)
	}
	if t.log != nil {
		_, _ = t.log.Write(p)
	}
	t.text = append(t.text, p...)
	if len(t.text) > 16*t.limit {
		t.trim()
	}
	return len(p), nil
}

func (t *tail) trim() {
	if len(t.text) > t.limit {
		t.text = append(t.text[:0], t.text[len(t.text)-t.limit:]...)
		t.cut = true
	}
}

// String is the end as text that JSON and PostgreSQL can hold.
func (t *tail) String() string {
	t.trim()
	text := strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(string(t.text), "\uFFFD"), "\x00", ""))
	if t.cut {
		text = "…" + strings.TrimLeft(text, "\uFFFD")
	}
	return text
}
