package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirhq/weir/db"
)

// metrics are the engine's figures: of this node, except those that are counted in the database.
type metrics struct {
	e *Engine

	enqueued    prometheus.Counter
	claimedJobs prometheus.Counter
	claimSize   prometheus.Histogram
	groupSize   *prometheus.HistogramVec
	acks        *prometheus.CounterVec
	promoted    prometheus.Counter
	expired     prometheus.Counter
	admitted    prometheus.Counter
	throttled   *prometheus.CounterVec

	limitsRepaired prometheus.Counter
	lateness       prometheus.Histogram
	parked         prometheus.Counter
	wakes          prometheus.Counter
	dead           *prometheus.GaugeVec
	horizon        *prometheus.GaugeVec
	frontierAge    prometheus.GaugeFunc
	writers        prometheus.Gauge
	rollupAge      prometheus.Gauge
	vacuums        *prometheus.CounterVec
	stepSeconds    *prometheus.HistogramVec
	stepFailures   *prometheus.CounterVec
	alertSends     *prometheus.CounterVec

	own []prometheus.Collector

	waiting, awaiting, watching, listening                           *prometheus.Desc
	poolConns, poolWaits, poolWaitTime                               *prometheus.Desc
	queueJobs, queueOldest, workers                                  *prometheus.Desc
	breakers, breakerHeld, breakerOpened, breakerChanges, components *prometheus.Desc
	inFlight, linesWaiting                                           *prometheus.Desc
	alerts, alertsPending                                            *prometheus.Desc

	mu      sync.Mutex
	depths  []prometheus.Metric
	depthAt time.Time
}

const (
	depthFresh  = 10 * time.Second // figures of the whole service are counted at most this often, however many scrape
	depthFor    = 5 * time.Second  // and given up after this time
	metricNames = 500              // queues or circuit breakers with figures of their own; the others are summed as (other)
)

func newMetrics(e *Engine) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		e:           e,
		enqueued:    counter("weir_jobs_enqueued_total", "Jobs enqueued through this node, duplicates included."),
		claimedJobs: counter("weir_jobs_claimed_total", "Jobs claimed through this node."),
		claimSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_claim_batch_jobs", Help: "Jobs that one claim statement took.", Buckets: []float64{0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000},
		}),
		groupSize: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_group_commit_items", Help: "Jobs enqueued or acked that one transaction committed together, by what their calls were: single ones (enqueue, ack) or of several (enqueue_many, ack_many).", Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000},
		}, []string{"operation"}),
		acks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_acks_total", Help: "Acks by outcome (complete, fail, snooze, release) and status (ok, stale_token, not_found).",
		}, []string{"outcome", "status"}),
		promoted: counter("weir_jobs_promoted_total", "Scheduled jobs that this node made available."),
		admitted: counter("weir_jobs_admitted_total", "Jobs of queues with limits that this node admitted."),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_admissions_held_total", Help: "Admission passes that left jobs waiting, by the limit that held them: concurrency, rate (of the queue), or line (a limit of their key or tenant).",
		}, []string{"limit"}),
		limitsRepaired: counter("weir_limits_repaired_total", "Counts of queues with limits that disagreed with their rows and were repaired. Anything but 0 is a defect."),
		expired:        counter("weir_leases_expired_total", "Expired leases that this node took back."),
		lateness: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weir_schedule_lateness_seconds", Help: "Delay between a slot, jitter included, and its firing by this node. Slots that waited for the previous run, or were refused at first, are left out.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 300, 3600},
		}),
		parked: counter("weir_claimer_parkings_total", "Times that a claimer of this node parked and asked to be notified."),
		wakes:  counter("weir_wakeups_total", "Notifications and late commits that made claimers of this node claim again."),
		dead: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_table_dead_rows", Help: "Dead rows of a hot table, as PostgreSQL estimates them.",
		}, []string{"table"}),
		horizon: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_xmin_horizon_age_transactions", Help: "Age in transactions of the oldest snapshot, by holder: transaction (name: its pid), replication slot or prepared transaction.",
		}, []string{"what", "name", "application"}),
		writers:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_frontier_writers", Help: "Transactions that were writing to the hot tables at the last tick of the watermark."}),
		rollupAge: prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_rollup_age_seconds", Help: "How far roll-ups were behind at the last step on this node; 0 if this node has made none."}),
		frontierAge: prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "weir_frontier_age_seconds", Help: "Time since the frontier was last known to be up to date. Above a few seconds, claims slow down and late commits are found late.",
		}, func() float64 {
			if at := e.tickedAt.Get(); !at.IsZero() {
				return e.clock.Since(at).Seconds()
			}
			return 0
		}),
		vacuums: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_vacuums_total", Help: "Vacuums of a hot table by this node."}, []string{"table"}),
		stepSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_loop_step_duration_seconds", Help: "Duration of a step of a loop.", Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .5, 1, 5},
		}, []string{"loop"}),
		stepFailures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_loop_step_failures_total", Help: "Failed steps of a loop."}, []string{"loop"}),

		alertSends: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_alert_attempts_total", Help: "Attempts of this node to tell a target of an alert, by the kind of the target and the result (delivered, failed)."}, []string{"kind", "result"}),

		waiting:        prometheus.NewDesc("weir_claims_waiting", "Claims that wait for a job on this node.", nil, nil),
		awaiting:       prometheus.NewDesc("weir_job_waits", "Calls that wait for the end of a job on this node.", nil, nil),
		watching:       prometheus.NewDesc("weir_event_streams", "Streams of events that this node serves.", nil, nil),
		listening:      prometheus.NewDesc("weir_listener_up", "1 while notifications come in, 0 while claims poll.", nil, nil),
		poolConns:      prometheus.NewDesc("weir_db_pool_connections", "Connections of a pool (calls, groups, loops) by state (idle, used) and its most (max).", []string{"pool", "state"}, nil),
		poolWaits:      prometheus.NewDesc("weir_db_pool_empty_acquires_total", "Calls that had to wait for a connection.", []string{"pool"}, nil),
		poolWaitTime:   prometheus.NewDesc("weir_db_pool_acquire_seconds_total", "Time spent in getting a connection.", []string{"pool"}, nil),
		queueJobs:      prometheus.NewDesc("weir_queue_jobs", "Jobs of a queue by state, dead meaning dead letters; counted at most every 10 seconds, and up to a bound (available and dead: 100,000 of the queue; scheduled, retryable and held: 200,000 of all queues). The 500 queues with the most jobs; the sum of the others is that of the queue (other).", []string{"queue", "state"}, nil),
		queueOldest:    prometheus.NewDesc("weir_queue_oldest_available_seconds", "How long ago the oldest job that is next was enqueued.", []string{"queue"}, nil),
		inFlight:       prometheus.NewDesc("weir_queue_in_flight", "Jobs in flight of a queue with limits; counted at most every 10 seconds.", []string{"queue"}, nil),
		linesWaiting:   prometheus.NewDesc("weir_queue_lines_waiting", "Lines of a queue with limits where something waits.", []string{"queue"}, nil),
		breakers:       prometheus.NewDesc("weir_breaker_state", "1 for the state (closed, open, half_open) that a circuit breaker is in, 0 for the others; read at most every 10 seconds. Of at most 500 breakers; (other) is how many of the others are in the state.", []string{"breaker", "state"}, nil),
		components:     prometheus.NewDesc("weir_component_up", "1 while the last check of a component (see /v1/health) passed; read at most every 10 seconds. node is empty for the whole service.", []string{"component", "node"}, nil),
		breakerHeld:    prometheus.NewDesc("weir_breaker_held_jobs", "Jobs that a circuit breaker holds, counted up to 10,000.", []string{"breaker"}, nil),
		breakerOpened:  prometheus.NewDesc("weir_breaker_opened_total", "Times that a circuit breaker has opened, in the whole service.", []string{"breaker"}, nil),
		breakerChanges: prometheus.NewDesc("weir_breaker_changes_total", "Times that a circuit breaker has changed its state, in the whole service.", []string{"breaker"}, nil),
		alerts:         prometheus.NewDesc("weir_alerts", "Alerts that are open or acknowledged, by severity; counted at most every 10 seconds.", []string{"severity"}, nil),
		alertsPending:  prometheus.NewDesc("weir_alert_deliveries_pending", "Messages about alerts that are still to be delivered, up to 100,000.", nil, nil),
		workers:        prometheus.NewDesc("weir_workers", "Workers by state (active, paused, draining, lost); counted at most every 10 seconds.", []string{"state"}, nil),
	}
	m.own = []prometheus.Collector{m.enqueued, m.claimedJobs, m.claimSize, m.groupSize, m.acks, m.promoted, m.expired, m.admitted, m.throttled, m.limitsRepaired, m.lateness, m.parked, m.wakes, m.dead, m.horizon, m.writers, m.rollupAge, m.frontierAge, m.vacuums, m.stepSeconds, m.stepFailures, m.alertSends}
	return m
}

func (m *metrics) claimed(jobs int) {
	m.claimedJobs.Add(float64(jobs))
	m.claimSize.Observe(float64(jobs))
}

func (m *metrics) group(operation string) func(size int) {
	h := m.groupSize.WithLabelValues(operation)
	return func(size int) { h.Observe(float64(size)) }
}

func (m *metrics) step(loop string, took time.Duration, err error) {
	m.stepSeconds.WithLabelValues(loop).Observe(took.Seconds())
	if err != nil {
		m.stepFailures.WithLabelValues(loop).Inc()
	}
}

// Describe and Collect make it a prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.own {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{m.waiting, m.awaiting, m.watching, m.listening, m.poolConns, m.poolWaits, m.poolWaitTime, m.queueJobs, m.queueOldest, m.workers, m.breakers, m.breakerHeld, m.breakerOpened, m.breakerChanges, m.components, m.inFlight, m.linesWaiting, m.alerts, m.alertsPending} {
		ch <- d
	}
}

func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.own {
		c.Collect(ch)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	up := 0.0
	if m.e.listener.Up() {
		up = 1
	}
	gauge(m.listening, up)
	gauge(m.waiting, float64(m.e.claims.Waiting()))
	gauge(m.awaiting, float64(m.e.watcher.callers()))
	gauge(m.watching, float64(m.e.feed.count()))
	for name, pool := range map[string]*db.Pool{"calls": m.e.pool, "groups": m.e.groupPool, "loops": m.e.loopPool, "reads": m.e.readPool, "probe": m.e.probe} {
		s := pool.Stat()
		gauge(m.poolConns, float64(s.Idle), name, "idle")
		gauge(m.poolConns, float64(s.Used), name, "used")
		gauge(m.poolConns, float64(s.Max), name, "max")
		ch <- prometheus.MustNewConstMetric(m.poolWaits, prometheus.CounterValue, float64(s.Waits), name)
		ch <- prometheus.MustNewConstMetric(m.poolWaitTime, prometheus.CounterValue, s.WaitTime.Seconds(), name)
	}
	for _, d := range m.counted() {
		ch <- d
	}
}

// counted returns the figures of the whole service, counted within depthFresh. Those whose count failed are absent.
func (m *metrics) counted() []prometheus.Metric {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.e.clock.Since(m.depthAt) < depthFresh {
		return m.depths
	}
	ctx, cancel := context.WithTimeout(context.Background(), depthFor)
	defer cancel()
	rows, err := m.e.loops.CountJobs(ctx, metricNames)
	m.depths, m.depthAt = nil, m.e.clock.Now()
	if err != nil {
		m.e.log.Warn("could not count the jobs of the queues for the metrics", "error", err)
		return nil
	}
	for _, r := range rows {
		for _, s := range []struct {
			state State
			n     int64
		}{{Available, r.Available}, {Running, r.Running}, {Scheduled, r.Scheduled}, {Retryable, r.Retryable}, {Held, r.Held}, {Dead, r.Dead}} {
			m.depths = append(m.depths, prometheus.MustNewConstMetric(m.queueJobs, prometheus.GaugeValue, float64(s.n), r.Queue, string(s.state)))
		}
		m.depths = append(m.depths, prometheus.MustNewConstMetric(m.queueOldest, prometheus.GaugeValue, r.OldestAvailableSeconds, r.Queue))
	}
	m.countFlights(ctx)
	m.countBreakers(ctx)
	m.countComponents(ctx)
	m.countWorkers(ctx)
	m.countAlerts(ctx)
	return m.depths
}

// countWorkers leaves the figures out if the count failed: 0 would say that there are no workers.
func (m *metrics) countWorkers(ctx context.Context) {
	workers, err := m.e.loops.CountWorkers(ctx)
	if err != nil {
		m.e.log.Warn("could not count the workers for the metrics", "error", err)
		return
	}
	states := map[WorkerState]int64{WorkerActive: 0, WorkerPaused: 0, WorkerDraining: 0, WorkerLost: 0}
	for _, w := range workers {
		states[WorkerState(w.State)] = w.Workers
	}
	for state, n := range states {
		m.depths = append(m.depths, prometheus.MustNewConstMetric(m.workers, prometheus.GaugeValue, float64(n), string(state)))
	}
}

func (m *metrics) countAlerts(ctx context.Context) {
	n, err := m.e.loops.CountAlerts(ctx)
	if err != nil {
		m.e.log.Warn("could not count the alerts for the metrics", "error", err)
		return
	}
	for severity, alerts := range map[string]int64{"info": n.Info, "warning": n.Warning, "critical": n.Critical} {
		m.depths = append(m.depths, prometheus.MustNewConstMetric(m.alerts, prometheus.GaugeValue, float64(alerts), severity))
	}
	m.depths = append(m.depths, prometheus.MustNewConstMetric(m.alertsPending, prometheus.GaugeValue, float64(n.Pending)))
}

func (m *metrics) countBreakers(ctx context.Context) {
	breakers, err := m.e.loops.CountBreakers(ctx, metricNames)
	if err != nil {
		m.e.log.Warn("could not read the circuit breakers for the metrics", "error", err)
		return
	}
	for _, b := range breakers {
		for state, n := range map[BreakerState]int64{BreakerClosed: b.Closed, BreakerOpen: b.Open, BreakerHalfOpen: b.HalfOpen} {
			m.depths = append(m.depths, prometheus.MustNewConstMetric(m.breakers, prometheus.GaugeValue, float64(n), b.Name, string(state)))
		}
		m.depths = append(m.depths, prometheus.MustNewConstMetric(m.breakerHeld, prometheus.GaugeValue, float64(b.Held), b.Name),
			prometheus.MustNewConstMetric(m.breakerOpened, prometheus.CounterValue, float64(b.TimesOpened), b.Name),
			prometheus.MustNewConstMetric(m.breakerChanges, prometheus.CounterValue, float64(b.Changes), b.Name))
	}
}

func (m *metrics) countComponents(ctx context.Context) {
	rows, err := m.e.loops.ListHealth(ctx, nil)
	if err != nil {
		m.e.log.Warn("could not read the components for the metrics", "error", err)
		return
	}
	for _, r := range rows {
		up := 0.0
		if r.Ok && !r.Silent {
			up = 1
		}
		m.depths = append(m.depths, prometheus.MustNewConstMetric(m.components, prometheus.GaugeValue, up, r.Component, r.Node))
	}
}
