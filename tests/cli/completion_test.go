package cli

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirhq/weir/tests/weirtest"
)

// completed is what weir offers after these words; the last one is under way.
func completed(t *testing.T, settings []string, words ...string) []string {
	t.Helper()
	var found []string
	r := weirtest.RunCLI(t, settings, "", append([]string{"complete", "--"}, words...)...).Says(0)
	if r.Stderr != "" {
		t.Errorf("%s says %q", r.Line, r.Stderr)
	}
	for line := range strings.Lines(r.Stdout) {
		word, help, tab := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !tab {
			t.Errorf("%q has no tab", line)
		}
		if word == "" {
			word = help // files
		}
		found = append(found, word)
	}
	return found
}

func TestCompletesCommandsFlagsAndValues(t *testing.T) {
	t.Parallel()
	settings := []string{"WEIR_URL=http://127.0.0.1:1"} // nothing answers: names are missing, all else is there
	for _, c := range []struct {
		typed string
		has   string
		not   string
	}{
		{"", "dev serve queue job completion version", "queues complete"},
		{"que", "queue", "job"},
		{"queue ", "list show pause purge set", "queue q"},
		{"queue p", "pause purge", "list"},
		{"queue purge q --", "--state --dry-run --yes --json --url --help", "--no-wait"},
		{"queue purge q --dry-run --", "--state", "--dry-run"},
		{"queue purge --st", "--state", "--yes"},
		{"queue purge q --state ", "available scheduled retryable held waiting", "running"},
		{"queue purge q --state=s", "--state=scheduled", "--state=held"},
		{"queue --j", "--json", "--url"},
		{"workflow s", "show submit signal", "list"},
		{"workflows s", "show submit signal", "list"},
		{"job logs 1 -f --level ", "debug info warn error", "fatal"},
		{"job logs 1 --level info --", "--attempt --follow", "--level"},
		{"jobs --state r", "running retryable", "completed"},
		{"jobs --state dead,r", "dead,running dead,retryable", ""},
		{"breakers pin b ", "open closed none", "half_open"},
		{"completion ", "bash zsh fish", "tcsh"},
		{"workers --state ", "active paused draining lost", ""},
		{"queues --token-file ", "files", ""},
		{"schedules apply ", "files", ""},
		{"work --queue q -- ", "files", ""},
		{"work --queue q -- cat ", "files", ""},
		{"enqueue k --tag ", "", "files"},
		{"queue show ", "", "files"},
		{"queue show --", "--json", ""},
		{"frobnicate --x y ", "", ""},
		{"queue show q x y z", "", ""},
		{"queue pause q --for=1", "", "files"},
	} {
		words := strings.Split(c.typed, " ")
		found := completed(t, settings, words...)
		for _, word := range strings.Fields(c.has) {
			if !slices.Contains(found, word) {
				t.Errorf("%q: does not offer %s: %q", c.typed, word, found)
			}
		}
		for _, word := range strings.Fields(c.not) {
			if slices.Contains(found, word) {
				t.Errorf("%q: offers %s: %q", c.typed, word, found)
			}
		}
	}
}

func TestCompletesNames(t *testing.T) {
	t.Parallel()
	s := weirtest.StartNode(t)
	settings := []string{"WEIR_URL=" + s.URL}
	for _, q := range []string{"mail", "mail:eu", "video"} {
		s.Do(http.MethodPut, "/v1/queues/"+q, `{}`).Want(http.StatusOK)
	}
	s.Do(http.MethodPut, "/v1/breakers/stripe", `{}`)
	s.Do(http.MethodPut, "/v1/workers/mill 1", `{}`)
	s.Post("/v1/schedules", obj{"name": "nightly", "cron": "0 3 * * *", "job": obj{"kind": "report"}}).Want(http.StatusCreated)
	id := s.Enqueue(`{"kind": "resize", "queue": "video"}`)
	workflow := weirtest.Decode[struct{ ID string }](s.Post("/v1/workflows", obj{"name": "w", "steps": []obj{{"name": "a", "kind": "k"}}}).Want(http.StatusCreated)).ID
	for _, c := range []struct{ typed, want string }{
		{"queue show m", "mail mail:eu"},
		{"queue m", ""}, // weir queue takes no name
		{"job " + id, id},
		{"enqueue k --queue v", "video"},
		{"enqueue k --queue=v", "--queue=video"},
		{"work --queue mail,v", "mail,video"},
		{"breakers trip ", "stripe"},
		{"enqueue k --breaker ", "stripe"},
		{"schedules show ", "nightly"},
		{"workflow show ", workflow},
		{"job cancel " + id + " ", "has " + id},
		{"job wait ", "has " + id},
		{"enqueue res", "resize"},
		{"stats --kind res", "resize"},
		{"queue show m --url http://127.0.0.1:1 ", ""},
		{"queue show --url http://127.0.0.1:1 m", ""},
	} {
		found := completed(t, settings, strings.Split(c.typed, " ")...)
		if one, has := strings.CutPrefix(c.want, "has "); has && slices.Contains(found, one) {
			continue
		}
		if got := strings.Join(found, " "); got != c.want {
			t.Errorf("%q: offers %q, want %q", c.typed, got, c.want)
		}
	}
	if got := completed(t, settings, "workers", "pause", ""); !slices.Contains(got, "mill 1") {
		t.Errorf("workers: %q", got)
	}
	// The flag decides where to ask, not only the environment.
	if got := completed(t, nil, "queue", "show", "--url", s.URL, "vi"); !slices.Equal(got, []string{"video"}) {
		t.Errorf("with --url: %q", got)
	}
}

// shell starts a shell that knows weir's completion, in a terminal.
func shell(t *testing.T, url, name string, args ...string) *weirtest.Terminal {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is missing: run scripts/setup %s", name, name)
	}
	home := t.TempDir()
	settings := []string{"WEIR_URL=" + url, "HOME=" + home, "XDG_CONFIG_HOME=" + home, "XDG_DATA_HOME=" + home, "ZDOTDIR=" + home, "PS1=$ ", "LC_ALL=C.UTF-8"}
	settings = append(settings, "PATH="+filepath.Dir(weirtest.Program(t, "./cmd/weir"))+":"+os.Getenv("PATH"))
	return weirtest.StartTerminal(t, 100, 30, settings, path, args...)
}

func queuesToComplete(t *testing.T) *weirtest.Node {
	s := weirtest.StartNode(t)
	for _, q := range []string{"invoices:eu", "invoices:us", "video"} {
		s.Do(http.MethodPut, "/v1/queues/"+q, `{}`).Want(http.StatusOK)
	}
	s.Do(http.MethodPut, "/v1/workers/mill%20one", `{}`)
	return s
}

func TestBashCompletes(t *testing.T) {
	t.Parallel()
	s := queuesToComplete(t)
	x := shell(t, s.URL, "bash", "--norc", "--noprofile", "-i")
	x.Type("bind 'set bell-style none'; eval \"$(weir completion bash)\"; echo rea''dy\r")
	x.Shows("ready")
	x.Type("weir queue pa\t")
	x.Shows("weir queue pause")
	x.Type("inv\t\t\t")
	x.Shows("weir queue pause invoices:", "eu  us") // what follows the colon, as bash does
	x.Type("u\t--rea\tx --dry\r")
	x.Shows("weir queue pause invoices:us --reason x --dry", "unknown flag --dry")
	x.Type("weir queue purge v\t--state=ret\t--dry\t\r")
	x.Shows("weir queue purge video --state=retryable --dry-run", "0 jobs of queue video are retryable")
	x.Type("weir workers show mi\t--js\t\r")
	x.Shows(`weir workers show mill\ one --json`, `"name":"mill one"`)
}

func TestZshCompletes(t *testing.T) {
	t.Parallel()
	s := queuesToComplete(t)
	x := shell(t, s.URL, "zsh", "-f", "-i")
	x.Type("autoload -U compinit && compinit -u; unsetopt beep; eval \"$(weir completion zsh)\"; echo rea''dy\r")
	x.Shows("ready")
	x.Type("weir queue pa\t")
	x.Shows("weir queue pause")
	x.Type("inv\t\t")
	x.Shows("invoices:eu", "invoices:us")
	x.Type("\x15clear\r")
	x.Type("weir queue purge v\t--state=ret\t --dry\t\r")
	x.Shows("weir queue purge video --state=retryable --dry-run", "0 jobs of queue video are retryable")
	x.Type("weir workers show mi\t--js\t\r")
	x.Shows(`weir workers show mill\ one --json`, `"name":"mill one"`)
	x.Type("weir migrate \t")
	x.Shows("up", "down", "status", "-- ")
}

func TestFishCompletes(t *testing.T) {
	t.Parallel()
	s := queuesToComplete(t)
	x := shell(t, s.URL, "fish", "--private", "-c", `
		weir completion fish | source
		for line in 'weir queue pa' 'weir queue pause inv' 'weir queue purge v --state=ret' 'weir workers show mi' 'weir queues --token-file /etc/passw'
			complete -C "$line"
		end
		echo done`)
	x.Shows("done")
	x.Shows("pause", "Stop handing out the jobs of a queue.", "invoices:eu", "invoices:us", "--state=retryable", "mill one", "/etc/passwd")
}
