package stream

import (
	"context"
	"io"
	"log"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	fakeidentity "github.com/crossplane-contrib/provider-kitops/test/fakes/identity"
)

// A countingClock passes some time with each request to a registry.
type countingClock struct {
	mu   sync.Mutex
	now  time.Time
	step time.Duration
}

func (c *countingClock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *countingClock) tick() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(c.step)
}

// TestStreamOutlivesPasswords has the password of each identity end after some requests of
// a push, which goes on.
func TestStreamOutlivesPasswords(t *testing.T) {
	t.Parallel()
	for name, workload := range fakeidentity.Workloads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// Passwords are renewed after four of their eight minutes, which is more than all
			// requests take that are made side by side.
			start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
			clock := &countingClock{now: start, step: 12 * time.Second}
			clouds := fakeidentity.New(fakeidentity.NewIssuer("https://oidc.example.com"), "system:serviceaccount:kitops-runs:models", clock.time)
			clouds.Life = 8 * time.Minute
			host, environment := workload(t, clouds)
			source, err := identity.New(host, identity.ReadEnvironment(func(n string) string { return environment[n] }),
				identity.Options{Now: clock.time, Transport: clouds})
			if err != nil {
				t.Fatal(err)
			}
			// The host of the registry is the test's; the identity is for one of the cloud's.
			inner := whole(gcr.New(gcr.Logger(log.New(io.Discard, "", 0))))
			var mu sync.Mutex
			users, refused := map[string]bool{}, 0
			w := newStreamWorld(t, streamFiles(), http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				_, password, _ := r.BasicAuth()
				accepted := clouds.Accepts(password)
				mu.Lock()
				users[password] = true
				if password != "" && !accepted {
					refused++
				}
				mu.Unlock()
				clock.tick()
				if !accepted {
					rw.Header().Set("WWW-Authenticate", `Basic realm="cloud"`)
					rw.WriteHeader(http.StatusUnauthorized)
					return
				}
				inner.ServeHTTP(rw, r)
			}))
			w.run.Target.Identity = source
			if w.registry, err = registry.New(registry.Options{Host: w.run.Target.Registry, PlainHTTP: true, Credential: func(ctx context.Context) (registry.Credential, error) {
				user, password, _, err := source.Token(ctx)
				return registry.Credential{Username: user, Password: password}, err
			}}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(w.registry.Close)

			result, err := w.stream.Run(t.Context(), w.run)
			if err != nil {
				t.Fatalf("Run(...): %v\n%s", err, w.log)
			}
			if diff := cmp.Diff(streamFiles(), w.pulled(t, result.Digest)); diff != "" {
				t.Errorf("Run(...): -want, +got files:\n%s", diff)
			}
			if took := clock.time().Sub(start); took < clouds.Life || len(users) < 3 || refused > 0 {
				t.Errorf("want the push to outlive several passwords and none to be refused, got %d passwords and %d refusals in %s", len(users), refused, took)
			}
		})
	}
}

// TestStreamWithoutIdentity has the cloud refuse the identity of a run.
func TestStreamWithoutIdentity(t *testing.T) {
	t.Parallel()
	clock := &countingClock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	clouds := fakeidentity.New(fakeidentity.NewIssuer("https://oidc.example.com"), "system:serviceaccount:kitops-runs:models", clock.time)
	host, environment := fakeidentity.Workloads["IRSA"](t, clouds)
	environment["AWS_ROLE_ARN"] = "arn:aws:iam::123456789012:role/other"
	source, err := identity.New(host, identity.ReadEnvironment(func(n string) string { return environment[n] }), identity.Options{Now: clock.time, Transport: clouds})
	if err != nil {
		t.Fatal(err)
	}
	w := newStreamWorld(t, streamFiles(), http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("WWW-Authenticate", `Basic realm="cloud"`)
		rw.WriteHeader(http.StatusUnauthorized)
	}))
	w.run.Target.Identity = source
	if _, err := w.stream.Run(t.Context(), w.run); outcome.ReasonOf(err) != outcome.Unauthorized {
		t.Errorf("Run(...): want an error with reason %s that says what the cloud refuses, got %v", outcome.Unauthorized, err)
	}
}
