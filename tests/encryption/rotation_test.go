package encryption

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

type key struct {
	ID      uint32
	Primary bool
}

func keysIn(t *testing.T, out string) (keys []key) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &keys); err != nil {
		t.Fatal(err)
	}
	return keys
}

// A key is added on all nodes, then promoted, then the data keys are wrapped again, then the old one goes. At each step every node reads what
// every other one wrote.
func TestKeysAreRotated(t *testing.T) {
	t.Parallel()
	old := filepath.Join(t.TempDir(), "keys")
	weirtest.RunCLI(t, nil, "", "encryption-key", "new", old).Says(0, "primary")
	weirtest.RunCLI(t, nil, "", "encryption-key", "new", old).Says(1, "exists")
	d := weirtest.New(t)
	first := startNode(t, d, old)
	first.Do("PUT", "/v1/queues/secret", obj{"encrypted": true}).Want(http.StatusOK)
	before := first.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(1)})

	fresh := filepath.Join(t.TempDir(), "keys")
	text, err := os.ReadFile(old)
	if err == nil {
		err = os.WriteFile(fresh, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	keys := keysIn(t, weirtest.RunCLI(t, nil, "", "encryption-key", "add", fresh, "--json").Says(0).Stdout)
	if len(keys) != 2 || !keys[0].Primary || keys[1].Primary {
		t.Fatalf("the keys are %v", keys)
	}
	text, _ = os.ReadFile(fresh)
	if err := os.WriteFile(old, text, 0o600); err != nil { // the first node gets the new key too, beside what it does
		t.Fatal(err)
	}
	weirtest.RunCLI(t, nil, "", "encryption-key", "promote", fresh, fmt.Sprint(keys[1].ID)).Says(0)
	second := startNode(t, d, fresh)
	after := second.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(2)})
	for _, s := range []*weirtest.Node{first, second} {
		wantArgs(t, "a job of the old key", s.Job(before).Args, 1)
		wantArgs(t, "a job of the new key", s.Job(after).Args, 2)
	}
	settings := []string{"WEIR_DATABASE_URL=" + d.Direct}
	weirtest.RunCLI(t, settings, "", "encryption-key", "rewrap", fresh).Says(0, "wrapped 1 data keys again")
	weirtest.RunCLI(t, settings, "", "encryption-key", "rewrap", fresh).Says(0, "wrapped 0 data keys again")
	weirtest.RunCLI(t, nil, "", "encryption-key", "drop", fresh, fmt.Sprint(keys[1].ID)).Says(1, "primary")
	weirtest.RunCLI(t, nil, "", "encryption-key", "drop", fresh, fmt.Sprint(keys[0].ID)).Says(0)
	third := startNode(t, d, fresh)
	wantArgs(t, "a job of the old key, after it has gone", third.Job(before).Args, 1)
	wantArgs(t, "a job of the new key", third.Job(after).Args, 2)
	weirtest.RunCLI(t, settings, "", "encryption-key", "rewrap", keyFile(t)).Says(1, "could not be wrapped")
}

func TestTheFileOfKeysIsChecked(t *testing.T) {
	t.Parallel()
	path := keyFile(t)
	d := weirtest.New(t)
	for _, c := range []struct {
		change func() error
		want   string
	}{
		{func() error { return os.Chmod(path, 0o644) }, "chmod o="},
		{func() error { return os.WriteFile(path, []byte("{}"), 0o600) }, "chmod o="},
		{func() error { return os.Chmod(path, 0o600) }, "no encryption keys"},
		{func() error { return os.Remove(path) }, "no such file"},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		weirtest.RunCLI(t, []string{"WEIR_DATABASE_URL=" + d.URL, "WEIR_ADDR=127.0.0.1:0"}, "", "serve", "--encryption-key-file", path).Says(1, c.want)
	}
}

func TestSecretsOfWebhooksAreEncrypted(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	plain := startNode(t, d, "")
	r := weirtest.NewWebhookReceiver(t)
	early := plain.AddWebhook(obj{"name": "early", "url": r.URL, "events": []string{"cancelled"}})
	if !strings.Contains(dump(t, d), early.Secret) {
		t.Error("without a key the secret is readable")
	}
	path := keyFile(t)
	weirtest.RunCLI(t, []string{"WEIR_DATABASE_URL=" + d.Direct}, "", "encryption-key", "rewrap", path).Says(0, "encrypted 1 secrets of webhooks")
	s := startNode(t, d, path)
	t.Cleanup(s.RunChoresSendingTo(r))
	late := s.AddWebhook(obj{"name": "late", "url": r.URL, "events": []string{"cancelled"}})
	rotated := weirtest.Decode[weirtest.Webhook](s.Post("/v1/webhooks/late/rotate", obj{}).Want(http.StatusOK))
	id := s.Enqueue(obj{"kind": "k"})
	s.Post("/v1/jobs/"+id+"/cancel", nil).Want(http.StatusOK)
	s.Eventually("both are told", func() bool { return len(r.Received()) >= 2 })
	signed := map[string]int{}
	for _, e := range r.Received() {
		for name, secret := range map[string]string{"early": early.Secret, "late": late.Secret, "rotated": rotated.Secret} {
			if e.Signed(secret) {
				signed[name]++
			}
		}
	}
	if signed["early"] != 1 || signed["late"] != 1 || signed["rotated"] != 1 {
		t.Errorf("signed were %v", signed)
	}
	for _, secret := range []string{early.Secret, late.Secret, rotated.Secret} {
		wantHidden(t, d, secret)
	}
}
