package connection

import (
	"context"
	"time"
)

// renewedEvery is how often Renewed looks.
const renewedEvery = 500 * time.Millisecond

// Renewed waits until a credential is another than it was, and reports whether it is
// within some time. Errors of reading it count as no change.
func Renewed[T comparable](ctx context.Context, within time.Duration, was T, read func(context.Context) (T, error)) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(renewedEvery)
	defer tick.Stop()
	for {
		if now, err := read(ctx); err == nil && now != was {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
}
