package stream

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/memory"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/parallel"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// moved counts bytes of a large layer that were moved.
func (r *task) moved(n int64) {
	r.run.Meter.Add(n)
	r.limits.large.Add(n)
}

// A layerMove is a layer that is moved into the repository.
type layerMove struct {
	plan   modelpack.LayerPlan
	digest digest.Digest // Empty until it is known.

	// candidates are the digests of blobs that may be the layer, if the source
	// announced no digest of it. They are verified before they are reused: the blob by
	// the hashes of its files or, if these have none that no other content has, its
	// digest by the files themselves.
	candidates []digest.Digest

	// trusted is the digest of the layer if a share of this run, or an earlier run of the
	// Artifact, has reported it, and verified its files; else empty.
	trusted digest.Digest

	// twins are the indexes of all layers with this content, its own first, and
	// alike are the files of the others.
	twins []int
	alike []modelpack.File
}

// move moves all layers into the repository, a few in parallel, and returns the
// artifact of them, whose manifest is not pushed yet.
func (r *task) move(ctx context.Context, layout *modelpack.Layout) (modelpack.Artifact, error) {
	moves := r.plan(ctx, layout)
	r.run.Meter.Step("copy", totalMoved(moves))
	if err := moveAll(ctx, r, moves, (*layerMove).size, r.moveLarge, r.moveSmall); err != nil {
		return modelpack.Artifact{}, err
	}
	if r.run.Share.IsPart() {
		return modelpack.Artifact{}, nil
	}
	digests := make([]digest.Digest, len(layout.Layers))
	for _, m := range moves {
		for _, i := range m.twins {
			digests[i] = m.digest
		}
	}
	r.digests = digests
	return layout.Artifact(r.inspection.Facts(r.contents.Facts), digests)
}

// A content identifies what is in a file.
type content struct {
	size            int64
	sha256, gitSHA1 string
}

// isAnnounced reports whether the source announced the digest of a layer: that of its file.
func (r *task) isAnnounced(p modelpack.LayerPlan) bool {
	return p.Raw && r.file(p.Files[0]).SHA256 != ""
}

// plan returns the layers to move: one of raw layers with the same content. A file
// without a content identity is never treated as equal to another.
func (r *task) plan(ctx context.Context, layout *modelpack.Layout) []*layerMove {
	moves := r.ofShare(r.distinct(layout))
	r.checkpoint.readOthers(ctx, moves)
	r.readVerified(ctx, moves)
	for _, m := range moves {
		if m.digest == "" {
			r.findCandidates(layout, m)
		}
	}
	return moves
}

// distinct returns the layers of a layout, raw ones with the same content once.
func (r *task) distinct(layout *modelpack.Layout) []*layerMove {
	seen := map[content]*layerMove{}
	var moves []*layerMove
	for i, p := range layout.Layers {
		m := &layerMove{plan: p, twins: []int{i}}
		if p.Raw {
			f := r.file(p.Files[0])
			c := content{size: f.Size, sha256: f.SHA256, gitSHA1: f.GitSHA1}
			if first, ok := seen[c]; ok && f.HasIdentity() {
				first.twins = append(first.twins, i)
				first.alike = append(first.alike, p.Files[0])
				continue
			}
			seen[c] = m
			if r.isAnnounced(p) {
				m.digest = digest.NewDigestFromEncoded(digest.SHA256, f.SHA256)
			}
		}
		moves = append(moves, m)
	}
	return moves
}

// bySize separates layers that fit in memory from larger ones, and sorts the
// largest first, so that the last ones to end are short.
func bySize[T any](all []T, size func(T) int64, inMemory int64) (large, small []T) {
	sorted := slices.SortedStableFunc(slices.Values(all), func(a, b T) int { return cmp.Compare(size(b), size(a)) })
	at := slices.IndexFunc(sorted, func(one T) bool { return size(one) <= inMemory })
	if at < 0 {
		return sorted, nil
	}
	return sorted[:at], sorted[at:]
}

// moveAll calls large or small for each layer, by its size: the largest first, and as many
// side by side as the run's limits have slots for, until one fails.
func moveAll[T any](ctx context.Context, r *task, all []T, size func(T) int64, large, small func(context.Context, T) error) error {
	larger, smaller := bySize(all, size, r.inMemory)
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return each(gctx, r.limits.large, r.limits.layers, larger, large) })
	group.Go(func() error {
		return each(gctx, r.limits.small, r.limits.layers, smaller, func(ctx context.Context, one T) error {
			defer r.limits.small.Add(1)
			return small(ctx, one)
		})
	})
	if err := group.Wait(); err != nil || len(smaller) == 0 {
		return err
	}
	var bytes int64
	for _, one := range smaller {
		bytes += size(one)
	}
	r.log.Printf("%d small layers: %s", len(smaller), pipeline.FormatBytes(bytes))
	return nil
}

func (m *layerMove) size() int64 { return m.plan.Size }

func totalMoved(moves []*layerMove) int64 {
	var n int64
	for _, m := range moves {
		n += m.plan.Size
	}
	return n
}

// each calls move for all, as many in parallel as the limits of their kind and of all
// layers, which may be nil, have slots for, until one fails.
func each[T any](ctx context.Context, kind, layers *parallel.Limit, all []T, move func(context.Context, T) error) error {
	group, gctx := errgroup.WithContext(ctx)
	for _, one := range all {
		if err := kind.Acquire(gctx); err != nil {
			break
		}
		group.Go(func() error {
			defer kind.Release()
			if layers != nil {
				if err := layers.Acquire(gctx); err != nil {
					return err
				}
				defer layers.Release()
			}
			return move(gctx, one)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// file returns what the source announced of a file.
func (r *task) file(f modelpack.File) file.File {
	i, ok := slices.BinarySearchFunc(r.files, f.Path, func(f file.File, path string) int { return strings.Compare(f.Path, path) })
	if !ok {
		return file.File{}
	}
	return r.files[i]
}

// isThere reports whether the repository has a layer, or got it without its bytes
// being moved. The digest that the source announced is enough for that; a candidate
// is reused only once it was read back and verified, unless this run or an earlier one of
// the Artifact has verified it.
func (r *task) isThere(ctx context.Context, m *layerMove) (bool, error) {
	there := false
	if m.digest != "" {
		has, err := r.registry.HasBlob(ctx, r.run.Target.Repository, m.blob())
		if err != nil {
			return false, err
		}
		there = has || r.mountFrom(ctx, m.blob(), m.plan.Files[0].Path, "")
	}
	if m.trusted != "" {
		has, err := r.registry.HasBlob(ctx, r.run.Target.Repository, m.blobOf(m.trusted))
		if err != nil {
			return false, err
		}
		if there = has; there {
			m.digest = m.trusted
		}
	}
	if there {
		r.recallFormats(m)
	}
	for i := 0; i < len(m.candidates) && !there; i++ {
		if m.candidates[i] == m.trusted {
			continue // It is not there.
		}
		if there = r.isReusable(ctx, m, m.candidates[i]); there {
			m.digest = m.candidates[i]
		}
	}
	if there {
		return true, r.pass(ctx, m, m.plan.Size)
	}
	if len(m.candidates) > 0 {
		r.checkpoint.remove(m.plan)
	}
	return false, ctx.Err()
}

// pass counts bytes of a layer that need not be moved, and inspects its files.
func (r *task) pass(ctx context.Context, m *layerMove, n int64) error {
	r.run.Meter.Skip(n)
	all := m.files()
	if m.plan.Raw {
		listed := make([]file.File, 0, len(all))
		for _, f := range all {
			listed = append(listed, r.file(f))
		}
		if err := r.checkStored(ctx, m.blob(), listed); err != nil {
			return err
		}
	}
	return r.inspectAll(ctx, all)
}

// files returns the layer's files, and those of its twins.
func (m *layerMove) files() []modelpack.File { return append(slices.Clone(m.plan.Files), m.alike...) }

func (m *layerMove) blob() ocispec.Descriptor { return m.blobOf(m.digest) }

// blobOf returns the descriptor of a blob that has the layer's size.
func (m *layerMove) blobOf(d digest.Digest) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: d, Size: m.plan.Size}
}

// moveLarge moves a layer in one pass.
func (r *task) moveLarge(ctx context.Context, m *layerMove) error {
	start := time.Now()
	name := m.plan.Files[0].Path
	there, err := r.isThere(ctx, m)
	if err != nil {
		return err
	}
	if there {
		r.log.Printf("%s: %s, in the registry already", name, pipeline.FormatBytes(m.plan.Size))
		return nil
	}
	if err := r.upload(ctx, m); err != nil {
		return err
	}
	r.log.Printf("%s: %s in %s%s", name, pipeline.FormatBytes(m.plan.Size), pipeline.Took(start), pipeline.Rate(m.plan.Size, start))
	return nil
}

// upload moves a layer's bytes. It resumes the upload of an earlier run if the registry
// still has it, with the same bytes.
func (r *task) upload(ctx context.Context, m *layerMove) error {
	from := r.checkpoint.resume(r.checkpoint.key(m.plan))
	known := m.digest
	if from.Location != "" && known == "" && !r.restores(m) {
		read, err := r.hashRead(ctx, m)
		if err != nil {
			return err
		}
		m.digest = read
	}
	err := r.uploadFrom(ctx, m, from)
	if from.Location != "" && isMismatch(err) {
		r.log.Printf("%s: the checkpoint names an upload of other bytes: starting another", m.plan.Files[0].Path)
		m.digest = known
		err = r.uploadFrom(ctx, m, uploadRecord{})
	}
	if err == nil && known == "" {
		r.checkpoint.add(ctx, m)
	}
	return err
}

// restores reports whether the upload of a layer can be resumed without reading its first
// bytes again: the checkpoint has the state of its digest, and what the registry stores
// can be verified.
func (r *task) restores(m *layerMove) bool { return !m.plan.Raw && r.isVerifiable(m.plan) }

// uploadFrom moves a layer's bytes.
func (r *task) uploadFrom(ctx context.Context, m *layerMove, from uploadRecord) error {
	s := r.newLayerStream(m)
	defer s.close()
	if m.digest != "" {
		err := r.registry.Upload(ctx, r.run.Target.Repository, m.blob(), s.open, r.uploading, r.checkpoint.resumable(r.checkpoint.key(m.plan), from, nil)...)
		if err == nil && (s.resumed || s.read < m.plan.Size) {
			// An earlier run has sent the first bytes, or another one has pushed the
			// blob meanwhile: the registry has verified its digest.
			return r.pass(ctx, m, m.plan.Size-s.read)
		}
		if err != nil {
			return err
		}
		return s.verify()
	}
	state := uploadState(nil)
	if r.restores(m) {
		s.restore(from)
		state = s.sum.state
	}
	name := m.plan.Files[0].Path
	options := r.checkpoint.resumable(r.checkpoint.key(m.plan), from, state)
	if err := r.registry.UploadUnnamed(ctx, r.run.Target.Repository, name, m.plan.Size, s.digest, s.open, r.uploading, options...); err != nil {
		if from.Location == "" {
			err = r.changed(s, err)
		}
		return err
	}
	var err error
	if m.digest, err = s.digest(ctx); err != nil {
		return err
	}
	return r.verifySent(ctx, m, s)
}

// changed returns the error of a layer's upload. If the registry has got other bytes than
// those that the layer's digest was computed of, which are as announced, and the source
// announced no hash that would have told so, one of its files has changed meanwhile.
func (r *task) changed(s *layerStream, err error) error {
	if !isMismatch(err) || r.isVerifiable(s.plan) || s.read < s.plan.Size || s.verify() != nil {
		return err
	}
	return outcome.Errorf(outcome.Changed,
		"%s of %s had other bytes when it was read again: let nothing write there while a run reads, then request another run", s.plan.Files[0].Path, r.contents.Facts.SourceURL).Because(err)
}

// verifySent returns an error unless a layer that was uploaded is what its source
// announced. A layer whose first bytes an earlier run has sent must be read back for
// that.
func (r *task) verifySent(ctx context.Context, m *layerMove, s *layerStream) error {
	if !s.resumed {
		return s.verify()
	}
	if err := r.verifyStored(ctx, m, m.digest); err != nil {
		return err
	}
	return r.pass(ctx, m, 0)
}

// moveSmall reads a layer into memory, and pushes it from there.
func (r *task) moveSmall(ctx context.Context, m *layerMove) error {
	known := m.digest != ""
	if there, err := r.isThere(ctx, m); there || err != nil {
		return err
	}
	memory.AddBuffers(m.plan.Size)
	defer memory.AddBuffers(-m.plan.Size)
	content, err := r.readLayer(ctx, m)
	if err != nil {
		return err
	}
	if known {
		// isThere has found that it is missing.
		err = r.pushNew(ctx, m.blob(), content)
	} else {
		err = r.push(ctx, m.blob(), content)
	}
	if err == nil {
		r.run.Meter.Add(m.plan.Size)
		if !known && r.run.Share.IsPart() {
			// The last run shall not read it again.
			r.checkpoint.add(ctx, m)
		}
	}
	return err
}

// readLayer reads a small layer, and computes its digest.
func (r *task) readLayer(ctx context.Context, m *layerMove) ([]byte, error) {
	s := r.newLayerStream(m)
	s.meter = nil
	defer s.close()
	rc, err := s.open(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	content := bytes.NewBuffer(make([]byte, 0, m.plan.Size+bytes.MinRead))
	if _, err := content.ReadFrom(rc); err != nil {
		return nil, err
	}
	if m.digest, err = s.digest(ctx); err != nil {
		return nil, err
	}
	return content.Bytes(), s.verify()
}

// inspectAll inspects files that need not be moved.
func (r *task) inspectAll(ctx context.Context, files []modelpack.File) error {
	for _, f := range files {
		if err := r.inspect(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// inspect reads the beginning of a file, and more of it if that is not enough.
func (r *task) inspect(ctx context.Context, f modelpack.File) error {
	n, wanted := r.inspection.Wants(f.Path)
	if !wanted {
		return nil
	}
	for {
		err := r.inspectHead(ctx, f, n)
		if !errors.Is(err, io.ErrUnexpectedEOF) || n >= f.Size {
			return err
		}
		n = min(8*n, f.Size)
	}
}

// inspectHead inspects the first n bytes of a file, and verifies them if that is the
// whole file.
func (r *task) inspectHead(ctx context.Context, f modelpack.File, n int64) error {
	file := r.file(f)
	rc, err := r.source.Head(ctx, file, n)
	if err != nil {
		return err
	}
	defer rc.Close()
	v := file.NewVerifier()
	in := io.TeeReader(rc, v)
	if err := r.inspection.Read(f.Path, in); err != nil || n < f.Size {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	return v.Verify()
}
