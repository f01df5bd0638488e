package cli

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

const secret = "s3cr3t"

// recorder answers like a service without jobs, and passes on the Authorization that it got.
func recorder(t *testing.T) (url string, got chan string) {
	t.Helper()
	got = make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got <- r.Header.Get("Authorization")
		_, _ = w.Write([]byte(`{"items": [], "next_cursor": null}`))
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestClientCommandsSendCredentials(t *testing.T) {
	t.Parallel()
	url, got := recorder(t)
	withUser := strings.Replace(url, "http://", "http://user:"+secret+"@", 1)
	file := secretFile(t, "from-file\n")
	for _, c := range []struct {
		name     string
		settings []string
		args     []string
		want     string
	}{
		{"none", []string{"WEIR_URL=" + url}, nil, ""},
		{"WEIR_TOKEN", []string{"WEIR_URL=" + url, "WEIR_TOKEN=from-env"}, nil, "Bearer from-env"},
		{"--token-file", []string{"WEIR_URL=" + url, "WEIR_TOKEN=from-env"}, []string{"--token-file", file}, "Bearer from-file"},
		{"WEIR_TOKEN_FILE", []string{"WEIR_URL=" + url, "WEIR_TOKEN_FILE=" + file}, nil, "Bearer from-file"},
		{"the URL", []string{"WEIR_URL=" + withUser}, nil, "Basic dXNlcjpzM2NyM3Q="},
	} {
		weirtest.RunCLI(t, c.settings, "", append([]string{"queues"}, c.args...)...).Says(0)
		if sent := <-got; sent != c.want {
			t.Errorf("%s: sent %q, want %q", c.name, sent, c.want)
		}
	}
	weirtest.RunCLI(t, []string{"WEIR_URL=" + url}, "", "queues", "--token-file", "/nonexistent").Says(1, "/nonexistent")
	weirtest.RunCLI(t, []string{"WEIR_URL=" + url}, "", "queues", "--token-file", secretFile(t, "\n")).Says(1, "empty")
	weirtest.RunCLI(t, []string{"WEIR_URL=" + withUser, "WEIR_TOKEN=a"}, "", "queues").Says(1, "WEIR_TOKEN")
}

func TestSecretsOfURLsAreNotShown(t *testing.T) {
	t.Parallel()
	for _, c := range [][]string{
		{"queues", "--url", "http://user:" + secret + "@127.0.0.1:1"},
		{"queues", "--url", "http://user:" + secret + "@127.0.0.1:port"},
		{"queues", "--url", "ftp://user:" + secret + "@127.0.0.1"},
		{"queues", "--url", "http://user:" + secret + "%zz@127.0.0.1"},
		{"queues", "--url", "user:" + secret + "@127.0.0.1"},
		{"migrate", "status", "--database-url", "postgres://user:" + secret + "@127.0.0.1:1/d"},
		{"migrate", "status", "--database-url", "postgres://user:" + secret + "%zz@127.0.0.1:1/d"},
		{"migrate", "status", "--database-url", "postgres://user:" + secret + "@127.0.0.1:port/d"},
		{"migrate", "status", "--database-url", "postgres://user:" + secret + "@[::1/d"},
		{"migrate", "status", "--database-url", "host=127.0.0.1 port=x password=" + secret},
		{"migrate", "status", "--database-url", "host=127.0.0.1 port=1 password='" + secret},
		{"migrate", "status", "--database-url", "postgres://127.0.0.1:1/d?user=u&password=" + secret},
		{"migrate", "status", "--database-url", "postgres://127.0.0.1:1/d?sslmode=no&password=" + secret},
		{"migrate", "down", "--yes", "--database-url", "postgres://user:" + secret + "@127.0.0.1:x/d"},
		{"serve", "--addr", "127.0.0.1:0", "--database-url", "postgres://user:" + secret + "@127.0.0.1:x/d"},
		{"serve", "--addr", "127.0.0.1:0", "--database-url", "postgres://u@127.0.0.1:1/d", "--listen-database-url", "postgres://user:" + secret + "@127.0.0.1:x/d"},
		{"keys", "create", "k", "--role", "admin", "--database-url", "postgres://user:" + secret + "@127.0.0.1:x/d"},
	} {
		r := weirtest.RunCLI(t, nil, "", c...)
		if r.Status == 0 || r.Stderr == "" {
			t.Errorf("%s: %d %s", r.Line, r.Status, r.Stderr)
		}
		if strings.Contains(r.Stdout+r.Stderr, secret) {
			t.Errorf("%s says %s%s", r.Line, r.Stdout, r.Stderr)
		}
	}
}

func TestDatabaseURLsCanBeInFiles(t *testing.T) {
	t.Parallel()
	url := weirtest.New(t).URL
	weirtest.RunCLI(t, nil, "", "migrate", "status", "--database-url-file", secretFile(t, url+"\n")).Says(0, "VERSION")
	weirtest.RunCLI(t, []string{"WEIR_DATABASE_URL_FILE=" + secretFile(t, url)}, "", "migrate", "status").Says(0, "VERSION")
	weirtest.RunCLI(t, nil, "", "migrate", "status", "--database-url-file", "/nonexistent").Says(1, "/nonexistent")
	weirtest.RunCLI(t, nil, "", "migrate", "status").Says(2, "--database-url", "--database-url-file")
	weirtest.RunCLI(t, nil, "", "migrate", "status", "--database-url", url, "--database-url-file", secretFile(t, url)).Says(2, "--database-url-file")
}
