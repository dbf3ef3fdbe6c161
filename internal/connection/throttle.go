package connection

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// A Throttle keeps requests back from hosts that asked to wait, for as long as
// they asked: where one request is told to wait, all are meant. Clients of one
// run may share it. It is safe for concurrent use; the zero value, and nil, keep
// nothing back.
type Throttle struct {
	// Sleep waits, or returns the context's error if that ends earlier. Nil,
	// which only tests should change, waits for real.
	Sleep func(ctx context.Context, d time.Duration) error

	mu    sync.Mutex
	until map[string]time.Time
}

// Hold keeps requests back from a host for at least d, up to MaxWait.
func (t *Throttle) Hold(host string, d time.Duration) {
	if t == nil || d <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.until == nil {
		t.until = map[string]time.Time{}
	}
	if end := time.Now().Add(min(d, MaxWait)); end.After(t.until[host]) {
		t.until[host] = end
	}
}

// Wait returns once a host may be asked, or with the context's error. Those who
// wait together do not return together.
func (t *Throttle) Wait(ctx context.Context, host string) error {
	if t == nil {
		return ctx.Err()
	}
	var waited time.Time
	for {
		t.mu.Lock()
		until := t.until[host]
		t.mu.Unlock()
		d := time.Until(until)
		if d <= 0 || until.Equal(waited) {
			return ctx.Err()
		}
		waited = until
		jitter := rand.N(min(d/4, 2*time.Second) + 1) //nolint:gosec // No secret.
		if err := t.sleep(ctx, d+jitter); err != nil {
			return err
		}
	}
}

func (t *Throttle) sleep(ctx context.Context, d time.Duration) error {
	if t.Sleep != nil {
		return t.Sleep(ctx, d)
	}
	return retry.Sleep(ctx, d)
}
