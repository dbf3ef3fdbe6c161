package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote/auth"
)

const (
	// tokenLife of a token that does not say
	// (https://distribution.github.io/distribution/spec/auth/token/, expires_in).
	tokenLife = 60 * time.Second

	// tokenReserve is how long a token has to live when it is used, or half of
	// its life if that is shorter.
	tokenReserve = 30 * time.Second
)

// freshTokens is a cache that keeps no bearer token until its last moment. A
// blob's push takes two requests, and the second, whose body cannot be sent
// again, goes with the first one's token: one that ends in between would lose
// the push.
type freshTokens struct {
	auth.Cache

	now func() time.Time

	// given returns what a host is told that gets no token of a token server, as it is
	// now, and reports whether there is any; nil for none.
	given func(ctx context.Context, host string, scheme auth.Scheme) (string, bool)

	mu    sync.Mutex
	stale map[string]time.Time // From when on a token is not used, by its place.
}

func newFreshTokens() *freshTokens {
	return &freshTokens{Cache: auth.NewCache(), now: time.Now, stale: map[string]time.Time{}}
}

// GetToken implements auth.Cache.
func (c *freshTokens) GetToken(ctx context.Context, registry string, scheme auth.Scheme, key string) (string, error) {
	c.mu.Lock()
	stale, timed := c.stale[registry+" "+key]
	c.mu.Unlock()
	if scheme == auth.SchemeBearer && timed && !c.now().Before(stale) {
		return "", errdef.ErrNotFound
	}
	token, err := c.Cache.GetToken(ctx, registry, scheme, key)
	if err != nil || c.given == nil {
		return token, err
	}
	if given, ok := c.given(ctx, registry, scheme); ok {
		// What was kept may be that of an earlier credential.
		return given, nil
	}
	if scheme == auth.SchemeBasic {
		return "", errdef.ErrNotFound
	}
	return token, nil
}

// Set implements auth.Cache.
func (c *freshTokens) Set(ctx context.Context, registry string, scheme auth.Scheme, key string, fetch func(context.Context) (string, error)) (string, error) {
	return c.Cache.Set(ctx, registry, scheme, key, func(ctx context.Context) (string, error) {
		asked := c.now()
		token, err := fetch(ctx)
		if err == nil {
			life := lifeOf(token)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.stale[registry+" "+key] = asked.Add(life - min(tokenReserve, life/2))
		}
		return token, err
	})
}

// lifeOf returns how long a token lives that was just given out. Most are JSON
// Web Tokens (RFC 7519), which say so; their times are another machine's, and
// only the span between them counts.
func lifeOf(token string) time.Duration {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return tokenLife
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return tokenLife
	}
	var claims struct {
		Expires   float64 `json:"exp"`
		IssuedAt  float64 `json:"iat"`
		NotBefore float64 `json:"nbf"`
	}
	if json.Unmarshal(b, &claims) != nil {
		return tokenLife
	}
	from := max(claims.IssuedAt, claims.NotBefore)
	if from <= 0 || claims.Expires <= from {
		return tokenLife
	}
	const longest = 24 * time.Hour
	return time.Duration(min(claims.Expires-from, longest.Seconds()) * float64(time.Second))
}
