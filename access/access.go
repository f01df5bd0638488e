// Package access says who calls and what the caller may do: principals, their roles, the queues and the tenant that they
// are bound to, and the form of API keys. It knows no HTTP and no database.
//
// The api package finds the principal of a request and puts it into the context; package jobs reads it there, to stamp
// what it stores and to keep a bound principal to its own.
package access

import (
	"context"
	"slices"
	"strings"
)

// Role is a set of operations that a principal may call. docs/security.md has the table.
type Role string

// The roles.
const (
	Producer Role = "producer" // enqueues, and looks at what it enqueued
	Worker   Role = "worker"   // claims jobs and reports their outcomes
	Reader   Role = "reader"   // sees everything, and changes nothing
	Operator Role = "operator" // runs the service: queues, schedules, breakers, workers, dead letters
	Admin    Role = "admin"    // everything, keys too
)

// Roles are all roles, the weakest first.
var Roles = []Role{Producer, Worker, Reader, Operator, Admin}

// Principal is who calls. Its zero value is bound to nothing and has no role.
type Principal struct {
	// ID is weir.principal.id.
	ID int32
	// Name is for people: the name of a key, the subject of an access token.
	Name string
	// KeyID is the public part of the API key. Empty for other kinds of principal.
	KeyID string
	Roles []Role
	// Queues are the patterns of the queues that it may use, with * for any characters. Nil means all.
	Queues []string
	// Tenant is what it is bound to. Empty means that it sees all tenants.
	Tenant string
	// Redact hides args, results, metadata and the texts of errors.
	Redact bool
	// RatePerSecond bounds its calls on each node. Zero means no limit.
	RatePerSecond float64
}

// Has says whether the principal has one of some roles. An admin has them all.
func (p *Principal) Has(roles ...Role) bool {
	return slices.ContainsFunc(p.Roles, func(r Role) bool { return r == Admin || slices.Contains(roles, r) })
}

// OnlyOwn says whether the principal sees only the jobs that it enqueued itself: a producer that is nothing more.
func (p *Principal) OnlyOwn() bool { return !p.Has(Reader, Operator) }

// Limited says whether there are queues that the principal may not use.
func (p *Principal) Limited() bool { return p.Queues != nil && !slices.Contains(p.Queues, "*") }

// MayUse says whether the principal may use a queue.
func (p *Principal) MayUse(queue string) bool {
	return p.Queues == nil || slices.ContainsFunc(p.Queues, func(pattern string) bool { return matches(pattern, queue) })
}

// matches says whether a name matches a pattern, in which * stands for any characters.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if last == 0 {
		return pattern == name
	}
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1:last] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[last])
}

// ID is the id of a principal, and 0 for nil.
func ID(p *Principal) int32 {
	if p == nil {
		return 0
	}
	return p.ID
}

type contextKey struct{}

// With returns a context in which the principal calls.
func With(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, contextKey{}, p)
}

// From returns the principal that calls, or nil: a node without authentication, or the engine itself.
func From(ctx context.Context) *Principal {
	p, _ := ctx.Value(contextKey{}).(*Principal)
	return p
}
