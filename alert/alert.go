// Package alert tells people of alerts: by a signed webhook, e-mail, a payload for Slack and its like, or PagerDuty.
//
// It knows the messages of package jobs, and sends through package webhook, whose guard keeps it out of the private network. It knows
// nothing of databases or the REST API. The chores call it.
package alert

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"strings"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/jobs/clock"
	"github.com/weirhq/weir/webhook"
)

// Config is how a Sender is set up. HTTP is required.
type Config struct {
	// HTTP posts, and connects to SMTP servers.
	HTTP *webhook.Sender
	// PublicURL is where people reach this service, for the links in messages. Defaults to none: then they have none.
	PublicURL string
	// RootCAs are the authorities that sign SMTP servers' certificates. Defaults to the system's.
	RootCAs *x509.CertPool
	// Clock gives the time of messages. Defaults to the machine's.
	Clock clock.Clock
}

// Sender sends messages about alerts. It may be used by many at once.
type Sender struct {
	http      *webhook.Sender
	publicURL string
	roots     *x509.CertPool
	clock     clock.Clock
}

// NewSender makes a Sender.
func NewSender(c Config) *Sender {
	return &Sender{http: c.HTTP, publicURL: strings.TrimRight(c.PublicURL, "/"), roots: c.RootCAs, clock: c.Clock}
}

// SendAlert tells a target, once. It takes no longer than the target's timeout. problem says why it failed; empty: the target was told.
func (s *Sender) SendAlert(ctx context.Context, m jobs.AlertMessage) (problem string) {
	var n notice
	if err := json.Unmarshal(m.Body, &n); err != nil {
		return "the message cannot be read"
	}
	n.Event, n.Link = m.Event, s.link(n.AlertID)
	switch m.Kind {
	case "webhook":
		return s.postWebhook(ctx, m, n)
	case "slack":
		return s.postJSON(ctx, m, m.Target.URL, slackMessage(n))
	case "pagerduty":
		return s.postPagerDuty(ctx, m, n)
	case "email":
		return s.mail(ctx, m, n)
	}
	return "this node knows no target of kind " + m.Kind
}

// link is where the alert is read.
func (s *Sender) link(id string) string {
	if s.publicURL == "" || id == "" {
		return ""
	}
	return s.publicURL + "/v1/alerts/" + id
}

func (s *Sender) postJSON(ctx context.Context, m jobs.AlertMessage, url string, payload any) (problem string) {
	text, err := json.Marshal(payload)
	if err != nil {
		return "the message cannot be written"
	}
	return s.http.Post(ctx, url, nil, text, m.Target.Timeout()).Error
}
