// Package api serves weir over HTTP: the REST operations under /v1, their description (/openapi.json, /docs/), and the endpoints for
// operators (/metrics, /livez, /readyz). An operation decodes, calls the engine once and encodes. The rules of jobs belong to the engine,
// and the types of package jobs are the bodies wherever they fit.
//
// A request passes through ServeHTTP (its id, the log, metrics, panics), dispatch (does the route exist, and may the request enter), and
// huma, which validates it against the schemas of the OpenAPI document.
//
// It imports jobs, and never db, pgx or database/sql. A file is a resource, with the same stem as in jobs.
package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/time/rate"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/sso"
)

// Config configures an API. Only Engine is required.
type Config struct {
	Engine *jobs.Engine
	// Logger defaults to slog.Default().
	Logger *slog.Logger
	// Registry is what /metrics shows, and where the HTTP metrics are registered. Defaults to a new one.
	Registry *prometheus.Registry
	// Version is weir's, for /v1/info. Defaults to "dev".
	Version string
	// MaxBodyBytes is the largest body that a request may have. Defaults to 10 MiB.
	MaxBodyBytes int64
	// Auth asks every caller for an API key. Defaults to false: everyone may do everything.
	Auth bool
	// Issuer checks the access tokens of callers, beside API keys. Defaults to none: only keys are accepted.
	Issuer *sso.Issuer
	// MaxBytesInFlight bounds the bytes of all bodies that the node holds, from their arrival until the answer. Defaults to 64 MiB.
	MaxBytesInFlight int64
	// MaxWaiting bounds the calls that wait: claims, and those for the end of a job. Defaults to 20,000.
	MaxWaiting int
	// MaxStreams bounds the streams of events. Defaults to 1000.
	MaxStreams int
	// AllowedHosts are names of hosts under which clients call the node, beside localhost and any address: names, domains with all their names
	// (*.example.com), or * for any. Defaults to none.
	AllowedHosts []string
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
	queries map[string]queryForm          // by route
	hosts   hosts

	bodyBytes budget // of the bodies in flight
	waiting   places // claims and other calls that wait
	streams   places // of events

	origins *http.CrossOriginProtection
	auth    bool
	issuer  *sso.Issuer     // nil: none
	rules   map[string]rule // by route
	rates   *rates
	metrics *metrics
}

// New returns the handler of a node.
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
	var err error
	if a.hosts, err = newHosts(c.AllowedHosts); err != nil {
		return nil, fmt.Errorf("reading the allowed hosts: %w", err)
	}
	if err := c.Registry.Register(a.metrics); err != nil {
		return nil, err
	}
	a.mux.Handle("GET /metrics", promhttp.HandlerFor(c.Registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}))
	if err := a.serveDocs(); err != nil {
		return nil, err
	}
	return a, nil
}

// describe returns an API with all operations. It does not call the engine, which may be nil if only the document is needed.
func describe(c Config) *API {
	if c.MaxBodyBytes == 0 {
		c.MaxBodyBytes = 10 << 20
	}
	if c.MaxBytesInFlight == 0 {
		c.MaxBytesInFlight = 64 << 20
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = 20_000
	}
	if c.MaxStreams == 0 {
		c.MaxStreams = 1000
	}
	mux := http.NewServeMux()
	a := &API{
		engine: c.Engine, log: c.Logger, version: c.Version, maxBody: c.MaxBodyBytes, startedAt: c.StartedAt,
		mux: mux, huma: humago.New(mux, humaConfig()), bodies: map[reflect.Type]*huma.Schema{}, queries: map[string]queryForm{}, origins: http.NewCrossOriginProtection(),
		auth: c.Auth, issuer: c.Issuer, rules: map[string]rule{"GET /metrics": metricsRule}, rates: &rates{of: map[int32]*rate.Limiter{}},
	}
	a.bodyBytes.most, a.waiting.most, a.streams.most = c.MaxBytesInFlight, int64(c.MaxWaiting), int64(c.MaxStreams)
	a.metrics = newMetrics(&a.bodyBytes)
	a.registerJobs()
	a.registerTimelines()
	a.registerWhy()
	a.registerEnqueueing()
	a.registerDryRun()
	a.registerReplays()
	a.registerComparisons()
	a.registerSimilar()
	a.registerClaims()
	a.registerAcks()
	a.registerHeartbeats()
	a.registerLogs()
	a.registerQueues()
	a.registerLimits()
	a.registerWorkers()
	a.registerDead()
	a.registerOperations()
	a.registerBulk()
	a.registerExports()
	a.registerFacets()
	a.registerPresets()
	a.registerBreakers()
	a.registerSchedules()
	a.registerWorkflows()
	a.registerWorkflowSteps()
	a.registerWorkflowGraphs()
	a.registerWebhooks()
	a.registerAlerts()
	a.registerAlertRules()
	a.registerAlertTargets()
	a.registerEvents()
	a.registerKeys()
	a.registerTenants()
	a.registerAudit()
	a.registerStats()
	a.registerHealth()
	a.registerComponents()
	a.registerMessages()
	a.refineSchemas()
	return a
}
