package api

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// hosts are the names under which a node may be called. A page can have its own name resolve to the node's address (DNS rebinding). To the
// browser the node then is of the page's origin, so that only the Host header tells. It names no address then, so addresses are always allowed.
type hosts struct {
	all     bool
	names   map[string]bool
	domains []string // ".example.com"
}

// newHosts reads a list of names, of domains with all their names (*.example.com) or of *, which allows all.
func newHosts(allowed []string) (hosts, error) {
	h := hosts{names: map[string]bool{"localhost": true}, domains: []string{".localhost"}}
	for _, name := range allowed {
		plain := strings.ToLower(name)
		domain, isDomain := strings.CutPrefix(plain, "*.")
		switch {
		case plain == "*":
			h.all = true
		case domain == "" || strings.ContainsAny(domain, "*/:@ \t"):
			return h, fmt.Errorf("%q is not the name of a host without a port, such as weir.example.com, *.example.com or *", name)
		case isDomain:
			h.domains = append(h.domains, "."+domain)
		default:
			h.names[plain] = true
		}
	}
	return h, nil
}

// allow says whether a request may name this host. A client of HTTP/1.0 may name none; a browser always does.
func (h hosts) allow(host string) bool {
	if h.all || host == "" || h.names[host] {
		return true
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if h.names[host] {
		return true
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	for _, domain := range h.domains {
		if strings.HasSuffix(host, domain) {
			return true
		}
	}
	return false
}

// foreign says whether a browser sends a request for a page of another site without the user going there: to load an image, or by a
// script. net/http refuses such requests only if they write; but reads cost something too.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
}
