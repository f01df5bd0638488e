package api

import (
	"strings"

	"github.com/weirhq/weir/jobs"
)

// Owner is the tenant whose record a request is about, for callers who are not bound to one.
type Owner struct {
	Tenant string `query:"tenant" maxLength:"200" doc:"The tenant whose it is. A key with a tenant names its own only, and needs no such parameter." example:"acme"`
}

// ownedBodyInput is the input of an operation that creates a record of a tenant.
type ownedBodyInput struct {
	Owner
	Payload
}

// place is where a record stands in a list by tenant and name. A name has no slash.
func place(r jobs.Ref) string { return r.Name + "/" + r.Tenant }

func refOf(place string) jobs.Ref {
	name, tenant, _ := strings.Cut(place, "/")
	return jobs.Ref{Tenant: tenant, Name: name}
}
