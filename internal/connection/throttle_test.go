package connection

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

func TestThrottle(t *testing.T) {
	cases := map[string]struct {
		reason string
		hold   func(t *Throttle)
		least  time.Duration
		most   time.Duration
	}{
		"None":    {reason: "A host that asked for nothing should not be waited for.", hold: func(*Throttle) {}},
		"Other":   {reason: "Another host's wait should not be waited for.", hold: func(t *Throttle) { t.Hold("b", time.Minute) }},
		"Asked":   {reason: "The wait should last as long as the host asked, and little longer.", hold: func(t *Throttle) { t.Hold("a", 2*time.Minute) }, least: 2 * time.Minute, most: 2*time.Minute + 2*time.Second},
		"Longest": {reason: "A shorter wait should not end a longer one.", hold: func(t *Throttle) { t.Hold("a", 2*time.Minute); t.Hold("a", time.Second) }, least: 2 * time.Minute, most: 2*time.Minute + 2*time.Second},
		"Extended": {reason: "A wait that is asked for meanwhile should be waited for, too.", hold: func(t *Throttle) {
			t.Hold("a", time.Minute)
			time.AfterFunc(30*time.Second, func() { t.Hold("a", 2*time.Minute) })
		}, least: 150 * time.Second, most: 155 * time.Second},
		"Bound": {reason: "Nobody should be believed who asks for a day.", hold: func(t *Throttle) { t.Hold("a", 24*time.Hour) }, least: MaxWait, most: MaxWait + 2*time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				throttle, start := &Throttle{}, time.Now()
				tc.hold(throttle)
				err := throttle.Wait(t.Context(), "a")
				if took := time.Since(start); err != nil || took < tc.least || took > tc.most {
					t.Errorf("\n%s\nWait(...): want a wait of %s to %s, got %s, %v", tc.reason, tc.least, tc.most, took, err)
				}
			})
		})
	}
}

func TestThrottleContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		throttle := &Throttle{}
		throttle.Hold("a", time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := throttle.Wait(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait(...): want the context's error, got %v", err)
		}
	})
}

func TestThrottleNil(t *testing.T) {
	var throttle *Throttle
	throttle.Hold("a", time.Hour)
	if err := throttle.Wait(t.Context(), "a"); err != nil {
		t.Errorf("Wait(...): want no wait without a throttle, got %v", err)
	}
}
