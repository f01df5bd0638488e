package sso

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/weirhq/weir/access"
)

const (
	maxQueues = 100
	maxTenant = 200
)

var queuePattern = regexp.MustCompile(`^[A-Za-z0-9_.:*-]{1,128}$`)

// allowed reads from the claims what a subject may do. A claim that should bind it, and is missing, lets it do nothing:
// otherwise it would be bound to nothing.
func (i *Issuer) allowed(name string, claims map[string]any) (access.Principal, error) {
	p := access.Principal{Name: name}
	given := map[access.Role]bool{}
	for _, value := range texts(claims, i.config.RolesClaim) {
		for _, role := range i.config.Roles[value] {
			given[role] = true
		}
	}
	for _, role := range access.Roles {
		if given[role] {
			p.Roles = append(p.Roles, role)
		}
	}
	if len(p.Roles) == 0 {
		return p, fmt.Errorf("%w: no value of its claim %s has a role", ErrUnknown, i.config.RolesClaim)
	}
	if claim := i.config.TenantClaim; claim != "" {
		tenant, _ := find(claims, claim).(string)
		if tenant == "" || utf8.RuneCountInString(tenant) > maxTenant || strings.ContainsRune(tenant, 0) {
			return p, fmt.Errorf("%w: its claim %s has no tenant", ErrUnknown, claim)
		}
		if tenant != "*" {
			p.Tenant = tenant
		}
	}
	if claim := i.config.QueuesClaim; claim != "" {
		values := texts(claims, claim)
		if len(values) == 0 || len(values) > maxQueues {
			return p, fmt.Errorf("%w: its claim %s must have 1 to %d patterns of queues", ErrUnknown, claim, maxQueues)
		}
		for _, value := range values {
			if !queuePattern.MatchString(value) {
				return p, fmt.Errorf("%w: its claim %s has something that is no pattern of queues", ErrUnknown, claim)
			}
			if value == "*" {
				return p, nil
			}
		}
		p.Queues = values
	}
	return p, nil
}

// find returns the value of a claim. Where no claim has the whole name, dots in it lead into objects.
func find(claims map[string]any, claim string) any {
	if value, ok := claims[claim]; ok {
		return value
	}
	var value any = claims
	for part := range strings.SplitSeq(claim, ".") {
		object, _ := value.(map[string]any)
		value = object[part]
	}
	return value
}

// texts are the values of a claim: of an array of texts, or of one text, in which spaces part them. Others count as none.
func texts(claims map[string]any, claim string) []string {
	switch v := find(claims, claim).(type) {
	case string:
		return strings.Fields(v)
	case []any:
		var all []string
		for _, item := range v {
			text, ok := item.(string)
			if !ok || text == "" {
				return nil
			}
			all = append(all, text)
		}
		return all
	}
	return nil
}
