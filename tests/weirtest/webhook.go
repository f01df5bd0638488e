//go:build unix

package weirtest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirhq/weir/jobs/chores"
	"github.com/weirhq/weir/webhook"
)

// WebhookReceiver is an HTTPS server that webhooks are sent to.
type WebhookReceiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []ReceivedEvent
	answer int // 0: 200
}

// ReceivedEvent is a message that a WebhookReceiver got.
type ReceivedEvent struct {
	ID, Event, Queue, Kind, Worker string
	JobID                          string `json:"job_id"`
	Attempt                        int
	At                             time.Time
	Error                          *struct{ Message, Type string }

	Header http.Header
	Body   []byte
}

// NewWebhookReceiver starts a receiver. It ends with the test.
func NewWebhookReceiver(t *testing.T) *WebhookReceiver {
	r := &WebhookReceiver{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		e := ReceivedEvent{Header: request.Header, Body: body}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Errorf("told %s: %v", body, err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, e)
		if r.answer == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		if r.answer != 0 {
			w.WriteHeader(r.answer)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// Received returns all messages that came.
func (r *WebhookReceiver) Received() []ReceivedEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// AnswerWith sets the status of the answers from now on.
func (r *WebhookReceiver) AnswerWith(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = status
}

// EventNames returns the messages that came, without repetitions, sorted, as "job event".
func (r *WebhookReceiver) EventNames() []string {
	seen := map[string]bool{}
	var names []string
	for _, e := range r.Received() {
		if !seen[e.ID] {
			names = append(names, e.JobID+" "+e.Event)
		}
		seen[e.ID] = true
	}
	slices.Sort(names)
	return names
}

// Signed checks a signature by the rules of Standard Webhooks, without package webhook.
func (e *ReceivedEvent) Signed(secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < 24 {
		return false
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(e.Header.Get("webhook-id") + "." + e.Header.Get("webhook-timestamp") + "." + string(e.Body)))
	return slices.Contains(strings.Fields(e.Header.Get("webhook-signature")), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// RunChoresSendingTo does a node's background work, with a webhook sender that accepts these receivers.
func (s *Node) RunChoresSendingTo(receivers ...*WebhookReceiver) (stop func()) {
	s.T.Helper()
	roots := x509.NewCertPool()
	for _, r := range receivers {
		roots.AddCert(r.Certificate())
	}
	sender := webhook.NewSender(webhook.Config{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, RootCAs: roots})
	return s.RunChoresWith(sender)
}

// RunChoresWith does a node's background work with this webhook sender.
func (s *Node) RunChoresWith(sender chores.Sender) (stop func()) {
	s.T.Helper()
	return s.runChores(chores.Config{Sender: sender})
}

func (s *Node) runChores(config chores.Config) (stop func()) {
	s.T.Helper()
	config.DatabaseURL, config.Engine = s.DB.Direct, s.Engine
	c, err := chores.Open(s.T.Context(), config)
	if err != nil {
		s.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	return sync.OnceFunc(func() { cancel(); running.Wait() })
}

// Webhook is a webhook as clients see it.
type Webhook struct {
	Name, URL, Secret string
	Events, Queues    []string
	Enabled           bool
	DisabledReason    string `json:"disabled_reason"`
	Pending           int
	FailingSince      *time.Time `json:"failing_since"`
}

// Delivery is a delivery of a webhook as clients see it.
type Delivery struct {
	ID, Event, State, Error string
	EventID                 string `json:"event_id"`
	Attempts, Status        int
	DurationSeconds         float64 `json:"duration_seconds"`
}

// AddWebhook creates a webhook.
func (s *Node) AddWebhook(body Object) Webhook {
	s.T.Helper()
	return Decode[Webhook](s.Post("/v1/webhooks", body).Want(http.StatusCreated))
}

// Webhook returns a webhook.
func (s *Node) Webhook(name string) Webhook {
	s.T.Helper()
	return Decode[Webhook](s.Get("/v1/webhooks/" + name).Want(http.StatusOK))
}

// Deliveries returns the newest deliveries of a webhook.
func (s *Node) Deliveries(name string) []Delivery {
	s.T.Helper()
	return Decode[struct{ Items []Delivery }](s.Get("/v1/webhooks/" + name + "/deliveries").Want(http.StatusOK)).Items
}
