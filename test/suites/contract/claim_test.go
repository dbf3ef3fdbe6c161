package contract

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// TestClaims runs the pipeline against what others have pushed.
func TestClaims(t *testing.T) {
	type want struct {
		Reason outcome.Reason
		Pushed []string
		Kit    bool // Whether kit imported.
		Own    bool // Whether the tag is on what the run pushed.
		Log    string
	}
	whole := want{Pushed: []string{aRecord, aBlob, aTag}, Kit: true, Own: true}
	cases := map[string]struct {
		reason string
		setup  func(t *testing.T, c *registry.Client, run *pipeline.Run, p *pushes)
		want   want
	}{
		"Free": {
			reason: "The registry should know whose an artifact is before kit sets its tag.",
			want:   whole,
		},
		"Nobody": {
			reason: "A run by hand should overwrite what it is told to.",
			setup: func(t *testing.T, c *registry.Client, run *pipeline.Run, _ *pushes) {
				pushForeign(t, c, *run)
				run.Owner = provenance.Owner{}
			},
			want: want{Pushed: []string{aBlob, aTag}, Kit: true, Own: true},
		},
		"Foreign": {
			reason: "Nothing foreign should be overwritten, and kit not even be started.",
			setup: func(t *testing.T, c *registry.Client, run *pipeline.Run, _ *pushes) {
				pushForeign(t, c, *run)
			},
			want: want{Reason: outcome.TagConflict},
		},
		"OtherOwner": {
			reason: "What another Artifact pushed is foreign.",
			setup: func(t *testing.T, c *registry.Client, run *pipeline.Run, _ *pushes) {
				pushRecord(t, c, *run, pushForeign(t, c, *run), otherOwner)
			},
			want: want{Reason: outcome.TagConflict},
		},
		"Overwrite": {
			reason: "Unless the spec says so.",
			setup: func(t *testing.T, c *registry.Client, run *pipeline.Run, _ *pushes) {
				pushForeign(t, c, *run)
				run.Overwrite = true
			},
			want: whole,
		},
		"Replaces": {
			reason: "What the Artifact knows to have pushed it may replace.",
			setup: func(t *testing.T, c *registry.Client, run *pipeline.Run, _ *pushes) {
				run.Replaces = pushForeign(t, c, *run).Digest.String()
			},
			want: whole,
		},
		"OwnRecord": {
			reason: "What it pushed it may replace, also if it does not know.",
			setup: func(t *testing.T, c *registry.Client, run *pipeline.Run, _ *pushes) {
				pushRecord(t, c, *run, pushForeign(t, c, *run), claimOwner)
			},
			want: whole,
		},
		"Race": {
			reason: "A tag that comes during the import should not be overwritten.",
			setup: func(t *testing.T, c *registry.Client, run *pipeline.Run, _ *pushes) {
				harm(t, hub.Times(1, hub.On("/resolve/"), func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						pushForeign(t, c, *run)
						next.ServeHTTP(w, r)
					})
				}))
			},
			want: want{Reason: outcome.TagConflict, Pushed: []string{aTag}, Kit: true},
		},
		"NotShown": {
			reason: "A registry may not show what does not exist yet.",
			setup: func(_ *testing.T, _ *registry.Client, _ *pipeline.Run, p *pushes) {
				shown := false
				p.answer = func(r *http.Request, _ string) int {
					if shown || r.Method != http.MethodHead || !strings.HasSuffix(r.URL.Path, "/manifests/v1") {
						return 0
					}
					shown = true
					return http.StatusForbidden
				}
			},
			want: want{Pushed: whole.Pushed, Kit: true, Own: true, Log: "cannot see whether tag v1 is free"},
		},
		"RecordRefused": {
			reason: "A registry that takes no such manifests should fail no run; it is asked again when the artifact is there.",
			setup: func(_ *testing.T, _ *registry.Client, _ *pipeline.Run, p *pushes) {
				p.answer = func(_ *http.Request, what string) int {
					if what == aRecord {
						return http.StatusBadRequest
					}
					return 0
				}
			},
			want: want{Pushed: []string{aRecord, aBlob, aTag, aRecord}, Kit: true, Own: true, Log: "does not adopt it"},
		},
		"RecordLate": {
			reason: "A registry may want the artifact before what refers to it.",
			setup: func(_ *testing.T, _ *registry.Client, _ *pipeline.Run, p *pushes) {
				p.answer = func(_ *http.Request, what string) int {
					if what == aRecord && !slices.Contains(p.noted, aTag) {
						return http.StatusNotFound
					}
					return 0
				}
			},
			want: want{Pushed: []string{aRecord, aBlob, aTag, aRecord}, Kit: true, Own: true, Log: "takes no record of who pushed this"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := claimRun(t)
			c, p := claimClient(t, run), &pushes{}
			if tc.setup != nil {
				tc.setup(t, c, &run, p)
			}
			refuse(t, suite.world.plain, p.see)
			result, log, err := runKit(t.Context(), t, run)
			got := want{Pushed: p.take(), Kit: strings.Contains(log, "$ kit import")}
			suite.world.plain.refuseBy(nil)
			if err != nil {
				got.Reason = outcome.ReasonOf(err)
			} else {
				d, rerr := c.Resolve(t.Context(), run.Target.Repository, run.Target.Tag)
				got.Own = rerr == nil && d.Digest.String() == result.Digest
			}
			if strings.Contains(log, tc.want.Log) {
				got.Log = tc.want.Log
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRun(...): -want, +got:\n%s", tc.reason, diff)
			}
			if tc.want.Reason == "" && tc.want.Log != "does not adopt it" {
				checkRecord(t, c, run, result)
			}
		})
	}
}

// checkRecord checks that the registry knows whose an artifact is, if it is
// anybody's.
func checkRecord(t *testing.T, c *registry.Client, run pipeline.Run, result outcome.Result) {
	t.Helper()
	found, err := provenance.Of(t.Context(), c, run.Target.Repository, digest.Digest(result.Digest), run.Owner)
	if err != nil {
		t.Fatal(err)
	}
	var want []provenance.Record
	if run.Owner != (provenance.Owner{}) {
		want = []provenance.Record{{
			Owner: run.Owner, RunHash: run.RunHash, Run: run.Number, Files: int64(result.Files),
			Source: "https://huggingface.co/" + run.Source.Model, Revision: result.Revision, License: result.License,
		}}
	}
	var got []provenance.Record
	for _, f := range found {
		got = append(got, f.Record)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records: -want, +got:\n%s", diff)
	}
}

// TestNothingToDo runs twice, and has something happen in between.
func TestNothingToDo(t *testing.T) {
	type want struct {
		Pushed []string
		Kit    bool
		Log    string
	}
	already := "there is nothing to do"
	cases := map[string]struct {
		reason  string
		between func(t *testing.T, run *pipeline.Run, layer string)
		want    want
	}{
		"Nothing": {
			reason: "What is there should not be made again, and kit not even be started.",
			want:   want{Log: already},
		},
		"LostStatus": {
			reason:  "Also if the Artifact does not know.",
			between: func(_ *testing.T, run *pipeline.Run, _ string) { run.Replaces = "" },
			want:    want{Log: already},
		},
		"OtherTag": {
			reason:  "A tag that the spec has changed should be set.",
			between: func(_ *testing.T, run *pipeline.Run, _ string) { run.Target.Tag = "v2" },
			want:    want{Pushed: []string{aTag}, Log: already},
		},
		"BlobLost": {
			reason:  "A blob that is gone should be there again, though kit pushes nothing where the manifest is.",
			between: func(t *testing.T, run *pipeline.Run, layer string) { deleteBlob(t, *run, layer) },
			want:    want{Pushed: []string{aBlob, aRecord, aTag}, Kit: true, Log: "the registry has the manifest without blob sha256:"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if name == "BlobLost" && !kitHas("v1.16.0") {
				t.Skip("each run of this kit makes another manifest")
			}
			run := claimRun(t)
			// Of a ModelKit, whose layers are archives, nothing proves what is in them:
			// it is made again.
			run.Format = pipeline.FormatModelPack
			first, _, err := runKit(t.Context(), t, run)
			if err != nil {
				t.Fatal(err)
			}
			layer := fetch(t, suite.world.plain, run.Target.Repository, "v1").Manifest.Layers[0].Digest.String()
			run.Number, run.Replaces, run.Workspace = 2, first.Digest, t.TempDir()
			if tc.between != nil {
				tc.between(t, &run, layer)
			}
			p := &pushes{}
			refuse(t, suite.world.plain, p.see)
			second, log, err := runKit(t.Context(), t, run)
			suite.world.plain.refuseBy(nil)
			if diff := cmp.Diff(first, second); diff != "" || err != nil {
				t.Errorf("\n%s\nRun(...): -first, +second:\n%s\n%v", tc.reason, diff, err)
			}
			got := want{Pushed: p.take(), Kit: strings.Contains(log, "$ kit")}
			if strings.Contains(log, tc.want.Log) {
				got.Log = tc.want.Log
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nRun(...): -want, +got:\n%s", tc.reason, diff)
			}
			fetch(t, suite.world.plain, run.Target.Repository, run.Target.Tag)
		})
	}
}
