package stream

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestOCIMountFrom has a run from the Hub mount what another Artifact of the same
// model has pushed to another repository.
func TestOCIMountFrom(t *testing.T) {
	cases := map[string]struct {
		reason string
		names  func(digest string) []string
		want   bool
		says   string
	}{
		"Named":   {reason: "What another repository of the registry has should be mounted.", names: func(d string) []string { return []string{"models/origin@" + d} }, want: true, says: "mounted from models/origin"},
		"Gone":    {reason: "An artifact that is not there should fail no run.", names: func(string) []string { return []string{"models/gone@" + digest.FromString("x").String(), "a b"} }, says: "nothing is mounted from"},
		"TooMany": {reason: "Only the first few artifacts should be read.", names: func(d string) []string { return []string{"a", "b", "c", "d", "models/origin@" + d} }, says: "nothing is mounted from d"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := testregistry.Start(t, ociTokens)
			w := newStreamWorld(t, streamFiles(), nil)
			w.into(t, r)
			first := w.run
			first.Target.Repository = "models/origin"
			made, err := w.stream.Run(t.Context(), first)
			if err != nil {
				t.Fatal(err)
			}
			all := r.Count(http.MethodPut, "/blobs/uploads/")
			r.ResetRequests()
			w.log.Reset()
			w.run.MountFrom = tc.names(made.Digest)
			got, err := w.stream.Run(t.Context(), w.run)
			if err != nil || got.Digest != made.Digest {
				t.Fatalf("\n%s\nRun(...): want %s, got %+v, %v\n%s", tc.reason, made.Digest, got, err, w.log)
			}
			if !strings.Contains(w.log.String(), tc.says) {
				t.Errorf("\n%s\nRun(...): want %q in the log, got\n%s", tc.reason, tc.says, w.log)
			}
			// Of small files nobody knows beforehand which blobs they are.
			sent := r.Count(http.MethodPut, "/blobs/uploads/")
			if (sent < all) != tc.want {
				t.Errorf("\n%s\nRun(...): want blobs to be mounted: %t, got %d of %d that were sent", tc.reason, tc.want, sent, all)
			}
		})
	}
}
