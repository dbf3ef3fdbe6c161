package retry

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestDo(t *testing.T) {
	passing := outcome.Errorf(outcome.Unavailable, "down")
	lasting := outcome.Errorf(outcome.Untrusted, "not trusted")
	policy := Policy{Tries: 4, FirstWait: 2 * time.Second, MaxWait: 3 * time.Second, MaxRetryAfter: time.Minute}

	type want struct {
		Err   string
		Calls int
		// Spans that the waits are between the half and the whole of, beside
		// what was asked for.
		Spans []time.Duration
		Asked time.Duration
	}
	cases := map[string]struct {
		reason string
		args   []error // Of one try after the other; the last one repeats.
		want   want
	}{
		"Success":   {reason: "Success is not tried again.", args: []error{nil}, want: want{Calls: 1}},
		"Passes":    {reason: "What fails and then does not is no failure.", args: []error{passing, passing, nil}, want: want{Calls: 3, Spans: []time.Duration{2 * time.Second, 3 * time.Second}}},
		"Limit":     {reason: "Tries have a limit, and waits a longest.", args: []error{passing}, want: want{Err: "down", Calls: 4, Spans: []time.Duration{2 * time.Second, 3 * time.Second, 3 * time.Second}}},
		"Lasting":   {reason: "What does not pass is not tried again.", args: []error{lasting}, want: want{Err: "not trusted", Calls: 1}},
		"Turns":     {reason: "What turns out not to pass neither.", args: []error{passing, lasting}, want: want{Err: "not trusted", Calls: 2, Spans: []time.Duration{2 * time.Second}}},
		"Network":   {reason: "The network's own errors pass.", args: []error{io.ErrUnexpectedEOF, nil}, want: want{Calls: 2, Spans: []time.Duration{2 * time.Second}}},
		"Wrapped":   {reason: "What others add changes nothing.", args: []error{errors.Wrap(passing, "cannot push"), nil}, want: want{Calls: 2, Spans: []time.Duration{2 * time.Second}}},
		"Permanent": {reason: "What is permanentError is not tried again.", args: []error{passing, Permanent(passing)}, want: want{Err: "down", Calls: 2, Spans: []time.Duration{2 * time.Second}}},
		"Asked":     {reason: "A server says how long to wait.", args: []error{passing.After(40 * time.Second), nil}, want: want{Calls: 2, Spans: []time.Duration{2 * time.Second}, Asked: 40 * time.Second}},
		"AskedLong": {reason: "A wait past patience is the caller's.", args: []error{passing.After(2 * time.Minute)}, want: want{Err: "down", Calls: 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want
			var lines int
			p := policy
			p.Logf = func(string, ...any) { lines++ }
			p.Sleep = func(_ context.Context, d time.Duration) error {
				span := tc.want.Spans[min(len(got.Spans), len(tc.want.Spans)-1)]
				if least := tc.want.Asked + span/2; d < least || d > tc.want.Asked+span {
					t.Errorf("\n%s\nDo(...): want a wait of %s to %s, got %s", tc.reason, least, tc.want.Asked+span, d)
				}
				got.Spans, got.Asked = append(got.Spans, span), tc.want.Asked
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
			if lines != len(tc.want.Spans) {
				t.Errorf("\n%s\nDo(...): want a line for each of %d waits, got %d", tc.reason, len(tc.want.Spans), lines)
			}
			if errors.As(err, new(permanentError)) {
				t.Errorf("\n%s\nDo(...): the mark of what is permanentError is left on %v", tc.reason, err)
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
		"Ended": {reason: "Nobody waits for a further try.", want: "down"},
		"Ends":  {reason: "A wait ends with the context.", limit: time.Minute, want: "cannot wait to try it again: context deadline exceeded"},
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

func TestSettledNothing(t *testing.T) {
	if err := Permanent(nil); err != nil {
		t.Errorf("Permanent(nil): want no error, got %v", err)
	}
}
