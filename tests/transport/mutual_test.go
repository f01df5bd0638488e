package transport

import (
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestClientCertificateIsACredential(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "weir test")
	s, _ := a.start("WEIR_TLS_CLIENT_CA=" + a.path("ca.pem"))
	a.issue("mailer", 3, x509.ExtKeyUsageClientAuth)
	a.issue("unknown", 4, x509.ExtKeyUsageClientAuth)
	a.issue("alias", 5, x509.ExtKeyUsageClientAuth, "mailer.example.com")
	made := s.Post("/v1/keys", weirtest.Object{"name": "mailer", "kind": "cert", "roles": []string{"reader"}}).Want(http.StatusCreated)
	key := weirtest.Decode[weirtest.Key](made)
	if key.Secret != "" {
		t.Error("a certificate's holder got a key too")
	}
	s.NewKey(weirtest.Object{"name": "mailer", "roles": []string{"reader"}}) // a key of that name is another caller
	with := func(of *authority, name, token string) *weirtest.Node {
		caller := s.As(token)
		caller.Client = a.client(of, name)
		return caller
	}

	mailer := with(a, "mailer", "")
	mailer.Get("/v1/queues").Want(http.StatusOK)
	if who := weirtest.Decode[weirtest.Key](mailer.Get("/v1/whoami")); who.Name != "mailer" {
		t.Errorf("the caller is %q", who.Name)
	}
	mailer.Get("/v1/keys").Problem(http.StatusForbidden, "forbidden")
	with(a, "unknown", "").Get("/v1/queues").Problem(http.StatusUnauthorized, "unauthenticated")
	with(nil, "", "").Get("/v1/queues").Problem(http.StatusUnauthorized, "unauthenticated")
	with(nil, "", "").Get("/livez").Want(http.StatusOK)

	with(a, "mailer", s.Key).Get("/v1/keys").Want(http.StatusOK) // the key counts, not the certificate
	with(a, "mailer", "weir_wrong").Get("/v1/queues").Problem(http.StatusUnauthorized, "unauthenticated")

	s.Post("/v1/keys", weirtest.Object{"name": "mailer.example.com", "kind": "cert", "roles": []string{"reader"}}).Want(http.StatusCreated)
	s.Eventually("a name of the subject alternative name counts", func() bool {
		return with(a, "alias", "").Get("/v1/queues").Status == http.StatusOK
	})

	s.Post("/v1/keys/"+key.ID+"/rotate", nil).Problem(http.StatusNotFound, "key_not_found")
	s.Do(http.MethodDelete, "/v1/keys/"+key.ID, nil).Want(http.StatusNoContent)
	s.Eventually("the holder is refused", func() bool { return mailer.Get("/v1/queues").Status == http.StatusUnauthorized })
}

func TestCertificatesOfOthersAreRefused(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "weir test")
	s, _ := a.start("WEIR_TLS_CLIENT_CA=" + a.path("ca.pem"))
	s.Post("/v1/keys", weirtest.Object{"name": "mailer", "kind": "cert", "roles": []string{"admin"}}).Want(http.StatusCreated)
	refused := func(what string, of *authority) {
		client := a.client(of, "mailer")
		answer, err := client.Get(s.URL + "/v1/queues")
		if err == nil {
			answer.Body.Close()
			t.Errorf("%s: got %s", what, answer.Status)
		}
	}
	foreign := newAuthority(t, "weir test") // of the same name
	foreign.issue("mailer", 3, x509.ExtKeyUsageClientAuth)
	refused("a foreign authority", foreign)
	a.issue("mailer", 4, x509.ExtKeyUsageServerAuth)
	refused("a certificate for servers", a)
	a.issueFor(-time.Minute, "mailer", 5, x509.ExtKeyUsageClientAuth)
	refused("an expired certificate", a)

	a.issueFor(4*time.Second, "mailer", 6, x509.ExtKeyUsageClientAuth)
	caller := s.As("")
	caller.Client = a.client(a, "mailer")
	caller.Get("/v1/queues").Want(http.StatusOK)
	s.Eventually("a certificate that expires during a connection is refused", func() bool {
		return caller.Get("/v1/queues").Status == http.StatusUnauthorized
	})
}

func TestHolderOfACertificateIsLetInOnTheCommandLine(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "weir test")
	s, _ := a.start("WEIR_TLS_CLIENT_CA=" + a.path("ca.pem"))
	a.issue("ops", 3, x509.ExtKeyUsageClientAuth)
	settings := []string{
		"WEIR_URL=" + s.URL, "WEIR_CA_FILE=" + a.path("ca.pem"), "WEIR_CLIENT_CERT=" + a.path("ops.pem"), "WEIR_CLIENT_KEY=" + a.path("ops.key"),
	}
	weirtest.RunCLI(t, settings, "", "keys").Says(1, "no name of the client certificate")
	made := weirtest.RunCLI(t, nil, "", "keys", "create", "ops", "--certificate", "--role", "admin", "--database-url", s.DB.URL).Says(0, "ops")
	if strings.Contains(made.Stdout, "weir_") {
		t.Error("a key was made")
	}
	s.Eventually("the holder is let in", func() bool { return weirtest.RunCLI(t, settings, "", "keys").Status == 0 })
	weirtest.RunCLI(t, settings, "", "keys").Says(0, "cert", "ops")
}
