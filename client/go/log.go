package weir

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxLines   = 1000 // of a job that wait to be sent; as many as one call takes
	maxMessage = 8192 // characters
	maxFields  = 4096 // bytes
	linesIn    = 10 * time.Second
	logFlights = 8
)

// logHandler writes records to the log of a job.
type logHandler struct {
	run    *run
	attrs  []slog.Attr // with the names of their groups
	groups string      // the names of the groups that are open, each with a dot behind it
}

// Enabled takes all levels: people choose when they read.
func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle adds a line.
func (h *logHandler) Handle(_ context.Context, record slog.Record) error {
	line := logLine{At: record.Time, Level: levelName(record.Level), Message: cut(record.Message)}
	if line.At.IsZero() {
		line.At = time.Now()
	}
	fields := map[string]any{}
	for _, a := range h.attrs {
		addField(fields, "", a)
	}
	record.Attrs(func(a slog.Attr) bool {
		addField(fields, h.groups, a)
		return true
	})
	if len(fields) > 0 {
		text, err := json.Marshal(fields)
		if err != nil || len(text) > maxFields {
			text = []byte(`{"fields":"left out: too large, or no JSON"}`)
		}
		line.Fields = text
	}
	h.run.addLine(line)
	return nil
}

// WithAttrs is the handler with attributes for each line.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = append([]slog.Attr(nil), h.attrs...)
	for _, a := range attrs {
		a.Key = h.groups + a.Key
		next.attrs = append(next.attrs, a)
	}
	return &next
}

// WithGroup is the handler with a name in front of the attributes that follow.
func (h *logHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.groups += name + "."
	return &next
}

func addField(fields map[string]any, prefix string, a slog.Attr) {
	value := a.Value.Resolve()
	switch value.Kind() {
	case slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range value.Group() {
			addField(fields, prefix, member)
		}
	case slog.KindDuration:
		fields[prefix+a.Key] = value.Duration().String()
	default:
		switch v := value.Any().(type) {
		case error:
			fields[prefix+a.Key] = v.Error()
		default:
			fields[prefix+a.Key] = v
		}
	}
}

func levelName(l slog.Level) string {
	switch {
	case l < slog.LevelInfo:
		return "debug"
	case l < slog.LevelWarn:
		return "info"
	case l < slog.LevelError:
		return "warn"
	}
	return "error"
}

// cut makes a message storable: it has 1 to maxMessage characters, and no zero ones.
func cut(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if s == "" {
		return "(empty)"
	}
	if utf8.RuneCountInString(s) > maxMessage {
		s = string([]rune(s)[:maxMessage])
	}
	return s
}

func (r *run) addLine(line logLine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lines) >= maxLines {
		r.lines = append(r.lines[:0], r.lines[1:]...)
		r.dropped++
	}
	r.lines = append(r.lines, line)
}

// takeLines takes the lines that wait, with one that says how many were dropped.
func (r *run) takeLines() []logLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	if r.dropped > 0 {
		lines[0] = logLine{At: lines[0].At, Level: "warn", Message: "lines are missing here: weir did not take them in time", Fields: json.RawMessage(`{}`)}
	}
	r.lines, r.dropped = nil, 0
	return lines
}

// sendLogs sends the lines of all jobs that have some, unless that is under way.
func (w *Worker) sendLogs(underWay chan struct{}) {
	var runs []*run
	w.mu.Lock()
	for r := range w.held {
		r.mu.Lock()
		if len(r.lines) > 0 && r.phase == phaseRunning && !r.inTx {
			runs = append(runs, r)
		}
		r.mu.Unlock()
	}
	w.mu.Unlock()
	if len(runs) == 0 {
		return
	}
	select {
	case underWay <- struct{}{}:
	default:
		return
	}
	go func() {
		defer func() { <-underWay }()
		turns := make(chan struct{}, logFlights)
		for _, r := range runs {
			turns <- struct{}{}
			go func() {
				defer func() { <-turns }()
				r.sendLines()
			}()
		}
		for range logFlights {
			turns <- struct{}{}
		}
	}()
}

// sendLines sends the lines that wait. One sender at a time keeps them in order.
func (r *run) sendLines() {
	r.logTurn.Lock()
	defer r.logTurn.Unlock()
	lines := r.takeLines()
	if len(lines) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(r.w.base, linesIn)
	defer cancel()
	if err := r.w.client.t.appendLog(ctx, r.job, lines); err != nil && !errors.Is(err, ErrLeaseLost) {
		r.w.log.Warn("lines of the log of a job are lost", "job", r.job.ID, "lines", len(lines), "error", err)
	}
}
