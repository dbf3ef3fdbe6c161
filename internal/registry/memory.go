package registry

import (
	"context"
	"sync"

	"oras.land/oras-go/v2/registry/remote/auth"
)

// maxRemembered is how many hosts a Memory remembers.
const maxRemembered = 1000

// A Memory is what a client leaves to those after it: which registries want a
// password with each request (RFC 7617). So a client that asks one question only
// needs not ask it twice. It holds no credentials. It is safe for concurrent use.
type Memory struct {
	mu    sync.Mutex
	basic map[string]bool
}

// NewMemory returns a Memory of nothing.
func NewMemory() *Memory { return &Memory{basic: map[string]bool{}} }

// wantsPassword reports whether a host is known to.
func (m *Memory) wantsPassword(host string) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.basic[host]
}

// note remembers how a host wants to be asked.
func (m *Memory) note(host string, scheme auth.Scheme) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if scheme != auth.SchemeBasic {
		delete(m.basic, host)
		return
	}
	if len(m.basic) >= maxRemembered {
		clear(m.basic)
	}
	m.basic[host] = true
}

// A notingCache tells a Memory what a registry's challenge was.
type notingCache struct {
	auth.Cache

	memory *Memory
}

// Set implements auth.Cache.
func (c notingCache) Set(ctx context.Context, registry string, scheme auth.Scheme, key string, fetch func(context.Context) (string, error)) (string, error) {
	c.memory.note(registry, scheme)
	return c.Cache.Set(ctx, registry, scheme, key, fetch)
}

// forget drops all tokens, so that the next request fetches new ones.
func (c notingCache) forget() {
	if tokens, ok := c.Cache.(*freshTokens); ok {
		tokens.forget()
	}
}

// newCache returns a cache of what a registry wants, which knows already where a
// registry is known to want the password.
func newCache(m *Memory, own *credentials) auth.Cache {
	cache := newFreshTokens()
	cache.given = own.token
	if m.wantsPassword(own.host) {
		// The scheme counts: the password itself is not kept.
		_, _ = cache.Set(context.Background(), own.host, auth.SchemeBasic, "", func(context.Context) (string, error) { return "", nil })
	}
	return notingCache{Cache: cache, memory: m}
}
