package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/weirhq/weir/access"
)

// A circuit breaker is stored by its reference: `name`, or `tenant/name` if it is a tenant's. A name has no slash, so the
// last one divides. A caller who is bound to a tenant means, and sees, names within that tenant.

// splitBreaker is the tenant of a reference, empty for none, and the name.
func splitBreaker(reference string) Ref {
	i := strings.LastIndexByte(reference, '/')
	return Ref{Tenant: reference[:max(i, 0)], Name: reference[i+1:]}
}

// joined is the reference of a circuit breaker.
func (r Ref) joined() string {
	if r.Tenant == "" {
		return r.Name
	}
	return r.Tenant + "/" + r.Name
}

// within is the circuit breaker as its caller names it in SQL: a caller with a tenant names its own by their names.
func (r Ref) within(ctx context.Context) string {
	if p := access.From(ctx); p != nil && p.Tenant != "" && p.Tenant == r.Tenant {
		return r.Name
	}
	return r.joined()
}

// shownBreaker is a circuit breaker as the caller sees it: without its own tenant.
func shownBreaker(ctx context.Context, reference string) string {
	return shownTo(access.From(ctx), reference)
}

func shownTo(p *access.Principal, reference string) string {
	if r := splitBreaker(reference); p != nil && r.Tenant != "" && r.Tenant == p.Tenant {
		return r.Name
	}
	return reference
}

// ownBreaker is the reference of the circuit breaker that the caller means. Another tenant's is refused at the field as
// what can be no name.
func ownBreaker(p *access.Principal, field, reference string) (string, error) {
	if p == nil || p.Tenant == "" || reference == "" {
		return reference, nil
	}
	switch splitBreaker(reference).Tenant {
	case p.Tenant:
		return reference, nil
	case "":
		if !strings.Contains(reference, "/") {
			return Ref{Tenant: p.Tenant, Name: reference}.joined(), nil
		}
	}
	return "", invalid(field, "must be 1 to 128 letters, digits or _ . : -")
}

// ownBreakerIn writes into the text of a job the reference of the circuit breaker that the caller means, as stamp writes
// the tenant.
func ownBreakerIn(p *access.Principal, place string, job json.RawMessage) (json.RawMessage, error) {
	if p == nil || p.Tenant == "" || !bytes.Contains(job, []byte("breaker")) && !bytes.Contains(job, []byte(`\u`)) {
		return job, nil // it names none, in no spelling
	}
	var fields map[string]json.RawMessage
	var given string
	if err := json.Unmarshal(job, &fields); err != nil && bytes.HasPrefix(bytes.TrimSpace(job), []byte{'{'}) {
		return nil, &Error{Code: InvalidArgument, Field: place, Message: place + " is not valid JSON", cause: err}
	}
	if json.Unmarshal(fields["breaker"], &given) != nil || fields["breaker"][0] != '"' {
		return job, nil // what is no object or no name is refused by the database
	}
	reference, err := ownBreaker(p, place+".breaker", given)
	if err != nil || reference == given {
		return job, err
	}
	return withField(job, "breaker", reference), nil
}

// withField appends a field to the text of an object. Of a name that is given twice jsonb keeps the last.
func withField(object json.RawMessage, name, value string) json.RawMessage {
	end := bytes.LastIndexByte(object, '}')
	text, _ := json.Marshal(value) // a string has no errors
	out := append(make([]byte, 0, len(object)+len(name)+len(text)+4), object[:end]...)
	if len(bytes.TrimSpace(object[:end])) > 1 {
		out = append(out, ',')
	}
	out = append(append(append(out, '"'), name...), '"', ':')
	return append(append(out, text...), '}')
}

// showBreakers shows the circuit breakers of a definition as the caller names them.
func (d *ScheduleDefinition) showBreakers(p *access.Principal) {
	if d.Job != nil {
		d.Job.Breaker = shownTo(p, d.Job.Breaker)
	}
	d.Workflow.showBreakers(p)
}

func (w *NewWorkflow) showBreakers(p *access.Principal) {
	if w == nil {
		return
	}
	for i := range w.Steps {
		w.Steps[i].Breaker = shownTo(p, w.Steps[i].Breaker)
		w.Steps[i].Workflow.showBreakers(p)
	}
}
