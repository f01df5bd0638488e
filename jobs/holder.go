package jobs

import (
	"context"
	"strings"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/db"
)

// AuthenticateCertificate returns the principal of a client certificate with these names: of the first for which there is
// one. The caller has verified the certificate. Errors: ErrUnauthenticated, Overloaded, Unavailable.
func (e *Engine) AuthenticateCertificate(ctx context.Context, names []string) (*access.Principal, error) {
	return e.authenticate(ctx, "cert:"+strings.Join(names, "\x00"), func(ctx context.Context) (*knownKey, error) {
		row, err := e.q.PrincipalOfCertificate(ctx, names)
		if err != nil {
			return nil, err
		}
		return &knownKey{row: db.PrincipalOfKeyRow{ExpiresAt: row.ExpiresAt}, principal: &access.Principal{
			ID: row.ID, Name: row.Name, KeyID: row.KeyID, Roles: rolesOf(row.Roles), Queues: row.Queues, Tenant: value(row.Tenant),
			Redact: row.Redact, RatePerSecond: value(row.RatePerSecond),
		}}, nil
	})
}

// AuthenticateSubject returns the principal of an access token's subject, which is recorded with its first call. What it
// may do is what the token says; the record may forbid it to call, and bounds its rate. The caller has verified the token.
// Errors: ErrUnauthenticated, Overloaded, Unavailable.
func (e *Engine) AuthenticateSubject(ctx context.Context, subject access.Principal) (*access.Principal, error) {
	roles := make([]string, len(subject.Roles))
	for i, role := range subject.Roles {
		roles[i] = string(role)
	}
	recorded, err := e.authenticate(ctx, "oidc:"+subject.Name, func(ctx context.Context) (*knownKey, error) {
		row, err := e.q.RecordSubject(ctx, db.RecordSubjectParams{
			Name: subject.Name, Roles: roles, Queues: subject.Queues, Tenant: nonZero(subject.Tenant),
		})
		if err != nil {
			return nil, err
		}
		return &knownKey{row: db.PrincipalOfKeyRow{RevokedAt: row.RevokedAt}, principal: &access.Principal{
			ID: row.ID, KeyID: row.KeyID, RatePerSecond: value(row.RatePerSecond), Redact: row.Redact,
		}}, nil
	})
	if err != nil {
		return nil, err
	}
	subject.ID, subject.KeyID, subject.RatePerSecond = recorded.ID, recorded.KeyID, recorded.RatePerSecond
	subject.Redact = recorded.Redact
	return &subject, nil
}

// authenticate returns the principal that is known under a name, if it is in force.
func (e *Engine) authenticate(ctx context.Context, name string, ask question) (*access.Principal, error) {
	k := e.keyring
	if err := k.ready(ctx); err != nil {
		return nil, err
	}
	known, err := k.look(ctx, name, ask)
	if err != nil {
		return nil, err
	}
	if !known.inForce(k.clock.Now()) {
		return nil, ErrUnauthenticated
	}
	k.use(known.principal.ID)
	return known.principal, nil
}
