package retry

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestDo(t *testing.T) {
	transient := outcome.Errorf(outcome.Unavailable, "down")
	permanent := outcome.Errorf(outcome.Untrusted, "not trusted")
	policy := Policy{Tries: 4, FirstWait: 2 * time.Second, MaxWait: 3 * time.Second, MaxRetryAfter: time.Minute}

	type want struct {
		Err   string
		Calls int
		// Waits before jitter, without what was asked for.
		Waits []time.Duration
		Asked time.Duration
	}
	cases := map[string]struct {
		reason string
		args   []error // Of one try after the other; the last one repeats.
		want   want
	}{
		"Success":   {reason: "A success should not be retried.", args: []error{nil}, want: want{Calls: 1}},
		"Recovers":  {reason: "Transient errors before a success should not be returned.", args: []error{transient, transient, nil}, want: want{Calls: 3, Waits: []time.Duration{2 * time.Second, 3 * time.Second}}},
		"Limit":     {reason: "Tries and waits should be bounded.", args: []error{transient}, want: want{Err: "down", Calls: 4, Waits: []time.Duration{2 * time.Second, 3 * time.Second, 3 * time.Second}}},
		"Lasting":   {reason: "An error with a permanent reason should not be retried.", args: []error{permanent}, want: want{Err: "not trusted", Calls: 1}},
		"Turns":     {reason: "A permanent error after a transient one should not be retried.", args: []error{transient, permanent}, want: want{Err: "not trusted", Calls: 2, Waits: []time.Duration{2 * time.Second}}},
		"Network":   {reason: "Errors of the network should be retried.", args: []error{io.ErrUnexpectedEOF, nil}, want: want{Calls: 2, Waits: []time.Duration{2 * time.Second}}},
		"Wrapped":   {reason: "A wrapped transient error should be retried.", args: []error{errors.Wrap(transient, "cannot push"), nil}, want: want{Calls: 2, Waits: []time.Duration{2 * time.Second}}},
		"Permanent": {reason: "An error marked as permanent should not be retried.", args: []error{transient, Permanent(transient)}, want: want{Err: "down", Calls: 2, Waits: []time.Duration{2 * time.Second}}},
		"Transient": {reason: "An error marked as transient should be retried.", args: []error{Transient(permanent), nil}, want: want{Calls: 2, Waits: []time.Duration{2 * time.Second}}},
		"Stays":     {reason: "The last error marked as transient should be returned.", args: []error{Transient(permanent)}, want: want{Err: "not trusted", Calls: 4, Waits: []time.Duration{2 * time.Second, 3 * time.Second, 3 * time.Second}}},
		"Asked":     {reason: "The wait that a server asks for should be added.", args: []error{transient.After(40 * time.Second), nil}, want: want{Calls: 2, Waits: []time.Duration{2 * time.Second}, Asked: 40 * time.Second}},
		"AskedLong": {reason: "A server that asks for more than MaxRetryAfter should not be waited for.", args: []error{transient.After(2 * time.Minute)}, want: want{Err: "down", Calls: 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want
			var lines int
			p := policy
			p.Logf = func(string, ...any) { lines++ }
			p.Sleep = func(_ context.Context, d time.Duration) error {
				wait := tc.want.Waits[min(len(got.Waits), len(tc.want.Waits)-1)]
				if least := tc.want.Asked + wait/2; d < least || d > tc.want.Asked+wait {
					t.Errorf("\n%s\nDo(...): want a wait of %s to %s, got %s", tc.reason, least, tc.want.Asked+wait, d)
				}
				got.Waits, got.Asked = append(got.Waits, wait), tc.want.Asked
				return nil
			}
			err := p.Do(t.Context(), "it", func() error {
				got.Calls++
				return tc.args[min(got.Calls, len(tc.args))-1]
			})
			if err != nil {
				got.Err = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nDo(...): -want, +got:\n%s", tc.reason, diff)
			}
			if lines != len(tc.want.Waits) {
				t.Errorf("\n%s\nDo(...): want a line for each of %d waits, got %d", tc.reason, len(tc.want.Waits), lines)
			}
			if errors.As(err, new(*mark)) {
				t.Errorf("\n%s\nDo(...): the mark is left on %v", tc.reason, err)
			}
		})
	}
}

func TestDoHonoursContext(t *testing.T) {
	p := Policy{Tries: 5, FirstWait: time.Hour, MaxWait: time.Hour}
	failing := func() error { return outcome.Errorf(outcome.Unavailable, "down") }
	cases := map[string]struct {
		reason string
		limit  time.Duration
		want   string
	}{
		"Ended": {reason: "A context that has ended should not be waited for.", want: "down"},
		"Ends":  {reason: "A wait should end with the context.", limit: time.Minute, want: "cannot wait to retry it: context deadline exceeded"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.limit)
				defer cancel()
				start := time.Now()
				if got := fmt.Sprint(p.Do(ctx, "it", failing)); got != tc.want {
					t.Errorf("\n%s\nDo(...): want %q, got %q", tc.reason, tc.want, got)
				}
				if took := time.Since(start); took != tc.limit {
					t.Errorf("\n%s\nDo(...): want the end after %s, took %s", tc.reason, tc.limit, took)
				}
			})
		})
	}
}

func TestDoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Policy{Tries: 3, FirstWait: time.Minute, MaxWait: time.Hour}
		start, calls := time.Now(), 0
		err := p.Do(t.Context(), "it", func() error {
			if calls++; calls < 3 {
				return outcome.Errorf(outcome.Unavailable, "down")
			}
			return nil
		})
		if took := time.Since(start); err != nil || took < 90*time.Second || took > 3*time.Minute {
			t.Errorf("want success after 1.5 to 3 minutes, got %v after %s", err, took)
		}
	})
}

func TestMarkNothing(t *testing.T) {
	if err := Permanent(nil); err != nil {
		t.Errorf("Permanent(nil): want no error, got %v", err)
	}
	if err := Transient(nil); err != nil {
		t.Errorf("Transient(nil): want no error, got %v", err)
	}
}

func TestTries(t *testing.T) {
	down := outcome.Errorf(outcome.Unavailable, "down")
	cases := map[string]struct {
		reason  string
		every   int           // Failures between two Resets; 0 for none.
		working time.Duration // Before each failure.
		want    int           // Failures until Wait gives up, up to 100.
	}{
		"NoProgress": {reason: "Tries should be bounded.", want: 4},
		"Progress":   {reason: "Failures before a Reset should not count.", every: 3, want: 100},
		"Little":     {reason: "A Reset that comes too late should not help.", every: 4, want: 4},
		"Long":       {reason: "The time before the first failure should not count.", every: 1, working: time.Hour, want: 100},
		"Elapsed":    {reason: "MaxElapsed should bound the time since the first failure.", working: 40 * time.Minute, want: 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := Policy{Tries: 4, FirstWait: time.Second, MaxWait: time.Second, MaxElapsed: 30 * time.Minute}.Start("it")
				failures := 0
				for failures < 100 {
					time.Sleep(tc.working)
					failures++
					if tries.Wait(t.Context(), down) != nil {
						break
					}
					if tc.every > 0 && tries.Failures() == tc.every {
						tries.Reset()
					}
				}
				if failures != tc.want {
					t.Errorf("\n%s\nWait(...): want %d failures, got %d", tc.reason, tc.want, failures)
				}
			})
		})
	}
}

func TestBackoff(t *testing.T) {
	cases := map[string]struct {
		reason   string
		failures int
		first    time.Duration
		want     time.Duration
	}{
		"None":   {reason: "Without a failure the wait should be the first.", first: time.Second, want: time.Second},
		"First":  {reason: "The first failure should have the first wait.", failures: 1, first: time.Second, want: time.Second},
		"Fourth": {reason: "The wait should double with each failure.", failures: 4, first: time.Second, want: 8 * time.Second},
		"Many":   {reason: "The wait should be bounded.", failures: 1_000_000_000, first: time.Second, want: time.Minute},
		"Long":   {reason: "The first wait should be bounded, too.", failures: 1, first: time.Hour, want: time.Minute},
		"Zero":   {reason: "No wait should stay none.", failures: 3, want: 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Backoff(tc.failures, tc.first, time.Minute); got != tc.want {
				t.Errorf("\n%s\nBackoff(...): want %s, got %s", tc.reason, tc.want, got)
			}
		})
	}
}
