package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/weirhq/weir/rest"
	"github.com/weirhq/weir/terminal"
)

// nameTimeout bounds the wait for names: the user waits at the keyboard.
const nameTimeout = 1500 * time.Millisecond

// nameSource is where names of a noun come from: a list, the member that holds the name, and members that say more of it.
type nameSource struct {
	call rest.Call
	list string
	name string
	more []string
}

func namesFrom(path, name string, more ...string) nameSource {
	return nameSource{rest.Get(path).With("limit", "1000"), "items", name, more}
}

// nameSources are the nouns that complete. An argument says which it is by its tag complete, a flag by its name or that tag.
var nameSources = map[string]nameSource{
	"queue":        namesFrom("/v1/queues", "name"),
	"worker":       namesFrom("/v1/workers", "name", "state"),
	"breaker":      namesFrom("/v1/breakers", "name", "state"),
	"schedule":     namesFrom("/v1/schedules", "name", "state"),
	"preset":       namesFrom("/v1/presets", "name"),
	"webhook":      namesFrom("/v1/webhooks", "name"),
	"alert":        {rest.Get("/v1/alerts").With("state", "open,acknowledged").With("limit", "50"), "items", "id", []string{"summary"}},
	"alert-rule":   namesFrom("/v1/alert-rules", "name", "condition"),
	"alert-target": namesFrom("/v1/alert-targets", "name", "kind"),
	"tenant":       namesFrom("/v1/tenants", "tenant"),
	"key":          namesFrom("/v1/keys", "id", "name"),
	"operation":    {rest.Get("/v1/operations").With("limit", "50"), "items", "id", []string{"kind", "state"}},
	"workflow":     {rest.Get("/v1/workflows").With("limit", "50"), "items", "id", []string{"name", "state"}},
	"job":          {rest.Get("/v1/jobs").With("limit", "50"), "items", "id", []string{"kind", "state"}},
	"dead":         {rest.Get("/v1/dead").With("limit", "50"), "items", "id", []string{"kind", "queue"}},
	"kind":         {rest.Get("/v1/stats/distribution").With("window_seconds", "86400"), "kinds", "name", nil},
}

// names asks the node for names. Without an answer there are none.
func (l *typedLine) names(ctx context.Context, s *Session, source nameSource) []choice {
	weir, err := l.client(s)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	lists, err := rest.Do[map[string]json.RawMessage](ctx, weir, source.call)
	if err != nil {
		return nil
	}
	var items []map[string]any
	if json.Unmarshal(lists[source.list], &items) != nil {
		return nil
	}
	var names []choice
	for _, item := range items {
		name, _ := item[source.name].(string)
		if name == "" || name != terminal.Printable(name) || strings.ContainsAny(name, "\t\n") {
			continue
		}
		var more []string
		for _, member := range source.more {
			if text := item[member]; text != nil {
				more = append(more, fmt.Sprint(text))
			}
		}
		names = append(names, choice{name, strings.Join(more, ", ")})
	}
	return names
}

// client makes a client by the service flags that are typed, and the environment.
func (l *typedLine) client(s *Session) (*rest.Client, error) {
	var service struct{ ServiceFlags }
	parser, err := kong.New(&service, kong.NoDefaultHelp(), kong.Exit(func(int) {}))
	if err != nil {
		return nil, err
	}
	var args []string
	for _, flag := range parser.Model.Flags {
		for given, value := range l.flags {
			if given.Name == flag.Name && value != "" {
				args = append(args, "--"+flag.Name+"="+value)
			}
		}
	}
	if _, err := parser.Parse(args); err != nil {
		return nil, err
	}
	return service.Client(s)
}
