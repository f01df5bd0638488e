//go:build unix

package weirtest

import (
	"fmt"
	"net/url"
	"testing"
)

// Login makes a role with the access that grants give it, the arguments of weir.grant_access after the role, and connects as it.
func Login(t *testing.T, d *Database, name string, grants ...string) *Database {
	t.Helper()
	l := Stranger(t, d, name)
	for _, g := range grants {
		Exec(t, d, fmt.Sprintf("select weir.grant_access('%s', %s)", l.Role(), g))
	}
	return l
}

// Stranger makes a role without any right, and connects as it.
func Stranger(t *testing.T, d *Database, name string) *Database {
	t.Helper()
	role := fmt.Sprintf("%s_%s", name, d.Config().ConnConfig.Database)
	Exec(t, d, "create role "+role+" login password 'secret'")
	t.Cleanup(func() {
		Exec(t, d, "drop owned by "+role+" cascade")
		Exec(t, d, "drop role "+role)
	})
	u, err := url.Parse(d.Direct)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "secret")
	return Open(t, u.String())
}

// Role is the role that the connections belong to.
func (d *Database) Role() string { return d.Config().ConnConfig.User }
