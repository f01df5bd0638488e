package api

import (
	"crypto/x509"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weirhq/weir/access"
)

// maxNames bounds the names of a certificate that are looked up.
const maxNames = 20

// verifiedCertificate returns the client certificate of a request's connection: nil if there is none.
func verifiedCertificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// ofCertificate returns the principal of a client certificate, which TLS has verified. A connection may outlive it.
func (a *API) ofCertificate(r *http.Request, cert *x509.Certificate) (*access.Principal, *Problem) {
	names := namesOf(cert)
	if len(names) == 0 || time.Now().After(cert.NotAfter) {
		return nil, unauthenticatedProblem(r, "the client certificate has expired, or has no name")
	}
	p, err := a.engine.AuthenticateCertificate(r.Context(), names)
	return p, refusalOfCaller(r, err, "no name of the client certificate has been let in: weir keys create NAME --certificate")
}

// namesOf lists the names of a certificate: of the subject alternative name its URIs, hosts and mail addresses, then the
// common name.
func namesOf(cert *x509.Certificate) []string {
	var all []string
	for _, uri := range cert.URIs {
		all = append(all, uri.String())
	}
	all = append(append(append(all, cert.DNSNames...), cert.EmailAddresses...), cert.Subject.CommonName)
	var names []string
	for _, name := range all {
		if name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= 200 && !strings.ContainsRune(name, 0) && len(names) < maxNames {
			names = append(names, name)
		}
	}
	return names
}
