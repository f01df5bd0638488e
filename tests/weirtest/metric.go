//go:build unix

package weirtest

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

// Metric adds up the samples of a metric in /metrics. Labels choose among them, as in `queue="q"`. It fails the test if
// there is none: a metric that is missing must not count as 0.
func (s *Node) Metric(name string, labels ...string) float64 {
	s.T.Helper()
	return s.MetricIn(s.Get("/metrics").Want(http.StatusOK), name, labels...)
}

// MetricOrZero is Metric for a counter that appears when it counts for the first time.
func (s *Node) MetricOrZero(name string, labels ...string) float64 {
	s.T.Helper()
	sum, _ := s.samples(s.Get("/metrics").Want(http.StatusOK), name, labels)
	return sum
}

// MetricIn is Metric in an answer of /metrics.
func (s *Node) MetricIn(scraped *Response, name string, labels ...string) float64 {
	s.T.Helper()
	sum, found := s.samples(scraped, name, labels)
	if !found {
		s.T.Fatalf("/metrics has no %s%q", name, labels)
	}
	return sum
}

func (s *Node) samples(scraped *Response, name string, labels []string) (sum float64, found bool) {
	s.T.Helper()
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
	return sum, found
}
