// Package api is the service's face over HTTP: the REST operations under /v1, what describes them (/openapi.json, /docs/), and what
// operators look at (/metrics, /livez, /readyz). An operation decodes, makes one call into the engine and encodes; the rules of jobs
// are the engine's, and the types of package jobs are the bodies wherever they fit.
//
// A request passes, from the outside in: ServeHTTP (its id, the log, the figures, panics), dispatch (is there such a route, and may the
// request come in), and huma, which validates it against the very schemas that the OpenAPI document shows.
//
// It imports jobs, and never db, pgx or database/sql. A file is a resource, with the same stem as in jobs.
package api

import (
	"errors"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weirhq/weir/jobs"
)

// Config is how an API is set up. Only Engine is required.
type Config struct {
	Engine *jobs.Engine
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Registry is what /metrics shows, and where the figures of HTTP are registered. Defaults to a registry of the API's own.
	Registry *prometheus.Registry
	// Version is weir's, for /v1/info. Defaults to "dev".
	Version string
	// MaxBodyBytes is the largest body that a request may have. Defaults to 10 MiB.
	MaxBodyBytes int64
	// StartedAt is when the node started, for /v1/info. Defaults to now.
	StartedAt time.Time
}

// API is the http.Handler of a node.
type API struct {
	engine    *jobs.Engine
	log       *slog.Logger
	version   string
	maxBody   int64
	startedAt time.Time

	mux     *http.ServeMux
	huma    huma.API
	bodies  map[reflect.Type]*huma.Schema // of all types that decode reads
	times   map[string][]string           // by route: the query parameters that are times
	origins *http.CrossOriginProtection
	metrics *metrics
}

// New makes the handler that serves everything.
func New(c Config) (*API, error) {
	if c.Engine == nil {
		return nil, errors.New("an API needs an engine")
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Registry == nil {
		c.Registry = prometheus.NewRegistry()
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.StartedAt.IsZero() {
		c.StartedAt = time.Now()
	}
	a := describe(c)
	if err := c.Registry.Register(a.metrics); err != nil {
		return nil, err
	}
	a.mux.Handle("GET /metrics", promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	if err := a.serveDocs(); err != nil {
		return nil, err
	}
	return a, nil
}

// describe makes an API with all operations. It asks nothing of the engine, which may be nil where only the document is wanted.
func describe(c Config) *API {
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = 10 << 20
	}
	mux := http.NewServeMux()
	a := &API{
		engine: c.Engine, log: c.Logger, version: c.Version, maxBody: c.MaxBodyBytes, startedAt: c.StartedAt,
		mux: mux, huma: humago.New(mux, humaConfig()), bodies: map[reflect.Type]*huma.Schema{}, times: map[string][]string{}, origins: http.NewCrossOriginProtection(), metrics: newMetrics(),
	}
	a.registerJobs()
	a.registerTimelines()
	a.registerWhy()
	a.registerEnqueueing()
	a.registerClaims()
	a.registerAcks()
	a.registerHeartbeats()
	a.registerQueues()
	a.registerLimits()
	a.registerWorkers()
	a.registerDead()
	a.registerOperations()
	a.registerBulk()
	a.registerExports()
	a.registerBreakers()
	a.registerSchedules()
	a.registerWorkflows()
	a.registerWorkflowSteps()
	a.registerWorkflowGraphs()
	a.registerWebhooks()
	a.registerEvents()
	a.registerHealth()
	a.registerComponents()
	a.refineSchemas()
	return a
}
