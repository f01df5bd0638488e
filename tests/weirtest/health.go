//go:build unix

package weirtest

import (
	"net/http"
	"slices"
)

// Component is a component of a node's health as clients see it.
type Component struct {
	Name, Node, Status, Message string
	Checks                      int
	SuccessRate                 float64 `json:"success_rate"`
	History                     []struct {
		OK      bool
		Message string
		Seconds *float64
	}
}

// Resilience is the score of a deployment's health as clients see it.
type Resilience struct {
	Status     string
	Score      float64
	Components int
	Failing    []string
	Breakers   struct {
		Closed, Open  int
		OpenedLastDay int `json:"opened_last_day"`
	}
}

// Component returns a component by name, or the zero value if the node does not report it.
func (s *Node) Component(name string) Component {
	s.T.Helper()
	all := Decode[struct{ Components []Component }](s.Get("/v1/health?component=" + name).Want(http.StatusOK)).Components
	if i := slices.IndexFunc(all, func(c Component) bool { return c.Name == name }); i >= 0 {
		return all[i]
	}
	return Component{}
}
