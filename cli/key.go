package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

type keyCommands struct {
	List   listKeys  `cmd:"" default:"withargs" help:"List API keys. The default."`
	Create createKey `cmd:"" help:"Make an API key, and print it. With --database-url: the first key of a service."`
	Show   showKey   `cmd:"" help:"Show an API key, without its secret."`
	Rotate rotateKey `cmd:"" help:"Give an API key a new secret, and print it. The old one is accepted too for a while."`
	Revoke revokeKey `cmd:"" help:"Revoke an API key for good."`
}

// key is what is printed of an API key.
type key struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Roles      []string   `json:"roles"`
	Queues     []string   `json:"queues"`
	Tenant     string     `json:"tenant"`
	Redact     bool       `json:"redact"`
	Rate       float64    `json:"rate_per_second"`
	Kind       string     `json:"kind"`
	State      string     `json:"state"`
	CreatedAt  time.Time  `json:"created_at"`
	CreatedBy  string     `json:"created_by"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	OldUntil   *time.Time `json:"old_key_until"`
	Secret     string     `json:"key"`
}

type listKeys struct{ answerFlags }

// Run lists keys.
func (c *listKeys) Run(ctx context.Context, s *Session) error {
	return list(ctx, s, c.answerFlags, rest.Get("/v1/keys"), rest.All, "There are no keys.", layout[key]{
		columns: []string{"KEY", "KIND", "NAME", "ROLES", "QUEUES", "TENANT", "LAST USED", "EXPIRES", "STATE"},
		row: func(_ *printer, k *key) []any {
			return []any{
				k.ID, k.Kind, k.Name, strings.Join(k.Roles, ","), strings.Join(k.Queues, ","), k.Tenant, timeOr(k.LastUsedAt, "never"),
				timeOr(k.ExpiresAt, "never"), k.State,
			}
		},
	})
}

func timeOr(t *time.Time, none string) any {
	if t == nil {
		return none
	}
	return *t
}

// NewKey is an API key to make.
type NewKey struct {
	Name    string     `arg:"" help:"The key's name." json:"name"`
	Roles   []string   `name:"role" help:"What it may do: producer, worker, reader, operator or admin; several with commas." required:"" placeholder:"ROLE,…" json:"roles"`
	Queues  []string   `name:"queue" help:"Only these queues: names, with * for any characters." placeholder:"PATTERN,…" json:"queues,omitempty"`
	Tenant  string     `help:"Only what is this tenant's." placeholder:"TENANT" json:"tenant,omitempty"`
	Expires lifetime   `help:"How long it is accepted: 90d, 12h. Defaults to for ever." placeholder:"TIME" json:"-"`
	Until   *time.Time `kong:"-" json:"expires_at,omitempty"`
	Rate    callRate   `help:"Most calls a second on each node: 100/s." placeholder:"N/s" json:"rate_per_second,omitempty"`
	Redact  bool       `help:"It sees no args, results and metadata." json:"redact,omitempty"`
	// Certificate is sent as Kind.
	Certificate bool   `help:"Make no key: let in who shows a client certificate with this name." json:"-"`
	Kind        string `kong:"-" json:"kind,omitempty"`
}

type createKey struct {
	NewKey
	DatabaseURL string `help:"Make it in this database, without a node: the way to the first key." placeholder:"URL" json:"-"`
	answerFlags `json:"-"`
}

// Run makes a key.
func (c *createKey) Run(ctx context.Context, s *Session) error {
	if c.Expires > 0 {
		until := time.Now().Add(time.Duration(c.Expires))
		c.Until = &until
	}
	if c.Certificate {
		c.Kind = "cert"
	}
	if c.DatabaseURL == "" {
		return c.showKey(ctx, s, rest.Post("/v1/keys", c.NewKey))
	}
	answer, err := s.CreateKey(ctx, c.DatabaseURL, c.NewKey)
	if err != nil {
		return err
	}
	return write(s, c.answerFlags, answer, printSecret(s))
}

// showKey makes a call that makes a secret, and prints it: it is not shown again.
func (f answerFlags) showKey(ctx context.Context, s *Session, call rest.Call) error {
	return show(ctx, s, f, call, printSecret(s))
}

// printSecret prints the key alone to standard output, so that a script can take it from there.
func printSecret(s *Session) func(*printer, *key) {
	return func(p *printer, k *key) {
		if k.Kind == "cert" {
			p.line("%s lets in who shows a client certificate with the name %s", k.ID, k.Name)
			return
		}
		fmt.Fprintf(s.Err, "key %s (%s), which is not shown again:\n", k.ID, terminal.OneLine(k.Name))
		p.line("%s", k.Secret)
	}
}

// keyFlags are those of the commands about one key.
type keyFlags struct {
	ID string `arg:"" complete:"key" help:"The key's id: what follows weir_ in it."`
	answerFlags
}

func (f keyFlags) path(below ...string) string {
	return rest.Path(append([]string{"keys", f.ID}, below...)...)
}

type (
	showKey   struct{ keyFlags }
	rotateKey struct {
		keyFlags
		KeepOld lifetime `help:"How long the old key is accepted too." default:"24h"`
	}
	revokeKey struct {
		keyFlags
		yesFlag
	}
)

// Run shows a key.
func (c *showKey) Run(ctx context.Context, s *Session) error {
	return show(ctx, s, c.answerFlags, rest.Get(c.path()), func(p *printer, k *key) {
		p.line("key %s (%s) is %s", k.ID, k.Name, k.State)
		p.line("roles:     %s", strings.Join(k.Roles, ", "))
		if k.Queues != nil {
			p.line("queues:    %s", strings.Join(k.Queues, ", "))
		}
		if k.Tenant != "" {
			p.line("tenant:    %s", k.Tenant)
		}
		if k.Rate > 0 {
			p.line("rate:      %g/s on each node", k.Rate)
		}
		if k.Redact {
			p.line("redact:    it sees no args, results and metadata")
		}
		p.line("made:      %s by %s", k.CreatedAt.Local().Format(timeFormat), k.CreatedBy)
		for _, t := range []struct {
			name string
			at   *time.Time
		}{{"expires:", k.ExpiresAt}, {"last used:", k.LastUsedAt}, {"old key:", k.OldUntil}} {
			if t.at != nil {
				p.line("%-10s %s", t.name, t.at.Local().Format(timeFormat))
			}
		}
	})
}

// Run gives a key a new secret.
func (c *rotateKey) Run(ctx context.Context, s *Session) error {
	return c.showKey(ctx, s, rest.Post(c.path("rotate"), map[string]any{"keep_old_seconds": time.Duration(c.KeepOld).Seconds()}))
}

// Run asks, and revokes a key.
func (c *revokeKey) Run(ctx context.Context, s *Session) error {
	return c.remove(ctx, s, c.yesFlag, removal{
		find: rest.Get(c.path()), delete: rest.Delete(c.path()),
		question: "Revoke key " + c.ID + " for good?", gone: "key " + c.ID + " is revoked",
	})
}

// callRate is a number of calls a second, such as 100/s.
type callRate float64

// UnmarshalText is called by kong.
func (r *callRate) UnmarshalText(text []byte) error {
	number := strings.TrimSuffix(string(text), "/s")
	if err := json.Unmarshal([]byte(number), (*float64)(r)); err != nil || *r <= 0 {
		return fmt.Errorf("%q is not a rate, such as 100/s", text)
	}
	return nil
}
