package transport

import (
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestCommandsCallOverHTTPSWithAKey(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "weir test")
	s, _ := a.start()
	url, ca := "WEIR_URL="+s.URL, "WEIR_CA_FILE="+a.path("ca.pem")
	a.writeText("token", []byte(s.Key+"\n"))
	run := func(settings []string, args ...string) weirtest.CLIResult {
		return weirtest.RunCLI(t, settings, "", args...)
	}

	run([]string{url, ca, "WEIR_TOKEN=" + s.Key}, "queues").Says(0)
	run([]string{url}, "queues", "--ca-file", a.path("ca.pem"), "--token-file", a.path("token")).Says(0)
	run([]string{url, ca, "WEIR_TOKEN=wrong", "WEIR_TOKEN_FILE=" + a.path("token")}, "queues").Says(0)
	run([]string{url, ca}, "queues").Says(1, "Authorization: Bearer")
	run([]string{url, "WEIR_TOKEN=" + s.Key}, "queues").Says(1, "is not trusted", "--ca-file")
	run([]string{url, ca, "WEIR_CLIENT_CERT=" + a.path("node.pem")}, "queues").Says(1, "--client-key")

	for name, text := range map[string]string{"two words": s.Key + " x", "two lines": s.Key + "\n" + s.Key} {
		a.writeText("bad", []byte(text))
		r := run([]string{url, ca}, "queues", "--token-file", a.path("bad")).Says(1, "has spaces, lines")
		if strings.Contains(r.Stderr, s.Key) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
	r := run([]string{url, ca, "WEIR_TOKEN=" + s.Key[:len(s.Key)-1] + "~"}, "queues").Says(1)
	if strings.Contains(r.Stderr+r.Stdout, s.Key[:40]) {
		t.Error("the error shows the key")
	}
}

func TestWorkerFollowsARotatedKeyOverHTTPS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t, "weir test")
	s, _ := a.start()
	made := s.NewKey(weirtest.Object{"name": "worker", "roles": []string{"worker"}})
	a.writeText("token", []byte(made.Secret))
	s.StartWorker([]string{"--queue", "default", "--ca-file", a.path("ca.pem"), "--token-file", a.path("token")}, "cat")
	id := weirtest.Decode[weirtest.Job](s.Post("/v1/jobs", weirtest.Object{"kind": "a"}).Want(http.StatusCreated)).ID
	s.WaitForState(id, "completed")

	fresh := weirtest.Decode[weirtest.Key](s.Post("/v1/keys/"+made.ID+"/rotate", weirtest.Object{"keep_old_seconds": 0}).Want(http.StatusOK))
	a.writeText("token", []byte(fresh.Secret))
	a.issue("node", 9, x509.ExtKeyUsageServerAuth)
	id = weirtest.Decode[weirtest.Job](s.Post("/v1/jobs", weirtest.Object{"kind": "a"}).Want(http.StatusCreated)).ID
	s.WaitForState(id, "completed")
}
