package pipeline

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

// layers returns what the tests' artifact is made of.
func (w *claimWorld) layers(t *testing.T, d string) []ocispec.Descriptor {
	t.Helper()
	_, b, err := w.registry.Manifest(t.Context(), w.run.Target.Repository, d)
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m.Layers
}

// forge pushes what the first run pushed with one layer's content replaced, with a
// copy of the first run's record, and puts the run's tag on it.
func (w *claimWorld) forge(t *testing.T, first, file string) {
	t.Helper()
	repository := w.run.Target.Repository
	subject, b, err := w.registry.Manifest(t.Context(), repository, first)
	if err != nil {
		t.Fatal(err)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	for i, l := range m.Layers {
		if l.Annotations[ocispec.AnnotationTitle] != file {
			continue
		}
		content := []byte(strings.Repeat("!", int(l.Size)))
		m.Layers[i].Digest = digest.FromBytes(content)
		if err := w.registry.PushBlob(t.Context(), repository, m.Layers[i], bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if b, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	forged := ocispec.Descriptor{MediaType: subject.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := w.registry.PushManifest(t.Context(), repository, forged, b, w.run.Target.Tag); err != nil {
		t.Fatal(err)
	}
	found, err := provenance.Of(t.Context(), w.registry, repository, subject.Digest, claimOwner)
	if err != nil || len(found) == 0 {
		t.Fatalf("no record of the first run: %v", err)
	}
	if err := provenance.Push(t.Context(), w.registry, repository, forged, found[0].Record); err != nil {
		t.Fatal(err)
	}
	w.watched.take()
}

// TestStreamNothingToDo runs twice, and has something happen in between.
func TestStreamNothingToDo(t *testing.T) {
	type want struct {
		Pushed []string
		Reason outcome.Reason
		Same   bool // Whether the result is that of the first run.
		Log    string
	}
	whole := []string{aBlob, aManifest, aRecord, aTag}
	already := "with all its blobs: there is nothing to do"
	cases := map[string]struct {
		reason  string
		between func(t *testing.T, w *claimWorld, digest string)
		want    want
	}{
		"Nothing": {
			reason:  "What is there is not made again.",
			between: func(*testing.T, *claimWorld, string) {},
			want:    want{Same: true, Log: already},
		},
		"LostStatus": {
			reason:  "Also if the Artifact does not know.",
			between: func(_ *testing.T, w *claimWorld, _ string) { w.run.Replaces = "" },
			want:    want{Same: true, Log: already},
		},
		"Untagged": {
			reason:  "A tag that is gone is put back.",
			between: func(t *testing.T, w *claimWorld, _ string) { w.remove(t, "manifests", "v1") },
			want:    want{Pushed: []string{aTag}, Same: true, Log: already},
		},
		"OtherTag": {
			reason:  "So is one that the spec has changed.",
			between: func(_ *testing.T, w *claimWorld, _ string) { w.run.Target.Tag = "v2" },
			want:    want{Pushed: []string{aTag}, Same: true, Log: already},
		},
		"OverOlder": {
			reason: "A tag on what an older run pushed is put back.",
			between: func(t *testing.T, w *claimWorld, _ string) {
				w.record(t, w.foreign(t, "v1"), claimOwner, 1)
				w.watched.take()
			},
			want: want{Pushed: []string{aTag}, Same: true, Log: already},
		},
		"OverForeign": {
			reason: "One on what somebody else pushed is not.",
			between: func(t *testing.T, w *claimWorld, _ string) {
				w.foreign(t, "v1")
				w.watched.take()
			},
			want: want{Reason: outcome.TagConflict},
		},
		"TagLost": {
			reason: "An Artifact that does not know anything finds nothing without its tag.",
			between: func(t *testing.T, w *claimWorld, _ string) {
				w.remove(t, "manifests", "v1")
				w.run.Replaces = ""
			},
			want: want{Pushed: []string{aBlob, aManifest, aRecord, aTag}[1:], Same: true, Log: "in the registry already"},
		},
		"BlobLost": {
			reason: "A blob that is gone is pushed again.",
			between: func(t *testing.T, w *claimWorld, d string) {
				w.remove(t, "blobs", w.layers(t, d)[0].Digest.String())
			},
			want: want{Pushed: whole, Same: true, Log: "blobs of sha256:"},
		},
		"ManifestLost": {
			reason: "So is a manifest.",
			between: func(t *testing.T, w *claimWorld, d string) {
				w.remove(t, "manifests", "v1")
				w.remove(t, "manifests", d)
			},
			want: want{Pushed: whole[1:], Same: true, Log: "is not in the registry any more"},
		},
		"Forged": {
			reason: "A copied record makes a large file no less foreign.",
			between: func(t *testing.T, w *claimWorld, d string) {
				w.forge(t, d, "model.safetensors")
				w.run.Replaces = ""
			},
			want: want{Pushed: whole[1:], Same: true, Log: "and is not: it is made again"},
		},
		"ForgedSmall": {
			reason: "Nor does it a small one, whose SHA-256 the Hub does not announce.",
			between: func(t *testing.T, w *claimWorld, d string) {
				w.forge(t, d, "config.json")
				w.run.Replaces = ""
			},
			want: want{Pushed: whole[1:], Same: true, Log: "and is not: it is made again"},
		},
		"ForgedOverKnown": {
			reason: "What status knows takes its tag back.",
			between: func(t *testing.T, w *claimWorld, d string) {
				w.forge(t, d, "model.safetensors")
			},
			want: want{Pushed: []string{aTag}, Same: true, Log: already},
		},
		"OtherRunHash": {
			reason:  "What answers to another spec is not this.",
			between: func(_ *testing.T, w *claimWorld, _ string) { w.run.RunHash = "9ba479cac89145b9" },
			want:    want{Pushed: whole[1:], Same: true},
		},
		"OtherCommit": {
			reason:  "A branch that has moved is another artifact.",
			between: func(t *testing.T, w *claimWorld, _ string) { w.change(t, "config.json", `{"a": 2, "b": 3}`) },
			want:    want{Pushed: whole},
		},
		"NotTold": {
			reason: "Where the registry does not tell, the run goes the whole way.",
			between: func(_ *testing.T, w *claimWorld, d string) {
				w.watched.refuse(1, http.StatusBadRequest, http.MethodGet, "/manifests/"+d)
			},
			want: want{Pushed: whole[1:], Same: true, Log: "cannot tell whether sha256:"},
		},
	}
	for kind, api := range map[string]bool{"API": true, "Fallback": false} {
		for name, tc := range cases {
			t.Run(kind+name, func(t *testing.T) {
				w := newClaimWorld(t, api)
				first, err := w.stream.Run(t.Context(), w.run)
				if err != nil {
					t.Fatal(err)
				}
				w.watched.take()
				w.log.Reset()
				w.hub.ResetRequests()
				w.run.Number, w.run.Replaces = 2, first.Digest
				tc.between(t, w, first.Digest)

				second, err := w.stream.Run(t.Context(), w.run)
				got := want{Pushed: withoutLists(w.watched.take()), Same: second == first}
				if err != nil {
					got.Reason = outcome.ReasonOf(err)
				}
				if strings.Contains(w.log.String(), tc.want.Log) {
					got.Log = tc.want.Log
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("\n%s\nRun(...): -want, +got:\n%s\n%v\n%s", tc.reason, diff, err, w.log)
				}
				if len(got.Pushed) < 2 && w.asked("/resolve/")+w.asked("/cdn/") > 0 {
					t.Errorf("\n%s\nRun(...): want no file to be read", tc.reason)
				}
				if tc.want.Reason == "" && w.tagged(t) != second.Digest {
					t.Errorf("\n%s\nRun(...): the tag is on %s, not on %s", tc.reason, w.tagged(t), second.Digest)
				}
			})
		}
	}
}

// Before a byte moves, the largest file is held against what the registry
// takes.
func TestStreamLimit(t *testing.T) {
	limit := layerLimit
	t.Cleanup(func() { layerLimit = limit })
	layerLimit = func(string) (int64, string, bool) {
		return int64(len(streamWeight)) - 1, "https://docs.example.com", true
	}
	w := newClaimWorld(t, true)
	_, err := w.stream.Run(t.Context(), w.run)
	if outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "safetensors has 1.1 MiB") {
		t.Errorf("want the largest file to be refused, got %v", err)
	}
	if pushed := w.watched.take(); len(pushed) > 0 || w.asked("/cdn/") > 0 {
		t.Errorf("want nothing to be moved, got %q", pushed)
	}
}
