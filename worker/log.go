package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/weirhq/weir/rest"
)

const (
	// logEvery is how long a line waits at most before it is sent,
	logEvery = time.Second

	// and logBatch how many lines are sent at once without a wait.
	logBatch = 100

	// maxLogLines and maxLogBytes bound the lines of a job that wait to be sent. More are dropped.
	maxLogLines = 1000
	maxLogBytes = 512 << 10

	// maxLogMessage is how many characters the service takes of a message, and maxLogFields how many bytes of fields.
	maxLogMessage = 8192
	maxLogFields  = 4 << 10

	// lastLog is how long a job waits, after its end, for its last lines to be sent.
	lastLog = 2 * time.Second

	// logSenders is how many jobs send lines at once. The connections are for claims and acks too.
	logSenders = 4
)

// logs sends what programs write to standard error to the logs of their jobs.
type logs struct {
	client *rest.Client
	log    *slog.Logger
	turns  chan struct{}

	mu     sync.Mutex
	outage outage
}

func newLogs(client *rest.Client, log *slog.Logger) *logs {
	return &logs{client: client, log: log, turns: make(chan struct{}, logSenders), outage: outage{log: log, what: "sending logs"}}
}

// sent notes how a call went.
func (s *logs) sent(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.outage.note(err)
	} else {
		s.outage.over()
	}
}

// logLine is a line as the service takes it.
type logLine struct {
	At      time.Time                  `json:"at"`
	Level   string                     `json:"level,omitempty"`
	Message string                     `json:"message"`
	Fields  map[string]json.RawMessage `json:"fields,omitempty"`
}

// jobLog takes what a program writes, and sends it line by line. A write never waits: lines that find no room are dropped.
type jobLog struct {
	of     *logs
	job    *claimedJob
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1
	ending chan struct{}
	done   chan struct{} // closed when the sender has ended; nil: it never began

	mu      sync.Mutex
	partial []byte // a line without its end
	lines   []logLine
	bytes   int  // of the lines
	missing int  // lines that were dropped since the last that was kept
	dropped int  // in all
	failing bool // the last call did
	closed  bool // the service takes no more
}

// begin makes the log of a job. It costs nothing until the program writes.
func (s *logs) begin(job *claimedJob) *jobLog {
	return &jobLog{of: s, job: job, wake: make(chan struct{}, 1), ending: make(chan struct{})}
}

// Write takes a part of standard error.
func (l *jobLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return len(p), nil
	}
	defer l.begun()
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		l.partial = append(l.partial, line...)
		for len(l.partial) > 4*maxLogMessage { // without an end to come
			l.add(l.partial[:4*maxLogMessage])
			l.partial = append(l.partial[:0], l.partial[4*maxLogMessage:]...)
		}
		if whole {
			l.add(l.partial)
			l.partial = l.partial[:0]
		}
	}
	return len(p), nil
}

// note takes a line that the program reports.
func (l *jobLog) note(message, level string, fields map[string]json.RawMessage) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	lines := linesOf([]byte(message), time.Now())
	for i := range lines {
		lines[i].Level, lines[i].Fields = levels[strings.ToLower(level)], fields
	}
	l.keep(lines)
	l.begun()
}

// begun starts sending with the first line, and sends many lines at once. Call it with mu held.
func (l *jobLog) begun() {
	if l.done == nil && len(l.lines) > 0 {
		l.done = make(chan struct{})
		l.ctx, l.cancel = context.WithCancel(context.Background())
		go l.send()
	}
	if len(l.lines) >= logBatch && !l.failing {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// add takes in a line of standard error, in pieces if it is long. Call it with mu held.
func (l *jobLog) add(text []byte) { l.keep(linesOf(text, time.Now())) }

// keep keeps lines that find room until they are sent. Call it with mu held.
func (l *jobLog) keep(lines []logLine) {
	for _, line := range lines {
		size := len(line.Message)
		for name, value := range line.Fields {
			size += len(name) + len(value)
		}
		if len(l.lines) >= maxLogLines || l.bytes+size > maxLogBytes {
			l.missing++
			l.dropped++
			continue
		}
		if l.missing > 0 {
			l.lines = append(l.lines, missingLine(l.missing))
			l.missing = 0
		}
		l.lines = append(l.lines, line)
		l.bytes += size
	}
}

func missingLine(n int) logLine {
	message := "1 line is missing here: the worker dropped it"
	if n > 1 {
		message = strconv.Itoa(n) + " lines are missing here: the worker dropped them"
	}
	return logLine{At: time.Now().UTC(), Level: "warn", Message: message}
}

// end sends what is left, unless the lease is lost, and waits for that a little.
func (l *jobLog) end(stopped stopReason) {
	l.mu.Lock()
	if len(l.partial) > 0 && !l.closed {
		l.add(l.partial)
		l.partial = nil
	}
	if l.missing > 0 {
		l.lines = append(l.lines, missingLine(l.missing))
		l.missing = 0
	}
	l.begun()
	done := l.done
	l.mu.Unlock()
	if done == nil {
		return
	}
	wait := lastLog
	switch stopped {
	case leaseLost:
		wait = 0
	case cutShort:
		wait = lastLog / 2
	case notStopped, jobCancelled, timedOut, shuttingDown:
	}
	timer := time.AfterFunc(wait, l.cancel)
	close(l.ending)
	<-done
	timer.Stop()
	l.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	if lost := l.dropped + len(l.lines); lost > 0 && stopped != leaseLost {
		l.of.log.Warn("dropped lines of the log of a job", "job", l.job.ID, "lines", lost)
	}
	l.lines, l.closed = nil, true
}

// send sends lines until the program has ended and none is left, or the service takes no more.
func (l *jobLog) send() {
	defer close(l.done)
	tick := time.NewTicker(logEvery)
	defer tick.Stop()
	ending := false
	for pause := (rest.Backoff{}); ; {
		if !ending {
			select {
			case <-l.wake:
			case <-tick.C:
			case <-l.ending:
				ending = true
			}
		}
		sent, more := l.sendBatch()
		switch {
		case !more && (ending || l.isClosed()):
			return
		case ending && !sent && !pause.Sleep(l.ctx):
			return
		}
	}
}

func (l *jobLog) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// sendBatch sends the lines that wait, and returns whether it did and whether there are more.
func (l *jobLog) sendBatch() (sent, more bool) {
	l.mu.Lock()
	batch := l.lines[:min(len(l.lines), maxLogLines)]
	l.mu.Unlock()
	if len(batch) == 0 {
		return true, false
	}
	select {
	case l.of.turns <- struct{}{}:
	case <-l.ctx.Done():
		return false, true
	}
	full, err := l.post(batch)
	<-l.of.turns
	l.mu.Lock()
	defer l.mu.Unlock()
	switch status := rest.Status(err); {
	case err != nil && status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout:
		full = true // the lease is lost, or the service takes no such lines
		l.dropped += len(batch)
	case err != nil:
		l.failing = true
		if l.ctx.Err() == nil {
			l.of.sent(err)
		}
		return false, true
	default:
		l.of.sent(nil)
	}
	l.failing = false
	l.lines = append([]logLine(nil), l.lines[len(batch):]...)
	l.bytes = 0
	for _, line := range l.lines {
		l.bytes += len(line.Message)
	}
	if full {
		l.dropped += len(l.lines)
		l.lines, l.partial, l.closed = nil, nil, true
	}
	return true, len(l.lines) > 0
}

// post sends lines, and returns whether the log is full. Lines that are refused for their fields go without.
func (l *jobLog) post(lines []logLine) (full bool, err error) {
	type answer struct {
		Dropped int `json:"dropped"`
	}
	path := rest.Path("jobs", l.job.ID, "logs")
	got, err := rest.Do[answer](l.ctx, l.of.client, rest.Post(path, map[string]any{"token": l.job.Token, "lines": lines}))
	if unfit(err) {
		plain := make([]logLine, len(lines))
		for i, line := range lines {
			plain[i] = logLine{At: line.At, Level: line.Level, Message: line.Message}
		}
		got, err = rest.Do[answer](l.ctx, l.of.client, rest.Post(path, map[string]any{"token": l.job.Token, "lines": plain}))
	}
	return got.Dropped > 0, err
}

// linesOf makes lines of the log of one that a program wrote: of JSON with a message one with a level and fields, of other text as many as it takes.
func linesOf(text []byte, now time.Time) (lines []logLine) {
	text = bytes.TrimRight(text, "\r \t")
	if line, ok := structured(text); ok {
		if line.At.IsZero() {
			line.At = now.UTC()
		}
		return []logLine{line}
	}
	message := strings.ReplaceAll(strings.ToValidUTF8(string(text), "\uFFFD"), "\x00", "\uFFFD")
	for message != "" {
		end := len(message)
		if utf8.RuneCountInString(message) > maxLogMessage {
			end = 0
			for range maxLogMessage {
				_, size := utf8.DecodeRuneInString(message[end:])
				end += size
			}
		}
		lines = append(lines, logLine{At: now.UTC(), Message: message[:end]})
		message = message[end:]
	}
	return lines
}

// levels are the names of levels that programs use, and what weir calls them.
var levels = map[string]string{
	"trace": "debug", "debug": "debug", "info": "info", "notice": "info", "warn": "warn", "warning": "warn",
	"error": "error", "err": "error", "critical": "error", "fatal": "error", "panic": "error",
}

// structured reads a line that is a JSON object with a message, as loggers write it. Its other members are the fields.
func structured(text []byte) (line logLine, ok bool) {
	if len(text) == 0 || text[0] != '{' || !utf8.Valid(text) || bytes.Contains(text, []byte(`\u0000`)) {
		return line, false
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return line, false
	}
	word := func(names ...string) (name, value string) {
		for _, name := range names {
			if json.Unmarshal(members[name], &value) == nil && value != "" {
				return name, value
			}
		}
		return "", ""
	}
	named, message := word("message", "msg")
	if named == "" || utf8.RuneCountInString(message) > maxLogMessage {
		return line, false
	}
	line.Message = message
	delete(members, named)
	if name, level := word("level", "severity"); levels[strings.ToLower(level)] != "" {
		line.Level = levels[strings.ToLower(level)]
		delete(members, name)
	}
	if name, at := word("at", "time", "timestamp", "ts"); name != "" {
		if t, err := time.Parse(time.RFC3339Nano, at); err == nil && t.Year() >= 1 && t.Year() <= 9998 {
			line.At = t.UTC()
			delete(members, name)
		}
	}
	size := 2
	for name, value := range members {
		size += len(name) + len(value) + 6
	}
	if size > maxLogFields {
		return line, false
	}
	line.Fields = members
	return line, true
}
