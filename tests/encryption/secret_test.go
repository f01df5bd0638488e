package encryption

import (
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// A node at its most verbose, with every kind of secret in hand, tells none of them.
func TestNothingSecretIsTold(t *testing.T) {
	t.Parallel()
	d := weirtest.New(t)
	role := "teller_" + d.Config().ConnConfig.Database
	weirtest.Exec(t, d, "create role "+role+" login superuser password '"+planted+"db'")
	t.Cleanup(func() { weirtest.Exec(t, d, "drop role "+role) })
	u, err := url.Parse(d.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, planted+"db")
	path := keyFile(t)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, value, _ := strings.Cut(string(file), `"value":"`)
	value, _, _ = strings.Cut(value, `"`)
	if len(value) < 40 {
		t.Fatal("the file of keys has no key where this test looks")
	}
	s, process := weirtest.StartServe(t, d, "WEIR_DATABASE_URL="+u.String(), "WEIR_LISTEN_DATABASE_URL="+u.String(), "WEIR_ENCRYPTION_KEY_FILE="+path, "WEIR_LOG_LEVEL=debug", "WEIR_AUTH=true")
	s.Key = weirtest.Value[string](t, d, "select key from weir.create_key('teller', '{admin}')")
	s.Do("PUT", "/v1/queues/secret", obj{"encrypted": true}).Want(http.StatusOK)
	hook := s.AddWebhook(obj{"name": "w", "url": "https://192.0.2.1/", "events": []string{"dead"}, "error_text": true})

	var told strings.Builder
	tell := func(r *weirtest.Response) { told.Write(r.Body) }
	id := s.Enqueue(obj{"kind": "k", "queue": "secret", "args": args(1), "max_attempts": 1})
	tell(s.Post("/v1/jobs", `{"kind": "k", "queue": "secret", "args": {"a": "`+planted+`"}, "priority": 11}`).Want(http.StatusUnprocessableEntity))
	tell(s.Post("/v1/jobs", `{"kind": "k", "queue": "secret", "args": {"a": "`+planted+`"}`).Want(http.StatusBadRequest))
	tell(s.Post("/v1/jobs/batch", `{"jobs": [{"kind": "k", "queue": "secret", "args": {"a": "`+planted+`"}, "priority": 11}]}`).Want(http.StatusUnprocessableEntity))
	c := s.ClaimOne("secret")
	token := c.Token
	tell(s.Post("/v1/jobs/"+id+"/complete", obj{"token": token, "result": planted, "more": 1}).Want(http.StatusUnprocessableEntity))
	tell(s.Post("/v1/jobs/"+id+"/fail", obj{"token": token, "error": obj{"message": planted, "type": "T"}}).Want(http.StatusOK))
	for _, page := range []string{"/metrics", "/v1/webhooks", "/v1/webhooks/w", "/v1/webhooks/w/deliveries", "/v1/audit", "/v1/keys", "/v1/queues/secret/stats", "/v1/health", "/v1/info"} {
		tell(s.Get(page).Want(http.StatusOK))
	}
	for _, view := range weirtest.Values[string](t, d, "select format('%I.%I', schemaname, viewname) from pg_views where schemaname in ('weir', 'weir_read')") {
		told.WriteString(weirtest.Value[string](t, d, "select coalesce(string_agg(v::text, e'\n'), '') from "+view+" v"))
	}
	told.WriteString(weirtest.Value[string](t, d, "select coalesce(string_agg(a.query, e'\n'), '') from pg_stat_activity a where a.datname = current_database() and a.application_name like 'weir%'"))
	told.WriteString(strings.Join(process.Cmd.Args, " "))
	told.WriteString(s.Log.String())
	if !strings.Contains(s.Log.String(), "DEBUG") {
		t.Error("the log is not at its most verbose")
	}
	for name, secret := range map[string]string{
		"args, or the database's password": planted, "the key of a caller": s.Key, "the secret of a webhook": hook.Secret, "the encryption key": value,
	} {
		if at := strings.Index(told.String(), secret); at >= 0 {
			t.Errorf("%s is told: %s", name, told.String()[max(0, at-200):min(told.Len(), at+100)])
		}
		if name != "the key of a caller" && strings.Contains(dump(t, d), secret) {
			t.Errorf("a dump has %s", name)
		}
	}
}
