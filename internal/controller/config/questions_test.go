package config

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

var (
	errDown    = outcome.Errorf(outcome.Unavailable, "the connection was refused")
	errRefused = outcome.Errorf(outcome.Unauthorized, "the registry refused the credentials: check them")
	errResting = outcome.Errorf(outcome.Unavailable, "registry.example.com has not answered 5 times in a row").
			Because(&connection.UnavailableError{Host: "registry.example.com"})
)

// ignoreTimes ignores what no test sets.
var ignoreTimes = cmpopts.IgnoreFields(xpv2.Condition{}, "LastTransitionTime")

func TestAnswers(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cases := map[string]struct {
		reason   string
		before   answer
		accepted bool
		err      error
		want     answer
	}{
		"Success": {
			reason:   "A registry that answers should be asked again after the interval",
			before:   answer{err: errDown, failures: 7},
			accepted: true,
			want:     answer{accepted: true, at: now, next: now.Add(interval)},
		},
		"Permanent": {
			reason: "A refused account should not be tried again before the interval is over",
			err:    errRefused,
			want:   answer{err: errRefused, at: now, next: now.Add(interval)},
		},
		"FirstTransient": {
			reason: "The first transient error should be retried soon",
			before: answer{accepted: true},
			err:    errDown,
			want:   answer{err: errDown, failures: 1, at: now, next: now.Add(firstRetry)},
		},
		"ThirdTransient": {
			reason: "The wait should double with each transient error in a row",
			before: answer{err: errDown, failures: 2},
			err:    errDown,
			want:   answer{err: errDown, failures: 3, at: now, next: now.Add(4 * firstRetry)},
		},
		"ManyTransient": {
			reason: "The wait should not exceed the interval",
			before: answer{err: errDown, failures: 99},
			err:    errDown,
			want:   answer{err: errDown, failures: 100, at: now, next: now.Add(interval)},
		},
		"AskedToWait": {
			reason: "A registry that asks to wait should not be asked before",
			err:    errDown.After(20 * time.Minute),
			want:   answer{err: errDown.After(20 * time.Minute), failures: 1, at: now, next: now.Add(20 * time.Minute)},
		},
		"NotAsked": {
			reason: "A host that gets no request for a while has no other error, whose message would change each time",
			before: answer{err: errDown, failures: 1},
			err:    errResting,
			want:   answer{err: errDown, failures: 2, at: now, next: now.Add(2 * firstRetry)},
		},
		"NotAskedYet": {
			reason: "Where nothing is known of a host that gets no request for a while, that should be the error",
			err:    errResting,
			want:   answer{err: errResting, failures: 1, at: now, next: now.Add(firstRetry)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.before.then(tc.accepted, tc.err, now)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(answer{}), cmp.Comparer(func(a, b error) bool {
				return a == nil && b == nil || a != nil && b != nil && a.Error() == b.Error()
			})); diff != "" {
				t.Errorf("\n%s\nthen: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	const generation = 4
	ready := xpv2.Available().WithMessage("as before").WithObservedGeneration(generation)
	cases := map[string]struct {
		reason      string
		answer      answer
		before      xpv2.Condition
		credentials bool
		want        xpv2.Condition
	}{
		"Accepted": {
			reason: "A config whose credentials were accepted should be Ready", answer: answer{accepted: true}, credentials: true,
			want: xpv2.Available(),
		},
		"NotRequested": {
			reason: "That a registry asked for no credentials should be said of a config that has some", credentials: true,
			want: xpv2.Available().WithMessage("The registry answers /v2/ without credentials: whether it accepts the config's account is known once an Artifact uses it"),
		},
		"Anonymous": {
			reason: "A config without credentials should be Ready where none are wanted",
			want:   xpv2.Available(),
		},
		"Permanent": {
			reason: "A permanent error should be reported at once", answer: answer{err: errRefused}, before: ready,
			want: unavailable(errRefused),
		},
		"TransientOnce": {
			reason: "One transient error should leave a config Ready", answer: answer{err: errDown, failures: 1}, before: ready,
			want: ready,
		},
		"TransientTwice": {
			reason: "Two transient errors in a row should leave a config Ready", answer: answer{err: errDown, failures: 2}, before: ready,
			want: ready,
		},
		"TransientOften": {
			reason: "Three transient errors in a row should be reported", answer: answer{err: errDown, failures: 3}, before: ready,
			want: unavailable(errDown),
		},
		"New": {
			reason: "The first transient error of a new config should be reported at once", answer: answer{err: errDown, failures: 1},
			want: unavailable(errDown),
		},
		"Changed": {
			reason: "A config whose spec has changed since it was Ready is as a new one", answer: answer{err: errDown, failures: 1},
			before: ready.WithObservedGeneration(generation - 1),
			want:   unavailable(errDown),
		},
		"StillDown": {
			reason: "A config that is not Ready should not become so by a transient error", answer: answer{err: errDown, failures: 1},
			before: unavailable(errRefused).WithObservedGeneration(generation),
			want:   unavailable(errDown),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.answer.condition(tc.before, generation, tc.credentials)
			if diff := cmp.Diff(tc.want, got, ignoreTimes); diff != "" {
				t.Errorf("\n%s\ncondition: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestAsk checks how often a registry is asked.
func TestAsk(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	asked := 0
	var result error
	q := newQuestions(connection.NewHosts(), func(context.Context, registry.Options) (bool, error) {
		asked++
		return result == nil, result
	})
	q.now = func() time.Time { return now }
	o := registry.Options{Host: "registry.example.com", DockerConfig: []byte("one")}
	other := registry.Options{Host: "registry.example.com", DockerConfig: []byte("two")}
	steps := []struct {
		reason  string
		o       registry.Options
		after   time.Duration
		changed bool
		result  error
		want    int
		wantErr error
	}{
		{reason: "The first question should be asked", o: o, changed: true, want: 1},
		{reason: "The same question should not be asked within the interval, by whoever", o: o, after: interval - time.Second, changed: true, want: 1},
		{reason: "Another account should be asked about", o: other, changed: true, want: 2},
		{reason: "The question should be asked again after the interval", o: o, after: time.Second, result: errRefused, want: 3, wantErr: errRefused},
		{reason: "An error should be remembered for the interval", o: o, after: time.Minute, want: 3, wantErr: errRefused},
		{reason: "A change should have an error looked at again", o: o, changed: true, want: 4},
		{reason: "A transient error should be retried early", o: o, after: interval, result: errDown, want: 5, wantErr: errDown},
		{reason: "Many changes at once should not repeat a question", o: o, after: time.Second, changed: true, want: 5, wantErr: errDown},
		{reason: "A transient error should be retried when its wait is over", o: o, after: firstRetry, want: 6},
	}
	for _, s := range steps {
		now, result = now.Add(s.after), s.result
		a, ok := q.ask(t.Context(), s.o, "tenant", s.changed)
		if !ok || a.err != s.wantErr || asked != s.want { //nolint:errorlint // The very error.
			t.Errorf("%s: got answer %v with error %v after %d questions, want error %v after %d", s.reason, ok, a.err, asked, s.wantErr, s.want)
		}
	}
}

// TestSlowRegistries checks that registries that do not answer leave workers for
// another one.
func TestSlowRegistries(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int64
	q := newQuestions(connection.NewHosts(), func(ctx context.Context, o registry.Options) (bool, error) {
		if o.Host == "good.example.com" {
			return true, nil
		}
		asked.Add(1)
		select {
		case <-release:
		case <-ctx.Done():
		}
		return false, errDown
	})
	done := make(chan struct{})
	const silent = 30
	for i := range silent {
		host := "silent-" + strconv.Itoa(i%10) + ".example.com"
		go func() {
			defer func() { done <- struct{}{} }()
			q.ask(t.Context(), registry.Options{Host: host, DockerConfig: []byte(strconv.Itoa(i))}, "tenant", true)
		}()
	}
	for range silent - workers/2 {
		select {
		case <-done:
		case <-time.After(atOnce):
			t.Fatal("a question that finds its registry or all of its namespace's workers busy should not wait")
		}
	}
	if a, ok := q.ask(t.Context(), registry.Options{Host: "good.example.com"}, "other", true); !ok || a.err != nil {
		t.Errorf("another namespace's registry: got answer %v, %v, want one", ok, a.err)
	}
	close(release)
	for range workers / 2 {
		<-done
	}
	if got := asked.Load(); got > workers/2 {
		t.Errorf("silent registries: %d took a worker, want at most %d of one namespace", got, workers/2)
	}
}

// TestPingIsBounded checks that Artifacts and configs share what is known of a host.
func TestPingIsBounded(t *testing.T) {
	hosts := connection.NewHosts()
	o := Options{Hosts: hosts}
	limited := serveRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.WriteHeader(http.StatusTooManyRequests)
		})
	})
	options := registry.Options{Host: limited.host, PlainHTTP: true}
	for _, reason := range []string{"a registry's wish to wait should be reported", "it should be kept"} {
		if _, err := o.ping(t.Context(), options); outcome.ReasonOf(err) != outcome.RateLimited {
			t.Errorf("%s: got %v, want %s", reason, err, outcome.RateLimited)
		}
	}
	if got := limited.requests.Load(); got != 1 {
		t.Errorf("a registry that asked to wait: got %d requests, want 1", got)
	}
}
