package hub

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A gate keeps all requests for files back from a host that asked to wait, for
// as long as it asked: where one range is told to wait, all are meant.
type gate struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// hold keeps requests back from a host for at least d.
func (g *gate) hold(host string, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until == nil {
		g.until = map[string]time.Time{}
	}
	if t := time.Now().Add(d); t.After(g.until[host]) {
		g.until[host] = t
	}
}

// wait returns once a host may be asked, or with the context's error. Those who
// wait together do not come back together.
func (g *gate) wait(ctx context.Context, host string) error {
	for {
		g.mu.Lock()
		d := time.Until(g.until[host])
		g.mu.Unlock()
		if d <= 0 {
			return ctx.Err()
		}
		jitter := rand.N(min(d/4, 2*time.Second) + 1) //nolint:gosec // No secret.
		if err := sleep(ctx, d+jitter); err != nil {
			return err
		}
	}
}

// sleep waits, or returns the context's error if that ends earlier.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
