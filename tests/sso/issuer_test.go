// Package sso tests access tokens of an OpenID Connect issuer as credentials.
package sso

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }

// issuer is an OpenID Connect issuer.
type issuer struct {
	t      *testing.T
	server *httptest.Server

	mu    sync.Mutex
	keys  []jose.JSONWebKey
	asked int // for keys
	away  bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": i.server.URL, "jwks_uri": i.server.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.asked++
		if i.away {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: i.keys})
	})
	i.server = httptest.NewServer(mux)
	t.Cleanup(i.server.Close)
	return i
}

// rotate makes the issuer publish these keys and no others.
func (i *issuer) rotate(keys ...signer) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = nil
	for _, key := range keys {
		i.keys = append(i.keys, jose.JSONWebKey{Key: key.public, KeyID: key.id, Algorithm: string(key.algorithm), Use: "sig"})
	}
}

func (i *issuer) setAway(away bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.away = away
}

func (i *issuer) timesAsked() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// signer is a key of an issuer.
type signer struct {
	id              string
	algorithm       jose.SignatureAlgorithm
	private, public any
}

func newSigner(t *testing.T, id string, algorithm jose.SignatureAlgorithm) signer {
	t.Helper()
	s := signer{id: id, algorithm: algorithm}
	var err error
	switch algorithm {
	case jose.ES256:
		var key *ecdsa.PrivateKey
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		s.private, s.public = key, &key.PublicKey
	case jose.EdDSA:
		s.public, s.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		var key *rsa.PrivateKey
		key, err = rsa.GenerateKey(rand.Reader, 2048)
		s.private, s.public = key, &key.PublicKey
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type claims map[string]any

// token signs claims over those that every good token has; nil leaves one out.
func (i *issuer) token(key signer, more claims) string {
	i.t.Helper()
	all := claims{
		"iss": i.server.URL, "aud": []string{"weir", "other"}, "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(),
		"realm_access": claims{"roles": []string{"readers"}}, "tenant": "*", "queues": "*",
	}
	for name, value := range more {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: key.algorithm, Key: key.private}, (&jose.SignerOptions{}).WithHeader("kid", key.id))
	if err != nil {
		i.t.Fatal(err)
	}
	text, err := jwt.Signed(s).Claims(map[string]any(all)).Serialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// start starts a node that takes the issuer's tokens. It calls as an admin with a key.
func (i *issuer) start() *weirtest.Node {
	i.t.Helper()
	d := weirtest.New(i.t)
	s, _ := weirtest.StartServe(i.t, d, "WEIR_OIDC_ISSUER="+i.server.URL, "WEIR_OIDC_AUDIENCE=weir", "WEIR_OIDC_ROLES_CLAIM=realm_access.roles",
		"WEIR_OIDC_ROLE=readers=reader,makers=producer,makers=worker,cn=ops=operator,admins=admin",
		"WEIR_OIDC_TENANT_CLAIM=tenant", "WEIR_OIDC_QUEUES_CLAIM=queues")
	s.Key = weirtest.Value[string](i.t, d, "select key from weir.create_key('admin of the test', '{admin}')")
	return s
}
