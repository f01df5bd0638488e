package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/weirhq/weir/access"
	"github.com/weirhq/weir/sso"
)

// ssoFlags say which access tokens are accepted beside API keys.
type ssoFlags struct {
	OIDCIssuer      string   `name:"oidc-issuer" help:"URL of an OpenID Connect issuer whose access tokens are accepted beside API keys." env:"WEIR_OIDC_ISSUER" placeholder:"URL"`
	OIDCAudience    string   `name:"oidc-audience" help:"The audience that access tokens must have." env:"WEIR_OIDC_AUDIENCE" placeholder:"NAME"`
	OIDCRolesClaim  string   `name:"oidc-roles-claim" help:"The claim that --oidc-role maps; dots lead into objects, as in realm_access.roles." env:"WEIR_OIDC_ROLES_CLAIM" default:"roles"`
	OIDCRole        []string `name:"oidc-role" help:"A value of the roles claim, and the role that it gives: VALUE=ROLE; several with commas." env:"WEIR_OIDC_ROLE" placeholder:"VALUE=ROLE,…"`
	OIDCTenantClaim string   `name:"oidc-tenant-claim" help:"The claim with the tenant that callers are bound to; * for none. Defaults to none." env:"WEIR_OIDC_TENANT_CLAIM" placeholder:"CLAIM"`
	OIDCQueuesClaim string   `name:"oidc-queues-claim" help:"The claim with the patterns of the queues that callers may use. Defaults to all queues for all." env:"WEIR_OIDC_QUEUES_CLAIM" placeholder:"CLAIM"`
	OIDCCAFile      string   `name:"oidc-ca-file" help:"PEM file of certificate authorities to trust for the issuer, beside the system's." env:"WEIR_OIDC_CA_FILE" type:"path" placeholder:"FILE"`
}

// issuer makes the issuer of the flags: nil if there is none.
func (f ssoFlags) issuer(log *slog.Logger) (*sso.Issuer, error) {
	if f.OIDCIssuer == "" {
		if f.OIDCAudience != "" || len(f.OIDCRole) > 0 || f.OIDCTenantClaim != "" || f.OIDCQueuesClaim != "" {
			return nil, errors.New("the settings of access tokens take --oidc-issuer too")
		}
		return nil, nil
	}
	config := sso.Config{
		Issuer: f.OIDCIssuer, Audience: f.OIDCAudience, RolesClaim: f.OIDCRolesClaim, Roles: map[string][]access.Role{},
		TenantClaim: f.OIDCTenantClaim, QueuesClaim: f.OIDCQueuesClaim, Logger: log,
	}
	for _, pair := range f.OIDCRole {
		at := strings.LastIndexByte(pair, '=')
		if at < 1 || !slices.Contains(access.Roles, access.Role(pair[at+1:])) {
			return nil, fmt.Errorf("--oidc-role takes VALUE=ROLE, with one of the roles %v", access.Roles)
		}
		config.Roles[pair[:at]] = append(config.Roles[pair[:at]], access.Role(pair[at+1:]))
	}
	if f.OIDCCAFile != "" {
		text, err := os.ReadFile(f.OIDCCAFile)
		if err != nil {
			return nil, fmt.Errorf("reading certificates: %w", err)
		}
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s contains no certificate", f.OIDCCAFile)
		}
	}
	return sso.New(config)
}
