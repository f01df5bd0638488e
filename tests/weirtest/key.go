package weirtest

import (
	"net/http"
	"testing"

	"github.com/weirhq/weir/api"
	"github.com/weirhq/weir/jobs"
)

// Key is an API key as REST shows it.
type Key struct {
	ID        string
	Name      string
	Roles     []string
	Queues    []string
	Tenant    string
	State     string
	CreatedBy string `json:"created_by"`
	Secret    string `json:"key"`
}

// StartNodeWithAuth starts a node in this process that asks every caller for an API key. It calls as an admin.
func StartNodeWithAuth(t *testing.T) *Node {
	t.Helper()
	return StartNodeWithAuthOn(t, New(t))
}

// StartNodeWithAuthOn is StartNodeWithAuth on a database.
func StartNodeWithAuthOn(t *testing.T, d *Database) *Node {
	t.Helper()
	s := startAPI(t, d, jobs.Config{}, api.Config{Auth: true})
	s.Key = Value[string](t, d, "select key from weir.create_key('admin of the test', '{admin}')")
	return s
}

// As is the same node for a caller with another key: "" for none.
func (s *Node) As(key string) *Node {
	caller := *s
	caller.Key = key
	return &caller
}

// NewKey makes a key over REST.
func (s *Node) NewKey(body Object) Key {
	s.T.Helper()
	return Decode[Key](s.Post("/v1/keys", body).Want(http.StatusCreated))
}

// AsNew is the same node for a caller with a new key with these roles.
func (s *Node) AsNew(name string, more Object, roles ...string) *Node {
	s.T.Helper()
	body := Object{"name": name, "roles": roles}
	for field, value := range more {
		body[field] = value
	}
	return s.As(s.NewKey(body).Secret)
}
