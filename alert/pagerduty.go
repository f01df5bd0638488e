package alert

import (
	"cmp"
	"context"
	"time"

	"github.com/weirhq/weir/jobs"
)

// pagerDuty is an event of PagerDuty's Events API, version 2.
type pagerDuty struct {
	RoutingKey  string            `json:"routing_key"`
	EventAction string            `json:"event_action"`
	DedupKey    string            `json:"dedup_key"`
	Client      string            `json:"client,omitempty"`
	ClientURL   string            `json:"client_url,omitempty"`
	Payload     *pagerDutyPayload `json:"payload,omitempty"`
	Links       []pagerDutyLink   `json:"links,omitempty"`
}

type pagerDutyPayload struct {
	Summary       string         `json:"summary"`
	Source        string         `json:"source"`
	Severity      string         `json:"severity"`
	Timestamp     *time.Time     `json:"timestamp,omitempty"`
	Component     string         `json:"component,omitempty"`
	Group         string         `json:"group,omitempty"`
	Class         string         `json:"class,omitempty"`
	CustomDetails map[string]any `json:"custom_details,omitempty"`
}

type pagerDutyLink struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

const longestSummary = 1024 // characters that PagerDuty takes

// postPagerDuty triggers, acknowledges or resolves the incident of the alert. A test triggers one and resolves it at once.
func (s *Sender) postPagerDuty(ctx context.Context, m jobs.AlertMessage, n notice) (problem string) {
	switch n.Event {
	case "acknowledged":
		return s.postPagerDutyEvent(ctx, m, pagerDuty{EventAction: "acknowledge", DedupKey: n.dedupKey()})
	case "resolved":
		return s.postPagerDutyEvent(ctx, m, pagerDuty{EventAction: "resolve", DedupKey: n.dedupKey()})
	case "test":
		key := "weir-test-" + m.ID.String() + n.dedupKey()
		if problem := s.postPagerDutyEvent(ctx, m, trigger(n, key)); problem != "" {
			return problem
		}
		return s.postPagerDutyEvent(ctx, m, pagerDuty{EventAction: "resolve", DedupKey: key})
	}
	return s.postPagerDutyEvent(ctx, m, trigger(n, n.dedupKey()))
}

func (s *Sender) postPagerDutyEvent(ctx context.Context, m jobs.AlertMessage, e pagerDuty) (problem string) {
	e.RoutingKey = m.Target.RoutingKey
	return s.postJSON(ctx, m, m.Target.URL, e)
}

func trigger(n notice, key string) pagerDuty {
	summary := []rune(n.Summary)
	e := pagerDuty{
		EventAction: "trigger", DedupKey: key, Client: "weir", ClientURL: n.Link,
		Payload: &pagerDutyPayload{
			Summary: string(summary[:min(len(summary), longestSummary)]), Source: cmp.Or(n.Subject, "weir"), Severity: n.Severity, Timestamp: n.OpenedAt,
			Component: n.SubjectKind, Group: n.Tenant, Class: n.Condition, CustomDetails: map[string]any{},
		},
	}
	for _, f := range n.facts() {
		e.Payload.CustomDetails[f.name] = f.value
	}
	if n.Description != "" {
		e.Payload.CustomDetails["Description"] = n.Description
	}
	if n.Link != "" {
		e.Links = []pagerDutyLink{{n.Link, "Alert " + n.AlertID}}
	}
	return e
}
