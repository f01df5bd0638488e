package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/weirhq/weir/rest"
)

// id is the id of a job, a workflow or an operation on the command line.
type id string

// UnmarshalText is called by kong.
func (i *id) UnmarshalText(text []byte) error {
	*i = id(text)
	if n, err := strconv.ParseUint(string(text), 10, 63); err != nil || n == 0 {
		return fmt.Errorf("%q is not an id: ids are positive numbers, such as 42", text)
	}
	return nil
}

// limit is how many items to list.
type limit int

// UnmarshalText is called by kong.
func (l *limit) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number of at least 1", text)
	}
	*l = limit(n)
	return nil
}

// readJSON takes JSON from the command line, from a file (@FILE), or from standard input (-). No text gives none.
func readJSON(given string, stdin io.Reader) (json.RawMessage, error) {
	text, source := []byte(given), "the argument"
	var err error
	if path, isFile := strings.CutPrefix(given, "@"); isFile {
		source = path
		text, err = os.ReadFile(path)
	} else if given == "-" {
		source = "standard input"
		text, err = io.ReadAll(stdin)
	} else if given == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading JSON: %w", err)
	}
	if !json.Valid(text) {
		return nil, Usagef(`%s is not JSON; a string needs quotes: '"text"'`, source)
	}
	return text, nil
}

// parseSettings makes an object of name=value pairs. A value is JSON, or otherwise a string; a dot in a name leads into
// an object.
func parseSettings(pairs []string) (map[string]any, error) {
	settings := map[string]any{}
	for _, pair := range pairs {
		name, text, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return nil, Usagef("%q is not a setting: give name=value, as in priority=7", pair)
		}
		var value any = text
		if json.Valid([]byte(text)) {
			value = json.RawMessage(text)
		}
		object := settings
		for {
			outer, inner, deeper := strings.Cut(name, ".")
			if !deeper {
				break
			}
			child, ok := object[outer].(map[string]any)
			if !ok {
				child = map[string]any{}
				object[outer] = child
			}
			object, name = child, inner
		}
		object[name] = value
	}
	return settings, nil
}

// ownerFlag names the tenant whose record a command is about.
type ownerFlag struct {
	Tenant string `help:"The tenant whose it is. A key with a tenant names its own, and needs no such flag." placeholder:"TENANT"`
}

func (f ownerFlag) of(call rest.Call) rest.Call { return call.With("tenant", f.Tenant) }

// ofTenant is a name in a table, with the tenant whose it is.
func ofTenant(name, tenant string) string {
	if tenant == "" {
		return name
	}
	return name + " of " + tenant
}
