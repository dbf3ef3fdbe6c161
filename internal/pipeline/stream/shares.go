package stream

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/source/oci"
)

const (
	// layerCost is what a layer costs beside its bytes when layers are shared out: about as
	// many bytes as are transferred while its requests are answered. Else all empty files
	// would be one share's.
	layerCost = 256 << 10

	// partsAtOnce is how many parts of a checkpoint are read side by side.
	partsAtOnce = 4

	// maxDoubtful is how many digests of one layer are taken from the checkpoints of other
	// runs: each may be read in whole to be verified, and anyone who may push can add some.
	maxDoubtful = 2
)

// divide divides what has a size and a unique name into shares: the largest first, each onto
// the share with the least so far, of those the first. The order of all does not matter, so
// that Pods which know nothing of each other come to the same shares.
func divide[T any](all []T, shares int, size func(T) int64, name func(T) string) [][]T {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b T) int {
		return cmp.Or(cmp.Compare(size(b), size(a)), strings.Compare(name(a), name(b)))
	})
	out, loads := make([][]T, shares), make([]int64, shares)
	for _, one := range sorted {
		least := 0
		for i, load := range loads {
			if load < loads[least] {
				least = i
			}
		}
		out[least] = append(out[least], one)
		loads[least] += size(one) + layerCost
	}
	return out
}

// ofShare returns the layers of the run's share; all of them if it has none.
func (r *task) ofShare(moves []*layerMove) []*layerMove {
	s := r.run.Share
	if !s.IsPart() {
		return moves
	}
	mine := divide(moves, s.Of, (*layerMove).size, func(m *layerMove) string { return m.plan.Files[0].Path })[s.Index]
	r.take(len(mine), len(moves), totalMoved(mine))
	r.moves = mine
	return mine
}

// take records what the run's share is.
func (r *task) take(layers, all int, bytes int64) {
	s := r.run.Share
	r.mine = outcome.Share{Index: s.Index, Of: s.Of, Layers: layers, Bytes: bytes}
	r.log.Printf("share %d of %d: %d of %d layers, %s", s.Index, s.Of, layers, all, outcome.FormatBytes(bytes))
}

// share returns the result of a share that was transferred, and leaves its part of the
// checkpoint to the last run. It stages nothing.
func (r *task) share(ctx context.Context) outcome.Result {
	mine := r.mine
	mine.Part = r.checkpoint.finish(ctx, r.moves)
	return outcome.Result{Share: &mine, Revision: r.contents.Revision}
}

// copyShare copies a share of the layers of an artifact that is copied as it is. They are
// known by their digests, so that no checkpoint needs to name them.
func (r *task) copyShare(ctx context.Context, o *oci.Source, layers []ocispec.Descriptor) (outcome.Result, error) {
	s := r.run.Share
	mine := divide(layers, s.Of, func(d ocispec.Descriptor) int64 { return d.Size }, func(d ocispec.Descriptor) string { return d.Digest.String() })[s.Index]
	bytes := int64(0)
	for _, d := range mine {
		bytes += d.Size
	}
	r.take(len(mine), len(layers), bytes)
	return r.checkpointed(ctx, func(ctx context.Context) error { return r.copyBlobs(ctx, o, mine) },
		func() (outcome.Result, error) { return r.share(ctx), nil })
}

// checkpointTag returns the tag of the run's checkpoint, or of its part of it; empty for
// none.
func (r *task) checkpointTag() string {
	switch s := r.run.Share; {
	case !s.IsPart():
		return r.run.Target.CheckpointTag
	case r.partless:
		return ""
	default:
		return outcome.PartTag(r.run.Target.CheckpointTag, s.Index)
	}
}

// others is what the checkpoints of other shares, and of earlier runs, list of the layers
// that this run needs, by the layer's key. Its zero value is nothing.
type others struct {
	// layers prove nothing: anyone who may push can have written the checkpoints.
	layers map[string][]digest.Digest

	// trusted are of checkpoints whose digests the results of this run's shares tell.
	trusted map[string]digest.Digest
}

// readOthers reads the checkpoints beside the run's own that may list its layers, and keeps
// what they list of these: the memory it takes is bounded by the run's own layers.
func (u *checkpoint) readOthers(ctx context.Context, moves []*layerMove) {
	r := u.run
	if r.run.Share.Of == 0 {
		return
	}
	wanted := map[string]int64{}
	for _, m := range moves {
		if key := u.key(m.plan); m.digest == "" && key != "" {
			wanted[key] = m.plan.Size
		}
	}
	u.others = others{layers: map[string][]digest.Digest{}, trusted: map[string]digest.Digest{}}
	if r.run.Share.IsPart() {
		u.addDoubtful(r.main, wanted)
	}
	r.readParts(ctx, r.run.Share.Parts, func(part storedCheckpoint) { u.addTrusted(part, wanted) })
	if len(u.others.trusted) < len(wanted) {
		r.readParts(ctx, r.otherParts(), func(part storedCheckpoint) { u.addDoubtful(part, wanted) })
	}
}

// otherParts returns the tags of the parts that other shares may have left which are worth
// reading: all for the last run. A share reads those of a run with more shares only, since
// its own part has what is its own.
func (r *task) otherParts() []string {
	s, was := r.run.Share, outcome.SharesIn(r.main.manifest.Annotations)
	if s.IsPart() && was <= s.Of {
		return nil
	}
	var out []string
	for i := range max(s.Of, was) {
		if tag := outcome.PartTag(r.run.Target.CheckpointTag, i); tag != "" && tag != r.checkpointTag() {
			out = append(out, tag)
		}
	}
	return out
}

// readParts reads parts of the checkpoint, named by tags or digests, and calls add for each,
// one after the other in their order.
func (r *task) readParts(ctx context.Context, references []string, add func(storedCheckpoint)) {
	for some := range slices.Chunk(references[:min(len(references), outcome.MaxShares)], partsAtOnce) {
		parts := make([]storedCheckpoint, len(some))
		group := errgroup.Group{}
		for i, reference := range some {
			group.Go(func() error { parts[i] = r.readCheckpoint(ctx, reference); return nil })
		}
		_ = group.Wait()
		for _, part := range parts {
			add(part)
		}
	}
}

// addDoubtful adds what a checkpoint lists of wanted layers, by key with their sizes, and its
// uploads in progress.
func (u *checkpoint) addDoubtful(c storedCheckpoint, wanted map[string]int64) {
	for key, d := range layersIn(c.manifest, wanted) {
		if known := u.others.layers[key]; len(known) < maxDoubtful && !slices.Contains(known, d) {
			u.others.layers[key] = append(known, d)
		}
	}
	if u.run.run.Share.IsPart() {
		// The run that they are of may still be at it.
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.earlier == nil {
		u.earlier = map[string]uploadRecord{}
	}
	for key, upload := range readUploads(c.manifest.Annotations[annotationUploads]) {
		if _, ok := u.earlier[key]; !ok && wanted[key] > 0 {
			u.earlier[key] = upload
		}
	}
}

// addTrusted adds what a part lists of wanted layers that a share of this run has reported:
// who changed the part would have given it another digest.
func (u *checkpoint) addTrusted(c storedCheckpoint, wanted map[string]int64) {
	if d := c.descriptor.Digest; d == "" || !slices.Contains(u.run.run.Share.Parts, d.String()) {
		return
	}
	maps.Insert(u.others.trusted, layersIn(c.manifest, wanted))
}

// layersIn returns the digests of wanted layers, by key, that a checkpoint lists with their
// sizes.
func layersIn(m ocispec.Manifest, wanted map[string]int64) iter.Seq2[string, digest.Digest] {
	return func(yield func(string, digest.Digest) bool) {
		for _, l := range m.Layers {
			key := l.Annotations[annotationFiles]
			if size, ok := wanted[key]; !ok || size != l.Size || l.Digest.Validate() != nil || l.Digest.Algorithm() != digest.SHA256 {
				continue
			}
			if !yield(key, l.Digest) {
				return
			}
		}
	}
}

// finish pushes the share's part of the checkpoint and returns its digest; empty if there is
// none. The part lists what this process has transferred or verified, or an earlier run of the
// Artifact has, and nothing else of what it found in the registry: the last run believes what
// a share reports.
func (u *checkpoint) finish(ctx context.Context, moves []*layerMove) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.layers, u.earlier = nil, nil
	for _, m := range moves {
		key := u.key(m.plan)
		if key == "" || u.run.isAnnounced(m.plan) {
			continue
		}
		l := m.blob()
		l.Annotations = map[string]string{annotationFiles: key}
		u.layers = append(u.layers, l)
	}
	if u.tag == "" || len(u.layers) == 0 {
		return ""
	}
	if err := u.push(ctx); err != nil {
		u.run.log.Printf("cannot push the checkpoint: what this share has transferred is read again: %s", err)
		return ""
	}
	return u.there.Digest.String()
}
