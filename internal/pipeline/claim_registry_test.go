package pipeline

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// newDistributionWorld returns a world with CNCF Distribution, which has no
// referrers API.
func newDistributionWorld(t *testing.T, o testregistry.Options) (*claimWorld, *testregistry.Registry) {
	t.Helper()
	reg := testregistry.Start(t, o)
	w := &claimWorld{streamWorld: newStreamWorld(t, streamFiles(), nil)}
	w.run.Owner, w.run.RunHash, w.run.Number = claimOwner, claimHash, 1
	w.run.Target.Registry = reg.Host()
	options := registry.Options{Host: reg.Host(), PlainHTTP: true}
	if len(o.Users) > 0 {
		pair := base64.StdEncoding.EncodeToString([]byte(o.Users[0].Name + ":" + o.Users[0].Password))
		options.DockerConfig = fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, reg.Host(), pair)
		w.run.Target.DockerConfig = t.TempDir()
		if err := os.WriteFile(filepath.Join(w.run.Target.DockerConfig, "config.json"), options.DockerConfig, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.registry, err = registry.New(options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.registry.Close)
	return w, reg
}

// TestStreamClaimsAtDistribution goes through an Artifact's life at a real
// registry.
func TestStreamClaimsAtDistribution(t *testing.T) {
	cases := map[string]struct {
		reason  string
		options testregistry.Options
	}{
		"Open":     {reason: "Anybody may do anything."},
		"NoDelete": {reason: "It deletes nothing, as by default.", options: testregistry.Options{NoDelete: true}},
		"Password": {reason: "It wants a password.", options: testregistry.Options{Users: []testregistry.User{{Name: "ada", Password: "secret"}}}},
		"Tokens": {
			reason: "Its tokens are short, and let nobody delete.",
			options: testregistry.Options{TokenLife: time.Second, Users: []testregistry.User{
				{Name: "ada", Password: "secret", Actions: []string{"pull", "push"}},
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w, reg := newDistributionWorld(t, tc.options)
			first, err := w.stream.Run(t.Context(), w.run)
			if err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
			}
			if n := len(w.records(t, first.Digest, claimOwner)); n != 1 || w.tagged(t) != first.Digest {
				t.Errorf("\n%s\nRun(...): want the tag and a record, got %d records\n%s", tc.reason, n, w.log)
			}

			reg.ResetRequests()
			w.run.Number = 2
			second, err := w.stream.Run(t.Context(), w.run)
			if diff := cmp.Diff(first, second); diff != "" || err != nil {
				t.Errorf("\n%s\nRun(...): -first, +second:\n%s\n%v", tc.reason, diff, err)
			}
			if n := reg.Count(http.MethodPut, ""); n != 0 {
				t.Errorf("\n%s\nRun(...): want nothing to be pushed again, got %d times\n%s", tc.reason, n, w.log)
			}

			other := w.run
			other.Owner = otherOwner
			if _, err := w.stream.Run(t.Context(), other); err == nil || outcome.ReasonOf(err) != outcome.TagConflict {
				t.Errorf("\n%s\nRun(...): want what is another's to stay, got %v", tc.reason, err)
			}
		})
	}
}

// Where nobody may delete, the record of a run that lost its tag stays. The log
// says so.
func TestStreamRaceAlikeAtDistribution(t *testing.T) {
	w, reg := newDistributionWorld(t, testregistry.Options{NoDelete: true})
	first := w.run
	first.Owner, first.Log = otherOwner, nil
	var once atomic.Bool
	reg.SetFault(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			what := pushedBy(r)
			next.ServeHTTP(rw, r)
			if what == aList && !once.Swap(true) {
				if _, err := w.stream.Run(t.Context(), first); err != nil {
					t.Error(err)
				}
			}
		})
	})
	_, err := w.stream.Run(t.Context(), w.run)
	if err == nil || outcome.ReasonOf(err) != outcome.TagConflict || !strings.Contains(w.log.String(), "stays in the registry") {
		t.Errorf("want a conflict, and the record to stay, got %v\n%s", err, w.log)
	}
	if n := len(w.records(t, w.tagged(t), otherOwner)); n != 1 {
		t.Errorf("want the first one to own the tag, got %d records", n)
	}
}
