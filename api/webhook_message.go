package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weirhq/weir/jobs"
)

// WebhookMessage is what a webhook is sent; weir.event_body writes it.
type WebhookMessage struct {
	ID      string        `json:"id" doc:"The id of the event, the same in each attempt and in the header webhook-id." example:"4711-dead-5-1769853600000000"`
	Event   string        `json:"event" doc:"What happened: one of the webhook's events, or test."`
	At      time.Time     `json:"at" doc:"When it happened, by the database's clock."`
	JobID   jobs.ID       `json:"job_id,omitempty" doc:"The job; a test has none." example:"4711"`
	Queue   string        `json:"queue,omitempty" doc:"The job's queue." example:"mail"`
	Kind    string        `json:"kind,omitempty" doc:"The job's kind." example:"send_receipt"`
	Attempt int           `json:"attempt,omitempty" doc:"Attempts made by then."`
	Worker  string        `json:"worker,omitempty" doc:"The worker that ran the job." example:"mailer-1"`
	RunAt   *time.Time    `json:"run_at,omitempty" doc:"When the job becomes available, if it was scheduled."`
	Error   *MessageError `json:"error,omitempty" doc:"With failed and dead: the error of the attempt."`
}

// MessageError is an error in a message: without its stack, and without its text unless the webhook has error_text.
type MessageError struct {
	Type    string `json:"type,omitempty" doc:"The class of the error." example:"SMTPError"`
	Message string `json:"message,omitempty" doc:"With error_text: its first 200 characters."`
}

// AlertMessage is what an alert target of kind webhook is sent; package alert writes it.
type AlertMessage struct {
	Event           string          `json:"event" enum:"opened,acknowledged,resolved,test" doc:"What happened."`
	AlertID         jobs.ID         `json:"alert_id,omitempty" doc:"The alert; a test has none." example:"12"`
	Rule            string          `json:"rule,omitempty" doc:"The rule that it is of." example:"mail-depth"`
	Tenant          string          `json:"tenant,omitempty" doc:"The tenant of the rule."`
	Condition       string          `json:"condition,omitempty" doc:"What was measured." example:"queue_depth"`
	Severity        string          `json:"severity" enum:"info,warning,critical" doc:"How bad it is."`
	SubjectKind     string          `json:"subject_kind,omitempty" doc:"What kind of thing it concerns." example:"queue"`
	Subject         string          `json:"subject,omitempty" doc:"What it concerns." example:"mail"`
	State           string          `json:"state,omitempty" doc:"The alert's state." example:"open"`
	Summary         string          `json:"summary" doc:"What is wrong, in a sentence."`
	Value           *float64        `json:"value,omitempty" doc:"What was measured."`
	Threshold       *float64        `json:"threshold,omitempty" doc:"The threshold of the rule."`
	Facts           json.RawMessage `json:"facts,omitempty" doc:"More about the subject."`
	Description     string          `json:"description,omitempty" doc:"What the rule says about it."`
	Since           *time.Time      `json:"since,omitempty" doc:"Since when the condition has held."`
	OpenedAt        *time.Time      `json:"opened_at,omitempty" doc:"When the alert opened."`
	AcknowledgedAt  *time.Time      `json:"acknowledged_at,omitempty" doc:"When someone acknowledged it."`
	AcknowledgedBy  string          `json:"acknowledged_by,omitempty" doc:"Who acknowledged it."`
	Note            string          `json:"note,omitempty" doc:"What they wrote."`
	ResolvedAt      *time.Time      `json:"resolved_at,omitempty" doc:"When it was over."`
	ResolvedBecause string          `json:"resolved_because,omitempty" doc:"Why it was over." example:"cleared"`
	Link            string          `json:"link,omitempty" doc:"Where people see the alert."`
}

// registerMessages describes what weir sends.
func (a *API) registerMessages() {
	waiting := 1200.0
	a.huma.OpenAPI().Webhooks = map[string]*huma.PathItem{
		"job": {Post: a.message("receiveEvent", tagWebhooks, "An event of a job",
			"Sent to a webhook for each of its events, at least once. Answer with a status of 200 to 299; anything else is tried again. "+
				"An answer of 410 disables the webhook.",
			WebhookMessage{
				ID: "4711-dead-5-1769853600000000", Event: "dead", At: exampleTime, JobID: 4711, Queue: "mail", Kind: "send_receipt",
				Attempt: 5, Worker: "mailer-1", Error: &MessageError{Type: "SMTPError"},
			})},
		"alert": {Post: a.message("receiveAlert", tagAlerts, "An alert",
			"Sent to an alert target of kind webhook when an alert opens, is acknowledged or resolves, at least once.",
			AlertMessage{
				Event: "opened", AlertID: 12, Rule: "mail-depth", Condition: "queue_depth", Severity: "critical", SubjectKind: "queue",
				Subject: "mail", State: "open", Summary: "1200 jobs wait in queue mail, more than 1000", Value: &waiting, OpenedAt: &exampleTime,
			})},
	}
}

func (a *API) message(id, tag, summary, description string, example any) *huma.Operation {
	header := func(name, says string) *huma.Param {
		return &huma.Param{Name: name, In: "header", Required: true, Description: says, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return &huma.Operation{
		OperationID: id, Tags: []string{tag}, Summary: summary, Security: []map[string][]string{},
		Description: description + " It is signed as Standard Webhooks says.",
		Parameters: []*huma.Param{
			header("webhook-id", "The same in each attempt."), header("webhook-timestamp", "When it was sent, in seconds since 1970."),
			header("webhook-signature", "v1, and the HMAC-SHA256 of id, timestamp and body, in base64; several during a rotation, with spaces between."),
		},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {Schema: a.schemas().Schema(reflect.TypeOf(example), true, ""), Example: example},
		}},
		Responses: map[string]*huma.Response{
			"2XX": {Description: http.StatusText(http.StatusOK)}, "4XX": {Description: "It is sent again later; 410: never."},
		},
	}
}
