package sso

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestOnlyGoodTokensAreAccepted(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	rs, es, ed := newSigner(t, "rs", jose.RS256), newSigner(t, "es", jose.ES256), newSigner(t, "ed", jose.EdDSA)
	i.rotate(rs, es, ed)
	s := i.start()
	for _, key := range []signer{rs, es, ed} {
		s.As(i.token(key, nil)).Get("/v1/queues").Want(http.StatusOK)
	}
	s.As(i.token(es, claims{"exp": time.Now().Add(-10 * time.Second).Unix()})).Get("/v1/queues").Want(http.StatusOK) // clocks differ

	stranger := newSigner(t, "es", jose.ES256)
	confused := rs
	confused.algorithm, confused.private = jose.HS256, x509.MarshalPKCS1PublicKey(rs.public.(*rsa.PublicKey))
	good := i.token(es, nil)
	for name, token := range map[string]string{
		"another audience": i.token(es, claims{"aud": "other"}),
		"no audience":      i.token(es, claims{"aud": nil}),
		"another issuer":   i.token(es, claims{"iss": i.server.URL + "/other"}),
		"expired":          i.token(es, claims{"exp": time.Now().Add(-2 * time.Minute).Unix()}),
		"without an end":   i.token(es, claims{"exp": nil}),
		"not valid yet":    i.token(es, claims{"nbf": time.Now().Add(2 * time.Minute).Unix()}),
		"without subject":  i.token(es, claims{"sub": nil}),
		"long subject":     i.token(es, claims{"sub": strings.Repeat("a", 200)}),
		"another key":      i.token(stranger, nil),
		"confused":         i.token(confused, nil),
		"none":             unsigned(good),
		"cut":              good[:len(good)-4],
		"no JWT":           "abc",
		"large":            i.token(es, claims{"more": strings.Repeat("a", 20_000)}),
	} {
		r := s.As(token).Get("/v1/queues")
		if r.Problem(http.StatusUnauthorized, "unauthenticated"); strings.Contains(string(r.Body), token) {
			t.Errorf("%s: the answer shows the token", name)
		}
	}
	if n := s.Count("select count(*) from weir.principal where kind = 'oidc'"); n != 1 {
		t.Errorf("%d subjects are recorded, want 1", n)
	}
}

// unsigned is a token with the algorithm none.
func unsigned(token string) string {
	parts := strings.Split(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"es","typ":"JWT"}`)) + "." + parts[1] + "."
}

func TestClaimsSayWhatASubjectMayDo(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := newSigner(t, "a", jose.ES256)
	i.rotate(key)
	s := i.start()
	type who struct {
		Name, Tenant  string
		Roles, Queues []string
	}
	for n, c := range []struct {
		groups []string
		tenant string
		queues any
		want   who
	}{
		{[]string{"readers", "other"}, "*", "*", who{Roles: []string{"reader"}}},
		{[]string{"makers"}, "acme inc", []string{"mail-*", "b"}, who{Tenant: "acme inc", Roles: []string{"producer", "worker"}, Queues: []string{"mail-*", "b"}}},
		{[]string{"cn=ops"}, "*", "mail jobs", who{Roles: []string{"operator"}, Queues: []string{"mail", "jobs"}}},
		{[]string{"admins", "readers"}, "*", "*", who{Roles: []string{"reader", "admin"}}},
	} {
		sub := fmt.Sprint("subject", n)
		caller := s.As(i.token(key, claims{"sub": sub, "realm_access": claims{"roles": c.groups}, "tenant": c.tenant, "queues": c.queues}))
		got := weirtest.Decode[who](caller.Get("/v1/whoami").Want(http.StatusOK))
		if got.Name != i.server.URL+"|"+sub || got.Tenant != c.want.Tenant || !slices.Equal(got.Roles, c.want.Roles) || !slices.Equal(got.Queues, c.want.Queues) {
			t.Errorf("%v: got %+v, want %+v", c.groups, got, c.want)
		}
	}
	for name, more := range map[string]claims{
		"no role":      {"realm_access": claims{"roles": []string{"guests", "admin", ""}}},
		"no roles":     {"realm_access": nil},
		"odd roles":    {"realm_access": claims{"roles": []any{"readers", 1}}},
		"no tenant":    {"tenant": nil},
		"empty tenant": {"tenant": ""},
		"many tenants": {"tenant": []string{"a", "b"}},
		"no queues":    {"queues": nil},
		"bad queues":   {"queues": []string{"a/b"}},
	} {
		more["sub"] = "stranger"
		s.As(i.token(key, more)).Get("/v1/whoami").Problem(http.StatusForbidden, "forbidden")
		if n := s.Count("select count(*) from weir.principal where name like '%stranger'"); n != 0 {
			t.Errorf("%s: the subject is recorded", name)
		}
	}
}

func TestJobsNameTheSubjectAndARevokedOneIsRefused(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := newSigner(t, "a", jose.ES256)
	i.rotate(key)
	s := i.start()
	ann := s.As(i.token(key, claims{"realm_access": claims{"roles": []string{"makers"}}}))
	ann.Post("/v1/jobs", weirtest.Object{"kind": "a"}).Want(http.StatusCreated)
	if n := s.Count("select count(*) from weir.job j join weir.principal p on p.id = j.principal where p.kind = 'oidc' and p.name = $1", i.server.URL+"|ann"); n != 1 {
		t.Errorf("%d jobs name the subject", n)
	}
	var subject weirtest.Key
	for _, k := range weirtest.Decode[struct{ Items []weirtest.Key }](s.Get("/v1/keys").Want(http.StatusOK)).Items {
		if k.Name == i.server.URL+"|ann" {
			subject = k
		}
	}
	s.Do(http.MethodPatch, "/v1/keys/"+subject.ID, weirtest.Object{"roles": []string{"admin"}}).Problem(http.StatusNotFound, "key_not_found")
	s.Do(http.MethodDelete, "/v1/keys/"+subject.ID, nil).Want(http.StatusNoContent)
	s.Eventually("the subject is refused", func() bool { return ann.Get("/v1/whoami").Status == http.StatusUnauthorized })
	if n := s.Count("select count(*) from weir.principal where kind = 'oidc'"); n != 1 {
		t.Errorf("%d subjects are recorded, want 1", n)
	}
}

func TestRotatedKeysAreFoundAndTheIssuerMayBeAway(t *testing.T) {
	weirtest.Long(t, "it waits for keys to be read again")
	t.Parallel()
	i := newIssuer(t)
	i.setAway(true)
	first, second := newSigner(t, "first", jose.ES256), newSigner(t, "second", jose.ES256)
	i.rotate(first)
	s := i.start() // the node starts although the issuer is away
	s.As(i.token(first, nil)).Get("/v1/whoami").Problem(http.StatusServiceUnavailable, "unavailable")
	s.Get("/v1/whoami").Want(http.StatusOK) // keys go on
	i.setAway(false)
	s.Eventually("the issuer's key is found", func() bool { return s.As(i.token(first, nil)).Get("/v1/whoami").Status == http.StatusOK })

	i.setAway(true)
	s.As(i.token(first, nil)).Get("/v1/whoami").Want(http.StatusOK)
	i.setAway(false)
	i.rotate(first, second)
	s.Eventually("the new key is found", func() bool { return s.As(i.token(second, nil)).Get("/v1/whoami").Status == http.StatusOK })
	i.rotate(second)

	asked := i.timesAsked()
	for n := range 200 {
		unknown := first
		unknown.id = fmt.Sprint("unknown", n)
		s.As(i.token(unknown, nil)).Get("/v1/whoami").Problem(http.StatusUnauthorized, "unauthenticated")
	}
	if more := i.timesAsked() - asked; more > 20 {
		t.Errorf("200 unknown keys made the node ask the issuer %d times", more)
	}
	unknown := first
	unknown.id = "unknown"
	s.Eventually("a key that is gone is refused", func() bool {
		s.As(i.token(unknown, nil)).Get("/v1/whoami") // makes the node ask again, after a while
		return s.As(i.token(first, nil)).Get("/v1/whoami").Status == http.StatusUnauthorized
	})
}

func TestSettingsOfAccessTokensAreChecked(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	serve := func(flags ...string) weirtest.CLIResult {
		return weirtest.RunCLI(t, nil, "", append([]string{"serve", "--addr", "127.0.0.1:0", "--database-url", d.URL}, flags...)...)
	}
	serve("--oidc-issuer", "http://issuer.example.com", "--oidc-audience", "weir", "--oidc-role", "a=admin").Says(1, "https URL")
	serve("--oidc-issuer", "https://issuer.example.com", "--oidc-role", "a=admin").Says(1, "audience")
	serve("--oidc-issuer", "https://issuer.example.com", "--oidc-audience", "weir").Says(1, "role")
	serve("--oidc-issuer", "https://issuer.example.com", "--oidc-audience", "weir", "--oidc-role", "a=boss").Says(1, "VALUE=ROLE")
	serve("--oidc-audience", "weir").Says(1, "--oidc-issuer")
	serve("--insecure", "--oidc-issuer", "https://issuer.example.com").Says(2, "--insecure")
}
