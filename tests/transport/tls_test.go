package transport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestNodeServesHTTPSWithHTTP2(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "weir test")
	s, _ := a.start()
	answer, err := s.Client.Get(s.URL + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.ProtoMajor != 2 || answer.TLS == nil {
		t.Errorf("got %s", answer.Proto)
	}
	s.Get("/v1/queues").Want(http.StatusOK)
	s.As("").Get("/v1/queues").Problem(http.StatusUnauthorized, "unauthenticated")

	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10} //nolint:gosec // the server must refuse it
	if conn, err := tls.Dial("tcp", s.URL[len("https://"):], old); err == nil {
		conn.Close()
		t.Error("TLS 1.1 was accepted")
	}
	plain, err := http.Get("http" + strings.TrimPrefix(s.URL, "https") + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	plain.Body.Close()
	if plain.StatusCode != http.StatusBadRequest {
		t.Errorf("HTTP on the port of HTTPS: got %s", plain.Status)
	}
}

func TestNewCertificateIsServedWithoutRestart(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "weir test")
	s, c := a.start()
	stream := openEvents(t, s)

	a.issue("node", 3, x509.ExtKeyUsageServerAuth)
	s.Eventually("the new certificate is served", func() bool { return a.serial(s) == 3 })

	a.writeText("node.pem", broken)
	s.Eventually("the broken file is logged", func() bool {
		_ = a.serial(s) // a handshake reads the files
		return strings.Contains(c.Output.String(), "the one before stays in use")
	})
	if got := a.serial(s); got != 3 {
		t.Errorf("with a broken file the certificate is %d, want 3", got)
	}
	a.issue("node", 4, x509.ExtKeyUsageServerAuth)
	s.Eventually("the mended certificate is served", func() bool { return a.serial(s) == 4 })

	s.Post("/v1/jobs", weirtest.Object{"kind": "a"}).Want(http.StatusCreated)
	if !stream.says("event: enqueued") {
		t.Error("the stream from before the new certificates has ended")
	}
}

// TestQuietStreamStaysOpenOverHTTP2 is longer than a client may take for one write.
func TestQuietStreamStaysOpenOverHTTP2(t *testing.T) {
	t.Parallel()
	weirtest.Long(t, "a stream is quiet for a while")
	a := newAuthority(t, "weir test")
	s, _ := a.start()
	if !openEvents(t, s).says(": alive") {
		t.Error("a stream ended while it was quiet")
	}
}

// events is a stream of events.
type events struct {
	t    *testing.T
	body io.Reader
}

func openEvents(t *testing.T, s *weirtest.Node) *events {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*weirtest.Patience)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.Key)
	answer, err := s.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("events: %s", answer.Status)
	}
	return &events{t: t, body: answer.Body}
}

// says reads until a word comes, or the stream ends.
func (e *events) says(word string) bool {
	var read strings.Builder
	part := make([]byte, 4096)
	for !strings.Contains(read.String(), word) {
		n, err := e.body.Read(part)
		read.Write(part[:n])
		if err != nil {
			e.t.Logf("%v after %q", err, read.String())
			return strings.Contains(read.String(), word)
		}
	}
	return true
}

func TestServeRefusesBrokenCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "weir test")
	a.issue("node", 2, x509.ExtKeyUsageServerAuth)
	a.issue("other", 3, x509.ExtKeyUsageServerAuth)
	d := weirtest.New(t)
	serve := func(flags ...string) weirtest.CLIResult {
		return weirtest.RunCLI(t, nil, "", append([]string{"serve", "--addr", "127.0.0.1:0", "--database-url", d.URL}, flags...)...)
	}
	serve("--tls-cert", a.path("node.pem")).Says(2, "go together")
	serve("--tls-client-ca", a.path("ca.pem")).Says(2, "--tls-cert")
	serve("--tls-cert", a.path("node.pem"), "--tls-key", a.path("other.key")).Says(1, "are not a certificate and its key")
	serve("--tls-cert", a.path("none.pem"), "--tls-key", a.path("node.key")).Says(1, "no such file")
}

func TestNodeWarnsOfPlainHTTPBeyondThisMachine(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	s, c := weirtest.StartServe(t, d, "WEIR_ADDR=0.0.0.0:0")
	s.Get("/v1/queues").Problem(http.StatusUnauthorized, "unauthenticated")
	if n := strings.Count(c.Output.String(), "without TLS"); n != 1 {
		t.Errorf("the log warns %d times", n)
	}
	_, c = weirtest.StartServe(t, d)
	if strings.Contains(c.Output.String(), "without TLS") {
		t.Error("a node on loopback warns too")
	}
}
