package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

func TestDivide(t *testing.T) {
	type layer struct {
		name string
		size int64
	}
	size, name := func(l layer) int64 { return l.size }, func(l layer) string { return l.name }
	same := func(n int, size int64) []layer {
		var out []layer
		for i := range n {
			out = append(out, layer{fmt.Sprintf("%05d", i), size})
		}
		return out
	}
	cases := map[string]struct {
		reason string
		layers []layer
		shares int
		want   [][]string // Nil if only the balance matters.
		apart  int64      // The most by which the loads of two shares may differ.
	}{
		"None":    {reason: "There may be nothing to divide.", shares: 2, want: [][]string{nil, nil}},
		"Fewer":   {reason: "A share may have no layer.", layers: same(1, 5), shares: 3, want: [][]string{{"00000"}, nil, nil}, apart: layerCost + 5},
		"Largest": {reason: "The largest should come first, each onto the least loaded.", layers: []layer{{"a", 3 << 20}, {"b", 5 << 20}, {"c", 3 << 20}, {"d", 1 << 20}}, shares: 2, want: [][]string{{"b", "d"}, {"a", "c"}}, apart: 1 << 20},
		"Ties":    {reason: "Equal layers should be divided by their names.", layers: []layer{{"c", 1}, {"a", 1}, {"b", 1}}, shares: 2, want: [][]string{{"a", "c"}, {"b"}}, apart: layerCost + 1},
		"Empty":   {reason: "Layers without bytes should be divided, too: each takes requests.", layers: same(1000, 0), shares: 3, apart: layerCost},
		"Equal":   {reason: "Equal layers should be divided equally.", layers: same(16, 256<<20), shares: 4},
		"Mixed":   {reason: "Many small layers should fill up shares beside a large one.", layers: append(same(4000, 1<<20), layer{"large", 1 << 30}), shares: 4, apart: 2 << 20},
	}
	for n, tc := range cases {
		t.Run(n, func(t *testing.T) {
			got := divide(tc.layers, tc.shares, size, name)
			var names [][]string
			seen := map[string]int{}
			least, most := int64(1)<<62, int64(0)
			for _, share := range got {
				var s []string
				load := int64(0)
				for _, l := range share {
					s = append(s, l.name)
					load += l.size + layerCost
					seen[l.name]++
				}
				names = append(names, s)
				least, most = min(least, load), max(most, load)
			}
			if diff := cmp.Diff(tc.want, names); tc.want != nil && diff != "" {
				t.Errorf("\n%s\ndivide(...): -want, +got:\n%s", tc.reason, diff)
			}
			if most-least > tc.apart {
				t.Errorf("\n%s\ndivide(...): want loads at most %d apart, got %d to %d", tc.reason, tc.apart, least, most)
			}
			for _, l := range tc.layers {
				if seen[l.name] != 1 {
					t.Errorf("\n%s\ndivide(...): want %s in one share, got %d", tc.reason, l.name, seen[l.name])
				}
			}
			for range 5 {
				mixed := slices.Clone(tc.layers)
				rand.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
				if diff := cmp.Diff(got, divide(mixed, tc.shares, size, name), cmp.AllowUnexported(layer{})); diff != "" {
					t.Errorf("\n%s\ndivide(...) in another order: -want, +got:\n%s", tc.reason, diff)
				}
			}
		})
	}
}

// sharedFiles are the files of a model that several Pods transfer: large ones with and
// without a SHA-256, equal ones, small and empty ones.
func sharedFiles() map[string]string {
	files := streamFiles()
	for i := range 6 {
		files[fmt.Sprintf("model-%d.safetensors", i)] = strings.Repeat(fmt.Sprintf("weight %d ", i), (i+1)*50_000)
	}
	files["large.txt"] = strings.Repeat("a file that git holds itself\n", 60_000)
	files["again.safetensors"] = files["model-5.safetensors"]
	return files
}

// shared returns a run that is share index of a number of shares.
func (w *streamWorld) shared(index, of int) pipeline.Run {
	run := w.run
	run.Log = &bytes.Buffer{}
	run.Share = pipeline.Share{Index: index, Of: of}
	return run
}

// runShares runs all shares side by side and returns the digests of their parts.
func (w *streamWorld) runShares(t *testing.T, of int) []string {
	t.Helper()
	results, errs := make([]outcome.Result, of), make([]error, of)
	var all sync.WaitGroup
	for i := range of {
		all.Go(func() { results[i], errs[i] = w.stream.Run(t.Context(), w.shared(i, of)) })
	}
	all.Wait()
	var parts []string
	for i, r := range results {
		if errs[i] != nil {
			t.Fatalf("share %d of %d: %v", i, of, errs[i])
		}
		if r.Digest != "" || r.Share == nil || r.Share.Index != i || r.Share.Of != of {
			t.Errorf("share %d of %d: want a result of that share and no digest, got %+v", i, of, r)
		}
		if r.Share != nil && r.Share.Part != "" {
			parts = append(parts, r.Share.Part)
		}
	}
	return parts
}

// complete runs the last run of several shares.
func (w *streamWorld) complete(ctx context.Context, of int, parts []string) (outcome.Result, error) {
	run := w.shared(0, of)
	run.Log = w.log
	run.Share = pipeline.Share{Of: of, Last: true, Parts: parts}
	return w.stream.Run(ctx, run)
}

// fileList returns the list of files beside what a run staged.
func (w *streamWorld) fileList(t *testing.T, r outcome.Result) string {
	t.Helper()
	b, err := w.registry.Blob(t.Context(), w.run.Target.Repository, digest.Digest(r.FileList), 1<<20)
	if err != nil {
		t.Fatalf("cannot read the list of files: %v", err)
	}
	return string(b)
}

// TestShares has several Pods transfer a model, and then one complete it.
func TestShares(t *testing.T) {
	t.Parallel()
	r := testregistry.Start(t, testregistry.Options{})
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
		files := sharedFiles()
		alone := newStreamWorld(t, files, nil)
		alone.run.Format = format
		want, err := alone.stream.Run(t.Context(), alone.run)
		if err != nil {
			t.Fatal(err)
		}
		list := alone.fileList(t, want)
		for _, of := range []int{1, 3, 5, 40} {
			for _, told := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%d/%t", format, of, told), func(t *testing.T) {
					t.Parallel()
					front := r.Front(t)
					w := newStreamWorld(t, files, nil)
					w.into(t, front)
					w.run.Format, w.run.Target.CheckpointTag = format, checkpointTag
					w.run.Target.Repository = strings.ToLower(fmt.Sprintf("models/shares-%s-%d-%t", format, of, told))
					var sent atomic.Int64
					front.SetFault(counting(&sent))
					parts := w.runShares(t, of)
					if _, err := w.registry.Resolve(t.Context(), w.run.Target.Repository, stagingTag); err == nil {
						t.Error("want no share to stage a manifest")
					}
					// Parts, and layers whose archives are small.
					if n := sent.Load(); n > want.Size+1<<20 {
						t.Errorf("want each byte to be uploaded once, %d in all, got %d", want.Size, n)
					}
					sent.Store(0)
					if !told {
						parts = nil
					}
					got, err := w.complete(t.Context(), of, parts)
					if err != nil {
						t.Fatalf("Run(...): %v\n%s", err, w.log)
					}
					if n := sent.Load(); n > 64<<10 {
						t.Errorf("want all layers to be found, got %d bytes sent\n%s", n, w.log)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("Run(...): -one Pod, +%d Pods:\n%s", of, diff)
					}
					if diff := cmp.Diff(list, w.fileList(t, got)); diff != "" {
						t.Errorf("list of files: -one Pod, +%d Pods:\n%s", of, diff)
					}
				})
			}
		}
	}
}

// TestShareIsRepeated ends a share in the middle of a large file, as where its Pod goes, and
// repeats it alone.
func TestShareIsRepeated(t *testing.T) {
	t.Parallel()
	const size, first, of = 12 << 20, 8 << 20, 2
	r := testregistry.Start(t, testregistry.Options{})
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			files, front := largeFiles(of, size), r.Front(t)
			w := newStreamWorld(t, files, nil)
			w.into(t, front)
			w.run.Format, w.run.Target.Repository, w.run.Target.CheckpointTag = format, strings.ToLower("models/repeated-"+format), checkpointTag
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			front.SetFault(endAfter(first, cancel))
			if _, err := w.stream.Run(ctx, w.shared(0, of)); err == nil {
				t.Fatal("want the share to end early")
			}
			front.SetFault(nil)
			if _, err := w.stream.Run(t.Context(), w.shared(1, of)); err != nil {
				t.Fatal(err)
			}
			var sent atomic.Int64
			front.SetFault(counting(&sent))
			again := w.shared(0, of)
			if _, err := newStreamWorld(t, nil, nil).stream.Run(t.Context(), again); err != nil {
				t.Fatalf("Run(...): %v\n%s", err, again.Log)
			}
			if n := sent.Load(); n > size-first+1<<20 {
				t.Errorf("want what the share had sent not to be sent again, got %d bytes\n%s", n, again.Log)
			}
			sent.Store(0)
			if _, err := w.complete(t.Context(), of, nil); err != nil {
				t.Fatalf("Run(...): %v\n%s", err, w.log)
			}
			if n := sent.Load(); n > 64<<10 {
				t.Errorf("want all layers to be found, got %d bytes sent\n%s", n, w.log)
			}
			if diff := cmp.Diff(wanted(format, files), w.fetched(t, stagingTag).Files); diff != "" {
				t.Errorf("files: -Hub, +registry:\n%s", diff)
			}
		})
	}
}

// branches are a Hub's model with two revisions, the second of which another weight is in.
func (w *streamWorld) branches(t *testing.T) {
	t.Helper()
	model := filepath.Join(w.dir, "models", streamModel)
	if err := os.CopyFS(filepath.Join(model, "next"), os.DirFS(filepath.Join(model, "main"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(model, "next", "model-0.safetensors"), []byte(strings.Repeat("other weights", 100_000)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// note sets an annotation of the run's checkpoint, as anyone may who can push.
func (w *streamWorld) note(t *testing.T, name, value string) {
	t.Helper()
	m, err := w.checkpoint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m.Annotations[name] = value
	w.forge(t, checkpointTag, m)
}

// forge pushes a manifest under a tag.
func (w *streamWorld) forge(t *testing.T, tag string, m ocispec.Manifest) {
	t.Helper()
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := w.registry.PushManifest(t.Context(), w.run.Target.Repository, d, b, tag); err != nil {
		t.Fatal(err)
	}
}

// TestPin has a branch move, or somebody write another revision, while shares are transferred.
func TestPin(t *testing.T) {
	t.Parallel()
	const foreign = "0123456789012345678901234567890123456789"
	cases := map[string]struct {
		reason  string
		between func(t *testing.T, w *streamWorld) // The two shares.
		follows bool                               // The commit that the run began with.
	}{
		"Stays":  {reason: "All should read the commit that the branch stands for.", between: func(*testing.T, *streamWorld) {}, follows: true},
		"Moved":  {reason: "A branch that moves should not: the run ends with the commit that it began with.", follows: true, between: moveBranch},
		"Forged": {reason: "A commit that is not of the branch should not be followed, though the Hub has it.", between: func(t *testing.T, w *streamWorld) { moveBranch(t, w); w.note(t, annotationPin, foreign) }},
		"Text":   {reason: "What is no commit should not be followed.", between: func(t *testing.T, w *streamWorld) { moveBranch(t, w); w.note(t, annotationPin, "refs/pr/1") }},
		"Gone": {reason: "A checkpoint that was removed should cost no more than work.", between: func(t *testing.T, w *streamWorld) {
			t.Helper()
			moveBranch(t, w)
			w.forge(t, checkpointTag, ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON})
		}},
		"Tagged": {reason: "A revision that is a commit should not be changed by anyone.", follows: true, between: func(t *testing.T, w *streamWorld) {
			t.Helper()
			m, err := w.checkpoint(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			w.run.Source.Revision = m.Annotations[annotationPin]
			moveBranch(t, w)
			w.note(t, annotationPin, foreign)
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newStreamWorld(t, sharedFiles(), nil)
			w.branches(t)
			w.run.Target.CheckpointTag = checkpointTag
			began, err := w.stream.Run(t.Context(), w.shared(0, 2))
			if err != nil {
				t.Fatal(err)
			}
			tc.between(t, w)
			second := w.shared(1, 2)
			if _, err := w.stream.Run(t.Context(), second); err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, second.Log)
			}
			got, err := w.complete(t.Context(), 2, nil)
			if err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
			}
			if follows := got.Revision == began.Revision; follows != tc.follows || got.Revision == foreign {
				t.Errorf("\n%s\nwant the run to end with the commit that it began with: %t, got %s after %s", tc.reason, tc.follows, got.Revision, began.Revision)
			}
			files := sharedFiles()
			if !tc.follows {
				files["model-0.safetensors"] = strings.Repeat("other weights", 100_000)
			}
			if diff := cmp.Diff(files, w.pulled(t, got.Digest)); diff != "" {
				t.Errorf("\n%s\nfiles: -Hub, +registry:\n%.2000s\n%s", tc.reason, diff, w.log)
			}
		})
	}
}

// moveBranch has the model's branch stand for another commit.
func moveBranch(t *testing.T, w *streamWorld) {
	t.Helper()
	if err := testhub.Move(w.dir, streamModel, "main", "next"); err != nil {
		t.Fatal(err)
	}
}

// TestUnpin fails a share for what is in the commit, which another one corrects.
func TestUnpin(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, sharedFiles(), nil)
	w.branches(t)
	w.run.Target.CheckpointTag = checkpointTag
	w.hub.SetFault(testhub.Times(1, testhub.On("/cdn/"), testhub.Corrupt(3)))
	if _, err := w.stream.Run(t.Context(), w.shared(0, 1)); outcome.ReasonOf(err) != outcome.Mismatch {
		t.Fatalf("want the share to fail, got %v", err)
	}
	m, err := w.checkpoint(t.Context())
	if err != nil || m.Annotations[annotationPin] != "" || outcome.SharesIn(m.Annotations) != 1 {
		t.Errorf("want the number of shares to stay in the checkpoint, and no revision, got %v, %v", m.Annotations, err)
	}
}

// TestHostilePartBefore has somebody write the part of a share before that begins, with blobs
// of theirs in place of the layers of all shares.
func TestHostilePartBefore(t *testing.T) {
	t.Parallel()
	files := sharedFiles()
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			honest := newStreamWorld(t, files, nil)
			honest.run.Format, honest.run.Target.CheckpointTag = format, checkpointTag
			parts := honest.runShares(t, 2)
			want, err := honest.complete(t.Context(), 2, parts)
			if err != nil {
				t.Fatal(err)
			}
			w := newStreamWorld(t, files, nil)
			w.run.Format, w.run.Target.CheckpointTag = format, checkpointTag
			w.forge(t, outcome.PartTag(checkpointTag, 1), w.foreignPart(t, honest, parts))
			got, err := w.complete(t.Context(), 2, w.runShares(t, 2))
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("What a share finds under its tag should not be believed because it reports its part: -want, +got:\n%s\n%v\n%s", diff, err, w.log)
			}
		})
	}
}

// foreignPart returns a part with the layers of these parts of an honest run, whose digests
// are those of other blobs, which it pushes.
func (w *streamWorld) foreignPart(t *testing.T, honest *streamWorld, parts []string) ocispec.Manifest {
	t.Helper()
	var out ocispec.Manifest
	for _, part := range parts {
		_, b, err := honest.registry.Manifest(t.Context(), honest.run.Target.Repository, part)
		if err != nil {
			t.Fatal(err)
		}
		layers := out.Layers
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatal(err)
		}
		for i := range out.Layers {
			content := bytes.Repeat([]byte{'x'}, int(out.Layers[i].Size))
			out.Layers[i].Digest = digest.FromBytes(content)
			if err := w.registry.PushBlob(t.Context(), w.run.Target.Repository, out.Layers[i], bytes.NewReader(content)); err != nil {
				t.Fatal(err)
			}
		}
		out.Layers = append(layers, out.Layers...)
	}
	if len(out.Layers) < 2 {
		t.Fatalf("want parts with layers, got %d", len(out.Layers))
	}
	return out
}

// TestFollowedAfterShares has a branch move after a divided run, where nothing is deleted in
// the registry.
func TestFollowedAfterShares(t *testing.T) {
	t.Parallel()
	w := newStreamWorld(t, sharedFiles(), nil)
	w.branches(t)
	w.run.Target.CheckpointTag = checkpointTag
	first, err := w.complete(t.Context(), 2, w.runShares(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	moveBranch(t, w)
	second, err := w.complete(t.Context(), 2, w.runShares(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	if second.Revision == first.Revision || second.Digest == first.Digest {
		t.Errorf("A run should read what the branch stands for now, and not what an earlier run has read: got %s again", second.Revision)
	}
}

// TestHostileParts has somebody write the parts of a checkpoint, as anyone may who can push.
func TestHostileParts(t *testing.T) {
	t.Parallel()
	other := digest.FromString("other bytes")
	cases := map[string]struct {
		reason string
		change func(m *ocispec.Manifest)
	}{
		"Digest": {reason: "Another blob of the layer's size should not be taken for it.", change: func(m *ocispec.Manifest) {
			m.Layers[0].Digest, m.Layers[1].Digest = m.Layers[1].Digest, m.Layers[0].Digest
		}},
		"Missing": {reason: "A blob that does not exist should not be taken for a layer.", change: func(m *ocispec.Manifest) {
			for i := range m.Layers {
				m.Layers[i].Digest = other
			}
		}},
		"Size": {reason: "A layer of another size should be ignored.", change: func(m *ocispec.Manifest) { m.Layers[0].Size = 1 << 60 }},
		"Form": {reason: "What is no digest should be ignored.", change: func(m *ocispec.Manifest) { m.Layers[0].Digest = "sha512:x" }},
		"Many": {reason: "A part with very many layers should be ignored, or bounded.", change: func(m *ocispec.Manifest) {
			for range 15_000 {
				m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: "a/b", Digest: other, Size: 1, Annotations: map[string]string{annotationFiles: "x"}})
			}
		}},
		"Doubt": {reason: "Forged digests before the true one should not hide it for ever, nor be read without a bound.", change: func(m *ocispec.Manifest) {
			forged := slices.Clone(m.Layers)
			for i := range forged {
				forged[i].Digest = other
			}
			m.Layers = append(forged, m.Layers...)
		}},
		"Uploads": {reason: "Uploads that nobody began should be ignored.", change: func(m *ocispec.Manifest) {
			m.Annotations[annotationUploads] = `[{"key":"` + m.Layers[0].Annotations[annotationFiles] + `","location":"/v2/x/blobs/uploads/y"}]`
		}},
	}
	files := sharedFiles()
	for _, format := range []string{pipeline.FormatModelKit, pipeline.FormatImage} {
		alone := newStreamWorld(t, files, nil)
		alone.run.Format = format
		want, err := alone.stream.Run(t.Context(), alone.run)
		if err != nil {
			t.Fatal(err)
		}
		for name, tc := range cases {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				w := newStreamWorld(t, files, nil)
				w.run.Format, w.run.Target.CheckpointTag = format, checkpointTag
				parts := w.runShares(t, 2)
				for i := range 2 {
					tag := outcome.PartTag(checkpointTag, i)
					_, b, err := w.registry.Manifest(t.Context(), w.run.Target.Repository, tag)
					if err != nil {
						t.Fatal(err)
					}
					var m ocispec.Manifest
					if err := json.Unmarshal(b, &m); err != nil || len(m.Layers) < 2 {
						t.Fatalf("want a part with layers, got %s, %v", b, err)
					}
					tc.change(&m)
					w.forge(t, tag, m)
				}
				// The parts that shares have reported are there still.
				for _, told := range [][]string{nil, {other.String(), "latest"}, parts} {
					w.run.Target.StagingTag = fmt.Sprintf("%s-%d", stagingTag, len(told))
					got, err := w.complete(t.Context(), 2, told)
					if diff := cmp.Diff(want, got); diff != "" || err != nil {
						t.Errorf("\n%s\nRun(...): -want, +got:\n%s\n%v\n%s", tc.reason, diff, err, w.log)
					}
				}
			})
		}
	}
}

// TestSharesOfCopies has several Pods copy an artifact as it is.
func TestSharesOfCopies(t *testing.T) {
	t.Parallel()
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			r := testregistry.Start(t, testregistry.Options{})
			w, target, want := newOCIWorldOf(t, sharedFiles(), format, r, r)
			w.run.Target.Repository = strings.ToLower("models/copies-" + format)
			w.runShares(t, 3)
			if target.Count(http.MethodPut, "/manifests/"+stagingTag) > 0 {
				t.Error("want no share to stage a manifest")
			}
			var sent atomic.Int64
			target.SetFault(counting(&sent))
			got, err := w.complete(t.Context(), 3, nil)
			if err != nil || got.Digest != want {
				t.Errorf("want %s, got %s, %v\n%s", want, got.Digest, err, w.log)
			}
			if n := sent.Load(); n > 64<<10 {
				t.Errorf("want all blobs to be found, got %d bytes sent\n%s", n, w.log)
			}
		})
	}
}
