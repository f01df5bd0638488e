package alert

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// notice is what a message tells: an alert as it was when the event happened.
type notice struct {
	Event           string         `json:"event"`
	AlertID         string         `json:"alert_id,omitempty"`
	Rule            string         `json:"rule,omitempty"`
	Tenant          string         `json:"tenant,omitempty"`
	Condition       string         `json:"condition,omitempty"`
	Severity        string         `json:"severity"`
	SubjectKind     string         `json:"subject_kind,omitempty"`
	Subject         string         `json:"subject,omitempty"`
	State           string         `json:"state,omitempty"`
	Summary         string         `json:"summary"`
	Value           *float64       `json:"value,omitempty"`
	Threshold       *float64       `json:"threshold,omitempty"`
	Facts           map[string]any `json:"facts,omitempty"`
	Description     string         `json:"description,omitempty"`
	Since           *time.Time     `json:"since,omitempty"`
	OpenedAt        *time.Time     `json:"opened_at,omitempty"`
	AcknowledgedAt  *time.Time     `json:"acknowledged_at,omitempty"`
	AcknowledgedBy  string         `json:"acknowledged_by,omitempty"`
	Note            string         `json:"note,omitempty"`
	ResolvedAt      *time.Time     `json:"resolved_at,omitempty"`
	ResolvedBecause string         `json:"resolved_because,omitempty"`
	Link            string         `json:"link,omitempty"`
}

// title is the message in a line.
func (n notice) title() string {
	switch n.Event {
	case "resolved", "acknowledged", "test":
		return fmt.Sprintf("[%s] %s", n.Event, n.Summary)
	}
	return fmt.Sprintf("[%s] %s", n.Severity, n.Summary)
}

// fact is a line about the alert.
type fact struct{ name, value string }

// facts are what a person wants to know beside the title.
func (n notice) facts() []fact {
	var facts []fact
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, fact{name, value})
		}
	}
	add("Severity", n.Severity)
	add("Rule", n.Rule)
	add("Tenant", n.Tenant)
	if n.Subject != "" {
		add(strings.ToUpper(n.SubjectKind[:1])+n.SubjectKind[1:], n.Subject)
	}
	for _, name := range sorted(n.Facts) {
		add(label(name), words(n.Facts[name]))
	}
	add("Since", stamp(n.Since))
	add("Opened", stamp(n.OpenedAt))
	add("Acknowledged", stamp(n.AcknowledgedAt))
	add("By", n.AcknowledgedBy)
	add("Note", n.Note)
	add("Resolved", stamp(n.ResolvedAt))
	if n.ResolvedBecause != "" && n.ResolvedBecause != "cleared" {
		add("Because", strings.ReplaceAll(n.ResolvedBecause, "_", " "))
	}
	return facts
}

func sorted(facts map[string]any) []string {
	names := make([]string, 0, len(facts))
	for name := range facts {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// label turns oldest_seconds into "Oldest (s)".
func label(name string) string {
	if stem, ok := strings.CutSuffix(name, "_seconds"); ok {
		name = stem + " (s)"
	}
	name = strings.ReplaceAll(strings.TrimSuffix(name, "_at"), "_", " ")
	return strings.ToUpper(name[:1]) + name[1:]
}

func words(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	text, _ := json.Marshal(value) // it came from JSON
	return string(text)
}

func stamp(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// dedupKey names an alert wherever it is told, and on whatever node.
func (n notice) dedupKey() string {
	key := "weir-alert-" + n.AlertID
	if n.OpenedAt != nil {
		key += fmt.Sprintf("-%d", n.OpenedAt.Unix())
	}
	return key
}
