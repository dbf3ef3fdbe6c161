package provenance

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

func TestMain(m *testing.M) {
	again.Sleep = func(context.Context, time.Duration) error { return nil }
	m.Run()
}

// A fault answers a request, or leaves it to the registry.
type fault func(w http.ResponseWriter, r *http.Request) bool

// newRegistry returns a client of a registry in memory, with a referrers API or
// without.
func newRegistry(t *testing.T, api bool, f fault) *registry.Client {
	t.Helper()
	memory := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)), gcr.WithReferrersSupport(api))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f == nil || !f(w, r) {
			memory.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	c, err := registry.New(registry.Options{Host: strings.TrimPrefix(server.URL, "http://"), PlainHTTP: true, SingleTry: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// status answers all requests by this method with part in their path.
func status(code int, method, part string) fault {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.Contains(r.URL.Path, part) {
			return false
		}
		w.WriteHeader(code)
		return true
	}
}

// listTag is part of the path of the list that clients keep where a registry
// has no referrers API.
const listTag = "/manifests/sha256-"

// losing takes the first n updates of the list, and forgets them, as if another
// client had written a list of its own right after.
func losing(n int) fault {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if n == 0 || r.Method != http.MethodPut || !strings.Contains(r.URL.Path, listTag) {
			return false
		}
		n--
		w.WriteHeader(http.StatusCreated)
		return true
	}
}

func TestPush(t *testing.T) {
	type want struct {
		reason outcome.Reason
		runs   []int64
	}
	cases := map[string]struct {
		reason string
		api    bool
		fault  fault
		want   want
	}{
		"API":        {reason: "A registry with a referrers API lists by itself.", api: true, want: want{runs: []int64{2, 1}}},
		"Fallback":   {reason: "Without one, the list is a manifest.", want: want{runs: []int64{2, 1}}},
		"LostUpdate": {reason: "Two may write the list at once, and one of them loses.", fault: losing(2), want: want{runs: []int64{2, 1}}},
		"NotListed":  {reason: "A registry may never list what it takes.", fault: losing(1000), want: want{reason: outcome.Unsupported}},
		"Unlisted":   {reason: "So may one with the API.", api: true, fault: listsNothing, want: want{reason: outcome.Unsupported}},
		"BadRequest": {reason: "A registry may refuse such manifests.", api: true, fault: status(400, http.MethodPut, "/manifests/"), want: want{reason: outcome.Unsupported}},
		"NotAllowed": {reason: "It may say so in another way.", api: true, fault: status(405, http.MethodPut, "/manifests/"), want: want{reason: outcome.Unsupported}},
		"MediaType":  {reason: "And in another.", api: true, fault: status(415, http.MethodPut, "/manifests/"), want: want{reason: outcome.Unsupported}},
		"ListTag":    {reason: "It may refuse the list's tag alone.", fault: status(400, http.MethodPut, listTag), want: want{reason: outcome.Unsupported}},
		"Forbidden":  {reason: "An account may not push.", api: true, fault: status(403, http.MethodPut, "/manifests/"), want: want{reason: outcome.Unauthorized}},
		"Down":       {reason: "A registry may be down.", api: true, fault: status(503, http.MethodPut, "/manifests/"), want: want{reason: outcome.Unavailable}},
		"NoHead":     {reason: "Whether a blob is there need not be told.", api: true, fault: status(403, http.MethodHead, "/blobs/"), want: want{runs: []int64{2, 1}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, place := newRegistry(t, tc.api, tc.fault), placeOf(t, newKey(t))
			subject := subjectOf("artifact")
			var err error
			for _, run := range []int64{1, 2, 1} {
				if _, err = place.Push(t.Context(), c, subject, testRecord(run)); err != nil {
					break
				}
			}
			got := want{}
			if err != nil {
				got.reason = outcome.ReasonOf(err)
			} else {
				got.runs = runsOf(t, place, c, "artifact")
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nPush(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if others := runsOf(t, place, c, "another"); len(others) > 0 {
				t.Errorf("\n%s\nOf(...): another artifact has records of %v", tc.reason, others)
			}
		})
	}
}

// listsNothing is a referrers API that is empty.
func listsNothing(w http.ResponseWriter, r *http.Request) bool {
	if !strings.Contains(r.URL.Path, "/referrers/") {
		return false
	}
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	_, _ = io.WriteString(w, `{"schemaVersion":2,"manifests":[]}`)
	return true
}

// runsOf returns the runs whose records of an artifact the tests' owner has.
func runsOf(t *testing.T, p Place, r Reader, content string) []int64 {
	t.Helper()
	found, _, err := p.Of(t.Context(), r, subjectOf(content).Digest, testOwner)
	if err != nil {
		t.Fatal(err)
	}
	var runs []int64
	for _, f := range found {
		runs = append(runs, f.Run)
	}
	return runs
}

func TestPushHonoursContext(t *testing.T) {
	again.Sleep = nil
	t.Cleanup(func() { again.Sleep = func(context.Context, time.Duration) error { return nil } })
	c := newRegistry(t, false, losing(1000))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := placeOf(t, newKey(t)).Push(ctx, c, subjectOf("artifact"), testRecord(1)); err == nil {
		t.Error("want an error")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("want the context to end it, took %s", took)
	}
}

// Several Artifacts with the same content push their records at once, to a
// registry where they all write one list.
func TestPushTogether(t *testing.T) {
	again.Sleep, again.Tries = nil, 20
	first, longest := again.FirstWait, again.MaxWait
	again.FirstWait, again.MaxWait = 20*time.Millisecond, 200*time.Millisecond
	t.Cleanup(func() {
		again.Sleep = func(context.Context, time.Duration) error { return nil }
		again.Tries, again.FirstWait, again.MaxWait = 4, first, longest
	})
	c, place := newRegistry(t, false, nil), placeOf(t, newKey(t))
	subject := subjectOf("artifact")
	var wg sync.WaitGroup
	for run := range int64(4) {
		wg.Go(func() {
			if _, err := place.Push(t.Context(), c, subject, testRecord(run)); err != nil {
				t.Errorf("Push(...): %v", err)
			}
		})
	}
	wg.Wait()
	if runs := runsOf(t, place, c, "artifact"); len(runs) != 4 {
		t.Errorf("want the records of 4 runs to be listed, got those of %v", runs)
	}
}
