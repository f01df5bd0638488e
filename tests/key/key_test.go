// Package key tests API keys: who is let in, for how long, and what a key may do.
package key

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

func TestMain(m *testing.M) { weirtest.Main(m) }

var keyForm = regexp.MustCompile(`^weir_[0-9a-f]{16}_[A-Za-z0-9_-]{48}$`)

func TestKeyIsShownOnceAndKeptAsHash(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	made := s.NewKey(weirtest.Object{"name": "billing", "roles": []string{"producer"}, "queues": []string{"mail-*"}})
	if !keyForm.MatchString(made.Secret) || made.CreatedBy != "admin of the test" || made.State != "active" {
		t.Errorf("got %+v", made)
	}
	for _, path := range []string{"/v1/keys", "/v1/keys/" + made.ID} {
		if r := s.Get(path).Want(http.StatusOK); strings.Contains(string(r.Body), made.Secret) {
			t.Errorf("%s shows the key", path)
		}
	}
	if n := s.Count("select count(*) from weir.principal p where p::text like '%' || $1 || '%'", made.Secret); n != 0 {
		t.Error("the database has the key itself")
	}
	s.Post("/v1/keys", weirtest.Object{"name": "billing", "roles": []string{"worker"}}).Problem(http.StatusConflict, "key_exists")
}

func TestOnlyKeysInForceAreAccepted(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	made := s.NewKey(weirtest.Object{"name": "a", "roles": []string{"reader"}})
	caller := s.As(made.Secret)
	caller.Get("/v1/queues").Want(http.StatusOK)
	for name, key := range map[string]string{
		"none": "", "cut": made.Secret[:60], "of another secret": made.Secret[:len(made.Secret)-4] + "AAAA", "foreign": "sk-123",
	} {
		r := s.As(key).Get("/v1/queues")
		r.Problem(http.StatusUnauthorized, "unauthenticated")
		if r.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: the answer does not say how to authenticate", name)
		}
	}
	caller.Get("/v1/keys").Problem(http.StatusForbidden, "forbidden")

	s.Exec("update weir.principal set expires_at = clock_timestamp() - interval '1 s' where key_id = $1", made.ID)
	s.Eventually("the expired key is refused", func() bool { return caller.Get("/v1/queues").Status == http.StatusUnauthorized })

	other := s.NewKey(weirtest.Object{"name": "b", "roles": []string{"reader"}})
	s.As(other.Secret).Get("/v1/queues").Want(http.StatusOK)
	s.Do(http.MethodDelete, "/v1/keys/"+other.ID, nil).Want(http.StatusNoContent)
	s.As(other.Secret).Get("/v1/queues").Problem(http.StatusUnauthorized, "unauthenticated")
	s.Do(http.MethodDelete, "/v1/keys/"+other.ID, nil).Problem(http.StatusNotFound, "key_not_found")
}

// TestRevocationReachesOtherNodes revokes a key in SQL, as another node would, and by a row alone, without a notification.
func TestRevocationReachesOtherNodes(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	for name, revoke := range map[string]string{
		"notified": "select weir.revoke_key($1)",
		"silent":   "update weir.principal set revoked_at = clock_timestamp() where key_id = $1",
	} {
		made := s.NewKey(weirtest.Object{"name": name, "roles": []string{"reader"}})
		caller := s.As(made.Secret)
		caller.Get("/v1/queues").Want(http.StatusOK)
		s.Exec(revoke, made.ID)
		s.Eventually(name+": the revoked key is refused", func() bool { return caller.Get("/v1/queues").Status == http.StatusUnauthorized })
	}
}

func TestRotatedKeyIsAcceptedBesideTheNewOneForATime(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	made := s.NewKey(weirtest.Object{"name": "a", "roles": []string{"reader"}})
	fresh := weirtest.Decode[weirtest.Key](s.Post("/v1/keys/"+made.ID+"/rotate", weirtest.Object{"keep_old_seconds": 3600}).Want(http.StatusOK))
	if fresh.Secret == made.Secret || fresh.ID != made.ID {
		t.Fatalf("got %+v after %+v", fresh, made)
	}
	for _, key := range []string{made.Secret, fresh.Secret} {
		s.As(key).Get("/v1/queues").Want(http.StatusOK)
	}
	last := weirtest.Decode[weirtest.Key](s.Post("/v1/keys/"+made.ID+"/rotate", weirtest.Object{"keep_old_seconds": 0}).Want(http.StatusOK))
	s.As(last.Secret).Get("/v1/queues").Want(http.StatusOK)
	for _, key := range []string{made.Secret, fresh.Secret} {
		s.As(key).Get("/v1/queues").Problem(http.StatusUnauthorized, "unauthenticated")
	}
}

func TestKeyWithARateIsSlowedDown(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	caller := s.AsNew("slow", weirtest.Object{"rate_per_second": 0.01}, "reader")
	caller.Get("/v1/queues").Want(http.StatusOK)
	r := caller.Get("/v1/queues")
	r.Problem(http.StatusTooManyRequests, "rate_limited")
	if r.Header.Get("Retry-After") == "" {
		t.Error("the answer does not say when to try again")
	}
	s.Get("/v1/queues").Want(http.StatusOK)
}

func TestWhoAmI(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	caller := s.AsNew("who", weirtest.Object{"queues": []string{"a*"}}, "producer", "worker")
	type who struct {
		Authenticated bool
		Name          string
		Roles, Queues []string
	}
	got := weirtest.Decode[who](caller.Get("/v1/whoami").Want(http.StatusOK))
	if !got.Authenticated || got.Name != "who" || len(got.Roles) != 2 || len(got.Queues) != 1 {
		t.Errorf("got %+v", got)
	}
	if got := weirtest.Decode[who](weirtest.StartNode(t).Get("/v1/whoami").Want(http.StatusOK)); got.Authenticated {
		t.Errorf("without authentication: got %+v", got)
	}
}

func TestKeyIsMadeAndRevokedOnTheCommandLine(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNodeWithAuth(t)
	made := weirtest.RunCLI(t, nil, "", "keys", "create", "first", "--role", "admin", "--expires", "90d", "--database-url", s.DB.URL)
	made.Says(0, "weir_")
	key := regexp.MustCompile(`weir_\S+`).FindString(made.Stdout)
	s.As(key).Get("/v1/keys").Want(http.StatusOK)
	weirtest.RunCLI(t, nil, "", "keys", "create", "first", "--role", "admin", "--database-url", s.DB.URL).Says(1, "there is a key 'first' already")
	weirtest.RunCLI(t, nil, "", "keys", "create", "x", "--role", "boss", "--database-url", s.DB.URL).Says(1, "roles must be")
}
