package contract

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestStaging has kit push to the run's staging tag, and leave others alone.
func TestStaging(t *testing.T) {
	type want struct {
		Reason outcome.Reason
		Pushed []string
		Own    bool // Whether the staging tag points to what the run pushed.
	}
	// The list of the files follows, and refers to what was pushed.
	whole := want{Pushed: []string{aBlob, aTag, aBlob, aList}, Own: true}
	cases := map[string]struct {
		reason string
		setup  func(t *testing.T, c *registry.Client, run pipeline.Run, p *pushes)
		want   want
	}{
		"New": {
			reason: "The artifact should be pushed to the staging tag.",
			want:   whole,
		},
		"Foreign": {
			reason: "What the staging tag points to at first should be replaced.",
			setup: func(t *testing.T, c *registry.Client, run pipeline.Run, _ *pushes) {
				t.Helper()
				testregistry.PushForeign(t, c, run.Target.Repository, stagingTag)
			},
			want: whole,
		},
		"Race": {
			reason: "What another pushes to the staging tag during the import should be replaced.",
			setup: func(t *testing.T, c *registry.Client, run pipeline.Run, _ *pushes) {
				t.Helper()
				harm(t, hub.Times(1, hub.On("/resolve/"), func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						testregistry.PushForeign(t, c, run.Target.Repository, stagingTag)
						next.ServeHTTP(w, r)
					})
				}))
			},
			want: want{Pushed: []string{aTag, aBlob, aTag, aBlob, aList}, Own: true},
		},
		"TagForbidden": {
			reason: "A registry that lets nobody set the tag should fail the run.",
			setup: func(_ *testing.T, _ *registry.Client, _ pipeline.Run, p *pushes) {
				p.answer = func(_ *http.Request, what string) int {
					if what == aTag {
						return http.StatusForbidden
					}
					return 0
				}
			},
			want: want{Reason: outcome.Unauthorized, Pushed: []string{aBlob, aTag}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := stagingRun(t)
			c, p := stagingClient(t, run), &pushes{}
			other := testregistry.PushForeign(t, c, run.Target.Repository, "v1")
			if tc.setup != nil {
				tc.setup(t, c, run, p)
			}
			refuse(t, suite.world.plain, p.see)
			result, _, err := runKit(t.Context(), t, run)
			got := want{Pushed: p.take()}
			suite.world.plain.refuseBy(nil)
			if err != nil {
				got.Reason = outcome.ReasonOf(err)
			}
			d, rerr := c.Resolve(t.Context(), run.Target.Repository, stagingTag)
			got.Own = err == nil && rerr == nil && d.Digest.String() == result.Digest
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRun(...): -want, +got:\n%s", tc.reason, diff)
			}
			if left, err := c.Resolve(t.Context(), run.Target.Repository, "v1"); err != nil || left.Digest != other.Digest {
				t.Errorf("\n%s\nRun(...): want another tag to be left alone, got %s, %v", tc.reason, left.Digest, err)
			}
			if p.deleted > 0 {
				t.Errorf("\n%s\nRun(...): want nothing to be deleted, got %d requests", tc.reason, p.deleted)
			}
		})
	}
}

// TestStagedAgain runs twice, the second time with an empty workspace, and has
// something happen in between.
func TestStagedAgain(t *testing.T) {
	if !kitHas("v1.16.0") {
		t.Skip("each run of this kit makes another manifest")
	}
	cases := map[string]struct {
		reason  string
		between func(t *testing.T, c *registry.Client, run pipeline.Run, layer string)
		pushed  bool // Whether a blob is pushed.
		log     string
	}{
		"Nothing": {
			reason: "No blob that is in the registry should be pushed again.",
			log:    "$ kit push",
		},
		"BlobLost": {
			reason: "A blob that is gone should be pushed again, though kit pushes nothing where the manifest is.",
			between: func(t *testing.T, _ *registry.Client, run pipeline.Run, layer string) {
				t.Helper()
				deleteBlob(t, run, layer)
			},
			pushed: true,
			log:    "the registry has the manifest without blob sha256:",
		},
		"Forged": {
			reason: "What another has staged under the tag should not be published.",
			between: func(t *testing.T, c *registry.Client, run pipeline.Run, _ string) {
				t.Helper()
				testregistry.PushForeign(t, c, run.Target.Repository, stagingTag)
			},
			log: "$ kit push",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := stagingRun(t)
			run.Format = pipeline.FormatModelPack
			first, _, err := runKit(t.Context(), t, run)
			if err != nil {
				t.Fatal(err)
			}
			c := stagingClient(t, run)
			layer := fetch(t, suite.world.plain, run.Target.Repository, stagingTag).Manifest.Layers[0].Digest.String()
			if tc.between != nil {
				tc.between(t, c, run, layer)
			}
			run.Workspace = t.TempDir()
			p := &pushes{}
			refuse(t, suite.world.plain, p.see)
			second, log, err := runKit(t.Context(), t, run)
			pushed := strings.Contains(strings.Join(p.take(), " "), aBlob)
			suite.world.plain.refuseBy(nil)
			if diff := cmp.Diff(first, second); diff != "" || err != nil {
				t.Errorf("\n%s\nRun(...): -first, +second:\n%s\n%v", tc.reason, diff, err)
			}
			if pushed != tc.pushed || !strings.Contains(log, tc.log) {
				t.Errorf("\n%s\nRun(...): want a blob to be pushed: %t, got %t, and %q in the log", tc.reason, tc.pushed, pushed, tc.log)
			}
			if d, err := c.Resolve(t.Context(), run.Target.Repository, stagingTag); err != nil || d.Digest.String() != second.Digest {
				t.Errorf("\n%s\nRun(...): want the staging tag to point to %s, got %s, %v", tc.reason, second.Digest, d.Digest, err)
			}
			fetch(t, suite.world.plain, run.Target.Repository, stagingTag)
		})
	}
}
