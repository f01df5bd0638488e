//go:build unix

package weirtest

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

// Metric adds up the samples of a metric in /metrics. Labels choose among them, as in `queue="q"`.
func (s *Node) Metric(name string, labels ...string) float64 {
	s.T.Helper()
	return s.MetricIn(s.Get("/metrics").Want(http.StatusOK), name, labels...)
}

// MetricIn adds up the samples of a metric in an answer of /metrics.
func (s *Node) MetricIn(scraped *Response, name string, labels ...string) float64 {
	s.T.Helper()
	sum, found := 0.0, false
	lines := bufio.NewScanner(bytes.NewReader(scraped.Body))
lines:
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		base, given, _ := strings.Cut(series, "{")
		if base != name {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(given, l) {
				continue lines
			}
		}
		var x float64
		if _, err := fmt.Sscan(value, &x); err != nil {
			s.T.Fatalf("%s: %v", lines.Text(), err)
		}
		sum, found = sum+x, true
	}
	if !found && len(labels) == 0 {
		s.T.Fatalf("there is no metric %s", name)
	}
	return sum
}
