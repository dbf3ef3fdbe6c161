package stream

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
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
