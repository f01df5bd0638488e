package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/weirhq/weir/terminal"
)

// Problem is an answer that refuses a call: a problem document by RFC 9457.
type Problem struct {
	Status int            `json:"status"`
	Title  string         `json:"title"`
	Detail string         `json:"detail"`
	Code   string         `json:"code"`
	Hint   string         `json:"hint"`
	Errors []ProblemError `json:"errors"`
}

// ProblemError is what is wrong with one field.
type ProblemError struct {
	Message  string `json:"message"`
	Location string `json:"location"`
}

// Error is one line: what is wrong, where, and what to do.
func (p *Problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	var fields []string
	for _, e := range p.Errors {
		field := strings.TrimPrefix(strings.TrimPrefix(e.Location, "body"), ".")
		if field != "" && !strings.HasPrefix(e.Message, field) {
			field += " "
		} else {
			field = ""
		}
		if e.Message != "" && e.Message != text {
			fields = append(fields, field+e.Message)
		}
	}
	if len(fields) > 0 {
		text += ": " + strings.Join(fields, "; ")
	}
	if p.Hint != "" {
		text += " (" + p.Hint + ")"
	}
	return terminal.OneLine(text)
}

// problem reads an answer that refuses a call.
func (c *Client) problem(response *http.Response, text []byte) error {
	p := &Problem{}
	kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if kind != "application/problem+json" || json.Unmarshal(text, p) != nil || p.Title == "" && p.Detail == "" {
		p = &Problem{Detail: c.foreign(fmt.Sprintf("%s in a form that is not weir's", response.Status)).Error()}
	}
	p.Status = response.StatusCode
	if p.Code == "not_found" {
		p.Hint = "is " + c.base + " the address of weir?"
	}
	return p
}

// Status is the HTTP status of an answer that refused a call, or 0.
func Status(err error) int {
	var p *Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

// Refused reports whether the service understood a call and refuses it for good: to repeat it is useless.
func Refused(err error) bool {
	switch status := Status(err); status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return status >= 400 && status < 500
	}
}
