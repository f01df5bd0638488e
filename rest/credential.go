package rest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// parseAddress takes the address of a service apart: without its user and password, and the header that carries them. Its errors do not
// repeat what may be a password.
func parseAddress(address string) (base, authorization string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", "", fmt.Errorf("%q is not a URL of a service, such as %s", redacted(address), DefaultURL)
	}
	if u.User != nil {
		password, _ := u.User.Password()
		authorization = "Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password))
		u.User = nil
	}
	return strings.TrimSuffix(u.String(), "/"), authorization, nil
}

// redacted is a text that should be an address, without what comes before its host.
func redacted(address string) string {
	at := strings.LastIndexByte(address, '@')
	if at < 0 {
		return address
	}
	scheme, _, found := strings.Cut(address, "://")
	if !found || len(scheme) > at {
		return "…" + address[at:]
	}
	return scheme + "://…" + address[at:]
}

// authorize chooses the header of a client that has a token and an address.
func authorize(fromAddress, token string) (string, error) {
	switch {
	case token == "":
		return fromAddress, nil
	case fromAddress != "":
		return "", errors.New("the address has a user, and there is a token (WEIR_TOKEN, --token-file): a call can carry only one of them")
	}
	return "Bearer " + token, nil
}
