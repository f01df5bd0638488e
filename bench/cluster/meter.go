package cluster

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// Cost is what a run used and left behind. Sizes are in bytes.
type Cost struct {
	PostgresCPU    float64 `json:"postgres_cpu_seconds"`
	ServiceCPU     float64 `json:"service_cpu_seconds"` // the benchmark's process and its children: producers, workers, the system's code
	OtherCPU       float64 `json:"other_cpu_seconds"`   // whatever else the machine did meanwhile, and what its host withheld: noise
	Seconds        float64 `json:"seconds"`
	WAL            int64   `json:"wal_bytes"`
	DeadTuples     int64   `json:"dead_tuples"`
	Tables         int64   `json:"table_bytes"` // with TOAST
	Indexes        int64   `json:"index_bytes"`
	PostgresMemory int64   `json:"postgres_memory_bytes"` // the most that was seen, shared memory once
	ServiceMemory  int64   `json:"service_memory_bytes"`  // likewise
	StartLSN       string  `json:"start_lsn"`
	EndLSN         string  `json:"end_lsn"`
}

// Meter measures from Begin to End.
type Meter struct {
	cluster *Cluster
	url     string
	start   time.Time
	used    used
	cost    Cost
	stop    chan struct{}
	watcher sync.WaitGroup
}

// Begin starts to measure what happens in a database of this cluster.
func (c *Cluster) Begin(ctx context.Context, url string) (*Meter, error) {
	m := &Meter{cluster: c, url: url, stop: make(chan struct{})}
	if err := m.query(ctx, "select pg_current_wal_lsn()::text", &m.cost.StartLSN); err != nil {
		return nil, err
	}
	var err error
	if m.used, err = c.used(); err != nil {
		return nil, err
	}
	m.start = time.Now()
	m.watcher.Go(m.watchMemory)
	return m, nil
}

// End returns the cost since Begin. It lets go of the meter also where it fails.
func (m *Meter) End(ctx context.Context) (Cost, error) {
	close(m.stop)
	m.watcher.Wait()
	m.cost.Seconds = time.Since(m.start).Seconds()
	used, err := m.cluster.used()
	if err != nil {
		return m.cost, err
	}
	m.cost.PostgresCPU = used.postgres - m.used.postgres
	m.cost.ServiceCPU = used.service - m.used.service
	m.cost.OtherCPU = max(0, used.machine-m.used.machine-m.cost.PostgresCPU-m.cost.ServiceCPU)
	if err := m.query(ctx, "select pg_current_wal_lsn()::text", &m.cost.EndLSN); err != nil {
		return m.cost, err
	}
	return m.cost, m.query(ctx, fmt.Sprintf(`
		select pg_wal_lsn_diff('%s', '%s')::bigint, coalesce(sum(pg_stat_get_dead_tuples(oid)), 0)::bigint,
		  coalesce(sum(pg_table_size(oid)), 0)::bigint, coalesce(sum(pg_indexes_size(oid)), 0)::bigint
		from pg_class where relkind = 'r' and relnamespace not in (select oid from pg_namespace where nspname in ('pg_catalog', 'information_schema'))`,
		m.cost.EndLSN, m.cost.StartLSN), &m.cost.WAL, &m.cost.DeadTuples, &m.cost.Tables, &m.cost.Indexes)
}

func (m *Meter) query(ctx context.Context, sql string, into ...any) error {
	conn, err := pgx.Connect(ctx, m.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return conn.QueryRow(ctx, sql).Scan(into...)
}

// used is processor time in seconds.
type used struct{ postgres, service, machine float64 }

// used reads both trees of processes. The server is a child of this process, so what it used is taken off.
func (c *Cluster) used() (u used, err error) {
	processes, err := steadyTable(os.Getpid())
	if err != nil {
		return u, err
	}
	u.machine, err = machineCPU()
	u.postgres = processes.cpu(c.server.Pid())
	u.service = processes.cpu(os.Getpid()) - u.postgres
	return u, err
}

// watchMemory looks rarely: each look costs milliseconds a process.
func (m *Meter) watchMemory() {
	for wait := time.Second; ; wait = 5 * time.Second {
		select {
		case <-m.stop:
			if wait == time.Second { // too short a run to have been looked at
				m.lookAtMemory()
			}
			return
		case <-time.After(wait):
			m.lookAtMemory()
		}
	}
}

func (m *Meter) lookAtMemory() {
	processes, err := readTable()
	if err != nil {
		return
	}
	postgres := processes.memory(m.cluster.server.Pid())
	m.cost.PostgresMemory = max(m.cost.PostgresMemory, postgres)
	m.cost.ServiceMemory = max(m.cost.ServiceMemory, processes.memory(os.Getpid())-postgres)
}
