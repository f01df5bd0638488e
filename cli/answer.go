package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

// serviceURL is the address of a node on the command line.
type serviceURL string

// UnmarshalText is called by kong.
func (u *serviceURL) UnmarshalText(text []byte) error {
	*u = serviceURL(text)
	return rest.CheckURL(string(text))
}

// ServiceFlags say where weir is, and who calls.
type ServiceFlags struct {
	URL        serviceURL `help:"Address of weir." env:"WEIR_URL" default:"http://127.0.0.1:8080"`
	TokenFile  string     `help:"File with the API key to call weir with. Without it the key is that in WEIR_TOKEN, if there is one." env:"WEIR_TOKEN_FILE" placeholder:"FILE"`
	CAFile     string     `name:"ca-file" help:"PEM file of certificate authorities to trust, beside the system's." env:"WEIR_CA_FILE" placeholder:"FILE"`
	ClientCert string     `help:"PEM file of a client certificate to show." env:"WEIR_CLIENT_CERT" placeholder:"FILE"`
	ClientKey  string     `help:"PEM file of the client certificate's key." env:"WEIR_CLIENT_KEY" placeholder:"FILE"`
}

// Client makes a client of the service.
func (f ServiceFlags) Client(s *Session) (*rest.Client, error) {
	token := func() (string, error) { return s.Token, nil }
	if f.TokenFile != "" {
		token = func() (string, error) { return ReadSecret(f.TokenFile) }
	}
	return rest.New(rest.Config{
		Address: string(f.URL), Version: s.Version, Token: token,
		TLS: rest.TLS{CAFile: f.CAFile, CertFile: f.ClientCert, KeyFile: f.ClientKey},
	})
}

// ReadSecret reads a file with a secret in one line. A secret in a file shows neither in the list of processes nor in the environment.
func ReadSecret(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("the file %s is empty: it should have a secret", path)
	}
	return secret, nil
}

// answerFlags are those of every client command: each can print the service's answer as JSON.
type answerFlags struct {
	JSON bool `name:"json" help:"Print the service's answer as JSON."`
	ServiceFlags
}

// ask makes a call and returns its answer as it came.
func (f answerFlags) ask(ctx context.Context, s *Session, call rest.Call) (json.RawMessage, error) {
	weir, err := f.Client(s)
	if err != nil {
		return nil, err
	}
	return rest.Do[json.RawMessage](ctx, weir, call)
}

// read makes a call and returns its answer as it came, and decoded.
func read[T any](ctx context.Context, s *Session, f answerFlags, call rest.Call) (json.RawMessage, *T, error) {
	answer, err := f.ask(ctx, s, call)
	if err != nil {
		return nil, nil, err
	}
	value, err := decode[T](answer)
	return answer, value, err
}

// show makes a call and prints its answer: as it came with --json, or by print.
func show[T any](
	ctx context.Context, s *Session, f answerFlags, call rest.Call, print func(p *printer, answer *T),
) error {
	answer, err := f.ask(ctx, s, call)
	if err != nil {
		return err
	}
	return write(s, f, answer, print)
}

// write prints an answer that has come: as it is with --json, or by print.
func write[T any](s *Session, f answerFlags, answer json.RawMessage, print func(p *printer, answer *T)) error {
	if f.JSON {
		return s.writeJSON(answer)
	}
	value, err := decode[T](answer)
	if err != nil {
		return err
	}
	p := newPrinter(s)
	print(p, value)
	return p.flush()
}

// list reads a list up to a number of items and prints it: as one page with --json, or as a table, or the sentence
// empty if there is nothing.
func list[T any](
	ctx context.Context, s *Session, f answerFlags, call rest.Call, limit int, empty string, table layout[T],
) error {
	return showList(ctx, s, f, call, limit, func(p *printer, items []T, more bool) {
		if len(items) == 0 {
			p.line("%s", empty)
			return
		}
		table.print(p, items)
		if more {
			p.line("\nThere are more: --limit %d shows twice as many.", 2*limit)
		}
	})
}

// showList reads a list up to a number of items and prints it: as one page with --json, or by print.
func showList[T any](
	ctx context.Context, s *Session, f answerFlags, call rest.Call, limit int, print func(p *printer, items []T, more bool),
) error {
	page, err := f.page(ctx, s, call, limit)
	if err != nil || f.JSON {
		return orWriteJSON(s, err, page)
	}
	items, err := decodeItems[T](page)
	if err != nil {
		return err
	}
	p := newPrinter(s)
	print(p, items, page.NextCursor != nil)
	return p.flush()
}

// page reads a list up to a number of items.
func (f answerFlags) page(ctx context.Context, s *Session, call rest.Call, limit int) (rest.Page, error) {
	weir, err := f.Client(s)
	if err != nil {
		return rest.Page{}, err
	}
	return rest.List(ctx, weir, call, limit)
}

// items reads a list up to a number of items and decodes them.
func items[T any](ctx context.Context, s *Session, f answerFlags, call rest.Call, limit int) ([]T, error) {
	page, err := f.page(ctx, s, call, limit)
	if err != nil {
		return nil, err
	}
	return decodeItems[T](page)
}

// removal is a deletion: what is asked before, and said after it.
type removal struct {
	find     rest.Call // fails if there is nothing to delete
	delete   rest.Call
	question string
	gone     string
}

// remove checks that there is something to delete, asks, deletes it and says so.
func (f answerFlags) remove(ctx context.Context, s *Session, yes yesFlag, r removal) error {
	if _, err := f.ask(ctx, s, r.find); err != nil {
		return err
	}
	if err := s.Confirm(yes.Yes, r.question, "nothing was deleted"); err != nil {
		return err
	}
	answer, err := f.ask(ctx, s, r.delete)
	if err != nil || f.JSON {
		return orWriteJSON(s, err, answer)
	}
	_, err = fmt.Fprintln(s.Out, terminal.OneLine(r.gone))
	return err
}

func decode[T any](answer json.RawMessage) (*T, error) {
	value := new(T)
	if len(answer) == 0 {
		return value, nil
	}
	if err := json.Unmarshal(answer, value); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return value, nil
}

func decodeItems[T any](page rest.Page) ([]T, error) {
	items := make([]T, len(page.Items))
	for i, item := range page.Items {
		value, err := decode[T](item)
		if err != nil {
			return nil, err
		}
		items[i] = *value
	}
	return items, nil
}

// orWriteJSON prints an answer as JSON, unless there was an error.
func orWriteJSON(s *Session, err error, answer any) error {
	if err != nil {
		return err
	}
	return s.writeJSON(answer)
}

// writeJSON prints an answer as one line of JSON, or nothing for one without a body.
func (s *Session) writeJSON(answer any) error {
	text, raw := answer.(json.RawMessage)
	if !raw {
		var encoded bytes.Buffer
		encoder := json.NewEncoder(&encoded)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(answer); err != nil {
			return fmt.Errorf("encoding the answer: %w", err)
		}
		text = encoded.Bytes()
	}
	if text = bytes.TrimSpace(text); len(text) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(s.Out, "%s\n", text)
	return err
}
