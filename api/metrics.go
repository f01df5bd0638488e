package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the HTTP metrics. Their labels are bounded: a route is a pattern, never a path.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	waiting  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	bodies   prometheus.GaugeFunc
}

func newMetrics(bodyBytes *budget) *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_http_requests_total", Help: "Requests by method, route (a pattern, or none) and status; 499 means that the client disconnected.",
		}, []string{"method", "route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_http_request_duration_seconds", Help: "Duration of requests, except those that asked to wait.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method", "route"}),
		waiting: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_http_long_poll_duration_seconds", Help: "Duration of requests that asked to wait.",
			Buckets: []float64{.005, .025, .1, .5, 1, 2.5, 5, 10, 20, 30, 45, 61},
		}, []string{"method", "route"}),
		bodies: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_http_body_bytes", Help: "Bytes of the bodies of requests in flight.",
		}, func() float64 { return float64(bodyBytes.held.Load()) }),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weir_http_requests_in_flight", Help: "Requests in flight, including those that wait.",
		}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.duration, m.waiting, m.inFlight, m.bodies}
}

// Describe and Collect make it a prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

func (m *metrics) done(r *http.Request, c *call, status int, took time.Duration) {
	method, route := methodOf(r), routeOf(r)
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	durations := m.duration
	if c.waited {
		durations = m.waiting
	}
	durations.WithLabelValues(method, route).Observe(took.Seconds())
}

// routeOf is the path of the pattern that ServeMux found: /v1/jobs/{id}.
func routeOf(r *http.Request) string {
	if r.Pattern == "" {
		return "none"
	}
	_, path, _ := strings.Cut(r.Pattern, " ")
	return path
}

func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}
