//go:build unix

package weirtest

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"time"

	"github.com/weirhq/weir/alert"
	"github.com/weirhq/weir/jobs/chores"
	"github.com/weirhq/weir/webhook"
)

// Alert is an alert as clients see it.
type Alert struct {
	ID, State, Severity, Rule, Tenant, Condition, Subject, Summary, Note string

	SubjectKind     string `json:"subject_kind"`
	AcknowledgedBy  string `json:"acknowledged_by"`
	ResolvedBecause string `json:"resolved_because"`
	Value, Highest  float64
	Facts           map[string]any
	OpenedAt        time.Time  `json:"opened_at"`
	ResolvedAt      *time.Time `json:"resolved_at"`
}

// AlertDelivery is what a target was told, as clients see it.
type AlertDelivery struct {
	ID, Target, Event, State, Error string

	AlertID  string `json:"alert_id"`
	Attempts int
	NextAt   *time.Time `json:"next_at"`
}

// EvaluateAlerts evaluates all rules, as a node does every 15 seconds.
func (s *Node) EvaluateAlerts() {
	s.T.Helper()
	if err := s.Engine.EvaluateAlerts(s.T.Context()); err != nil {
		s.T.Fatal(err)
	}
}

// Alerts returns the alerts of a query, newest first.
func (s *Node) Alerts(query string) []Alert {
	s.T.Helper()
	return Decode[Page[Alert]](s.Get("/v1/alerts" + query).Want(http.StatusOK)).Items
}

// PutAlertRule sets a rule.
func (s *Node) PutAlertRule(name string, settings Object) {
	s.T.Helper()
	s.Do(http.MethodPut, "/v1/alert-rules/"+name, settings).Want(http.StatusOK)
}

// OnlyAlertRule sets a rule and deletes all others.
func (s *Node) OnlyAlertRule(name string, settings Object) {
	s.T.Helper()
	s.Exec("delete from weir.alert_rule")
	s.PutAlertRule(name, settings)
}

// AlertDeliveries returns what was told of an alert, newest first.
func (s *Node) AlertDeliveries(id string) []AlertDelivery {
	s.T.Helper()
	return Decode[Page[AlertDelivery]](s.Get("/v1/alerts/" + id + "/deliveries").Want(http.StatusOK)).Items
}

// RunChoresTelling does a node's background work, and tells targets of alerts on this machine, whose certificates these are.
func (s *Node) RunChoresTelling(certificates ...*x509.Certificate) (stop func()) {
	s.T.Helper()
	roots := x509.NewCertPool()
	for _, c := range certificates {
		roots.AddCert(c)
	}
	return s.RunChoresTellingWith(webhook.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: roots})
}

// RunChoresTellingWith does a node's background work, and tells targets of alerts with these settings.
func (s *Node) RunChoresTellingWith(config webhook.Config) (stop func()) {
	s.T.Helper()
	sender := alert.NewSender(alert.Config{HTTP: webhook.NewSender(config), PublicURL: "https://weir.example.com/", RootCAs: config.RootCAs})
	return s.runChores(chores.Config{Alerts: sender})
}
