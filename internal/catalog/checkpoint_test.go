package catalog_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/catalog"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

// leave pushes what a run leaves under a tag of its checkpoint, or of a part of it.
func (w *world) leave(tag, artifactType, shares string) {
	w.Helper()
	empty := ocispec.DescriptorEmptyJSON
	empty.Data = nil
	annotations := map[string]string{ocispec.AnnotationRefName: tag}
	if shares != "" {
		annotations[outcome.AnnotationShares] = shares
	}
	b, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: artifactType,
		Config: empty, Layers: []ocispec.Descriptor{empty}, Annotations: annotations,
	})
	if err != nil {
		w.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := w.catalog.Registry.PushManifest(w.Context(), repository, d, b, tag); err != nil {
		w.Fatal(err)
	}
}

// TestDropParts removes the checkpoint of a run that several Pods have shared.
func TestDropParts(t *testing.T) {
	tag := provenance.CheckpointTag(owner, runHash)
	part := func(n int) string { return outcome.PartTag(tag, n) }
	const gone = "gone"
	type want struct {
		Stay  []string // Of the tags that were left.
		Asked int      // Requests about tags of the checkpoint.
		Left  []string
	}
	cases := map[string]struct {
		reason string
		shares string
		known  int    // Shares that the owner's runs have as the cluster knows it.
		is     string // The type of the checkpoint; gone for none.
		parts  []string
		types  map[string]string // Of what is no part.
		refuse func(r *http.Request, is string) int
		again  bool
		want   want
	}{
		"Undivided":   {reason: "A run of one Pod should cost what it does without shares: the checkpoint is read and removed.", want: want{Asked: 2}},
		"Divided":     {reason: "Each part should be removed.", shares: "3", parts: []string{part(0), part(1), part(2)}, want: want{Asked: 8}},
		"SomeParts":   {reason: "A share may have left none.", shares: "3", parts: []string{part(1)}, want: want{Asked: 6}},
		"Foreign":     {reason: "What is no checkpoint should stay, whatever its tag is: where tags cannot be removed, its manifest would be.", shares: "2", parts: []string{part(0), part(1)}, types: map[string]string{part(1): "application/x"}, want: want{Stay: []string{part(1)}, Asked: 5}},
		"Forged":      {reason: "A forged number should not have many requests be made.", shares: "1000000000", parts: []string{part(63), part(64)}, want: want{Stay: []string{part(64)}, Asked: 64 + 3}},
		"ForgedLess":  {reason: "A checkpoint that was replaced should hide no parts.", known: 2, parts: []string{part(0), part(1)}, want: want{Asked: 6}},
		"ForgedMore":  {reason: "More shares than are known may have been, as before parallelism was lowered.", shares: "3", known: 2, parts: []string{part(2)}, want: want{Asked: 6}},
		"OtherType":   {reason: "What replaced the checkpoint should stay, and hide no parts.", known: 2, is: "application/x", parts: []string{part(0), part(1)}, want: want{Stay: []string{tag}, Asked: 5}},
		"Gone":        {reason: "Parts should be removed although the checkpoint is gone.", known: 2, is: gone, parts: []string{part(1)}, want: want{Asked: 4}},
		"GoneAlone":   {reason: "A run of one Pod without a checkpoint should cost one request.", is: gone, want: want{Asked: 1}},
		"KnownMost":   {reason: "No more parts than a run can have should be asked for.", known: 1000, parts: []string{part(63)}, want: want{Asked: 64 + 3}},
		"NoNumber":    {reason: "What is no number of shares is none.", shares: "-1", parts: []string{part(0)}, want: want{Stay: []string{part(0)}, Asked: 2}},
		"Undeletable": {reason: "Tags that cannot be removed should be named.", shares: "1", parts: []string{part(0)}, refuse: refuse(aDelete, http.StatusMethodNotAllowed), want: want{Stay: []string{tag, part(0)}, Left: []string{provenance.StagingTag(owner, runHash), part(0), tag}, Asked: 4}},
		"Interrupted": {reason: "A removal that failed at a part should leave the checkpoint, and be repeated from there.", shares: "2", parts: []string{part(0), part(1)}, again: true, refuse: func(r *http.Request, is string) int {
			if is == aDelete && strings.HasSuffix(r.URL.Path, part(1)) {
				return http.StatusServiceUnavailable
			}
			return 0
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, true)
			w.catalog.Shares = tc.known
			switch tc.is {
			case gone:
			case "":
				w.leave(tag, provenance.CheckpointType, tc.shares)
			default:
				w.leave(tag, tc.is, tc.shares)
			}
			for _, p := range tc.parts {
				kind := provenance.CheckpointType
				if tc.types[p] != "" {
					kind = tc.types[p]
				}
				w.leave(p, kind, "")
			}
			var got want
			w.watched.refuse = func(r *http.Request, is string) int {
				if strings.Contains(r.URL.Path, "/manifests/"+tag) {
					got.Asked++
				}
				if tc.refuse != nil {
					return tc.refuse(r, is)
				}
				return 0
			}
			var err error
			got.Left, err = w.catalog.Drop(t.Context(), runHash)
			if tc.again {
				if err == nil || w.tagged(tag) == "" {
					t.Errorf("\n%s\nDrop(...): want an error, and the checkpoint to stay, got %v", tc.reason, err)
				}
				w.watched.refuse = nil
				got.Left, err = w.catalog.Drop(t.Context(), runHash)
				got.Asked = 0
			}
			if err != nil {
				t.Fatalf("\n%s\nDrop(...): %v", tc.reason, err)
			}
			w.watched.refuse = nil
			for _, p := range append([]string{tag}, tc.parts...) {
				if w.tagged(p) != "" {
					got.Stay = append(got.Stay, p)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nDrop(...): -want, +got:\n%s", tc.reason, diff)
			}
			if left, err := w.catalog.Drop(t.Context(), runHash); tc.refuse == nil && (len(left) > 0 || err != nil) {
				t.Errorf("\n%s\nDrop(...) again: %v, %v", tc.reason, left, err)
			}
		})
	}
}

// TestDeleteParts deletes an Artifact whose shares were ended early.
func TestDeleteParts(t *testing.T) {
	tag := provenance.CheckpointTag(owner, runHash)
	cases := map[string]struct {
		reason string
		shares string // That the checkpoint names.
		known  int
		gone   bool
	}{
		"Named":  {reason: "Parts that the checkpoint names should go.", shares: "2"},
		"Known":  {reason: "Parts that it hides should go.", known: 2},
		"Orphan": {reason: "Parts whose checkpoint is gone should go, although nothing else is there.", known: 2, gone: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, true)
			w.catalog.Shares = tc.known
			if !tc.gone {
				w.leave(tag, provenance.CheckpointType, tc.shares)
			}
			w.leave(outcome.PartTag(tag, 1), provenance.CheckpointType, "")
			h := catalog.Holding{Tag: "v1", RunHashes: []string{runHash}}
			if has, err := w.catalog.HasAny(t.Context(), h); !has || err != nil {
				t.Errorf("\n%s\nHasAny(...): want true, got %t, %v", tc.reason, has, err)
			}
			if _, err := w.catalog.Delete(t.Context(), h); err != nil {
				t.Fatal(err)
			}
			for _, left := range []string{tag, outcome.PartTag(tag, 1)} {
				if w.tagged(left) != "" {
					t.Errorf("\n%s\nDelete(...): want %s to be gone", tc.reason, left)
				}
			}
			if has, err := w.catalog.HasAny(t.Context(), h); has || err != nil {
				t.Errorf("\n%s\nHasAny(...) afterwards: want false, got %t, %v", tc.reason, has, err)
			}
		})
	}
}
