package sso

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"
)

const (
	keysFresh    = 5 * time.Minute // how long keys are used before the issuer is asked again, beside the calls
	fetchEvery   = 5 * time.Second // the issuer is asked no more often, whatever keys tokens name
	fetchTimeout = 10 * time.Second
	maxDocument  = 1 << 20 // bytes
	maxKeys      = 100
	minRSABits   = 2048
)

// keys are the public keys of an issuer. While it is away those that are known stay in use.
type keys struct {
	issuer string
	client *http.Client
	log    *slog.Logger
	flight singleflight.Group

	mu      sync.Mutex
	known   []jose.JSONWebKey
	readAt  time.Time
	triedAt time.Time
	failing bool
}

// find returns the key that a token names, for its algorithm. Errors: ErrToken, ErrAway.
func (k *keys) find(ctx context.Context, id, algorithm string) (*jose.JSONWebKey, error) {
	key, known, due := k.look(id, algorithm)
	switch {
	case key != nil && due:
		go k.refresh(context.WithoutCancel(ctx))
	case key == nil && due:
		k.refresh(context.WithoutCancel(ctx))
		key, known, _ = k.look(id, algorithm)
	}
	switch {
	case key != nil:
		return key, nil
	case !known:
		return nil, ErrAway
	}
	return nil, fmt.Errorf("%w: the issuer has no key of its name", ErrToken)
}

// look returns a key if it is known, whether any is, and whether it is time to ask the issuer.
func (k *keys) look(id, algorithm string) (key *jose.JSONWebKey, known, due bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.known {
		if fits(&k.known[i], id, algorithm, len(k.known)) {
			key = &k.known[i]
		}
	}
	due = time.Since(k.triedAt) >= fetchEvery && (key == nil || time.Since(k.readAt) >= keysFresh)
	return key, len(k.known) > 0, due
}

// fits says whether a key is the one of a token. A token need not name the only one.
func fits(key *jose.JSONWebKey, id, algorithm string, of int) bool {
	return (key.KeyID == id || id == "" && of == 1) && (key.Algorithm == "" || key.Algorithm == algorithm)
}

// refresh asks the issuer, once for all who wait.
func (k *keys) refresh(ctx context.Context) {
	_, _, _ = k.flight.Do("", func() (any, error) {
		k.mu.Lock()
		again := time.Since(k.triedAt) < fetchEvery
		k.mu.Unlock()
		if again {
			return nil, nil
		}
		fresh, err := k.fetch(ctx)
		k.mu.Lock()
		defer k.mu.Unlock()
		k.triedAt = time.Now()
		if err != nil {
			if !k.failing {
				k.log.Warn("the issuer of access tokens gives no keys; those that are known stay in use", "issuer", k.issuer, "error", err)
			}
			k.failing = true
			return nil, nil
		}
		k.known, k.readAt, k.failing = fresh, time.Now(), false
		return nil, nil
	})
}

// fetch finds where the issuer has its keys, and reads those that tokens can be checked with.
func (k *keys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	var document struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := k.get(ctx, strings.TrimSuffix(k.issuer, "/")+"/.well-known/openid-configuration", &document); err != nil {
		return nil, err
	}
	if document.Issuer != k.issuer {
		return nil, errors.New("its configuration is that of another issuer")
	}
	if u, err := url.Parse(document.Keys); err != nil || u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())) {
		return nil, errors.New("its jwks_uri must be an https URL")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := k.get(ctx, document.Keys, &set); err != nil {
		return nil, err
	}
	var usable []jose.JSONWebKey
	for _, text := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(text, &key) != nil || !key.Valid() || !key.IsPublic() || key.Use == "enc" { // of a kind that is not known here
			continue
		}
		if public, ok := key.Key.(*rsa.PublicKey); ok && public.N.BitLen() < minRSABits {
			continue
		}
		if len(usable) < maxKeys {
			usable = append(usable, key)
		}
	}
	if len(usable) == 0 {
		return nil, errors.New("it has no key that can be used")
	}
	return usable, nil
}

func (k *keys) get(ctx context.Context, address string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := k.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, response.Status)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxDocument))
	if err != nil {
		return fmt.Errorf("reading %s: %w", address, err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading %s: %w", address, err)
	}
	return nil
}
