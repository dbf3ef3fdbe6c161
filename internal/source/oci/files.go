package oci

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

const (
	// keptBytes limits the content of small files that is kept in memory from the
	// first read of an archive; keptFile is the largest such file.
	keptBytes = 8 << 20
	keptFile  = 256 << 10
)

// List implements source.Source. A raw layer is one file, whose hash is the layer's
// digest. An archive must be read to its end to list its files and their hashes. Only
// the content of small files is kept.
func (s *Source) List(ctx context.Context, meter *pipeline.Meter) ([]file.File, error) {
	layers, err := modelpack.ReadLayers(s.manifests.Main(), s.config)
	if err != nil {
		return nil, s.unfit(err)
	}
	s.places = map[string]place{}
	var archives []modelpack.Layer
	for _, l := range layers {
		if !known(l) {
			archives = append(archives, l)
		}
	}
	var found map[string][]modelpack.Entry
	if len(archives) > 0 {
		if found, err = s.indexAll(ctx, archives, meter); err != nil {
			return nil, err
		}
	}
	for _, l := range layers {
		entries, ok := found[l.Key()]
		if !ok {
			entries = []modelpack.Entry{{Path: l.Path, Size: l.Size, SHA256: l.Digest.Encoded()}}
		}
		if err := s.place(l, entries); err != nil {
			return nil, err
		}
	}
	s.logCompressed()
	return s.files()
}

// listedBytes is how many bytes of archives are read at most only to list the files in
// them: a ModelPack has each empty file in an archive of its own.
const listedBytes = 1 << 20

// Listed returns the files if List has been called, or if it needs to read no more than
// small archives, and reports whether that is so.
func (s *Source) Listed(ctx context.Context) ([]file.File, bool, error) {
	if s.places != nil {
		files, err := s.files()
		return files, err == nil, err
	}
	layers, err := modelpack.ReadLayers(s.manifests.Main(), s.config)
	if err != nil {
		return nil, false, s.unfit(err)
	}
	var archives int64
	for _, l := range layers {
		if !known(l) {
			archives += l.Size
		}
	}
	if archives > listedBytes {
		return nil, false, nil
	}
	files, err := s.List(ctx, nil)
	return files, err == nil, err
}

// logCompressed logs how many more bytes must be unpacked because several files
// are in one compressed layer, which can only be read from its start.
func (s *Source) logCompressed() {
	var files, dropped int64
	for _, p := range s.places {
		if !p.layer.IsPlain() && p.entry.Content == nil && p.entry.Offset > keptFile {
			files, dropped = files+1, dropped+p.entry.Offset
		}
	}
	if files > 0 {
		s.logf("%d files lie behind others in compressed layers, which are unpacked from their start for each: %s more than the files themselves", files, pipeline.FormatBytes(dropped))
	}
}

// known reports whether the descriptor of a layer determines the one file that it is.
func known(l modelpack.Layer) bool {
	return l.Encoding == modelpack.Raw && l.Digest.Algorithm() == digest.SHA256
}

// indexAll reads layers, a few in parallel, and returns the files in each by the
// layer's key.
func (s *Source) indexAll(ctx context.Context, layers []modelpack.Layer, meter *pipeline.Meter) (map[string][]modelpack.Entry, error) {
	slices.SortFunc(layers, func(a, b modelpack.Layer) int { return cmp.Compare(a.Key(), b.Key()) })
	layers = slices.CompactFunc(layers, func(a, b modelpack.Layer) bool { return a.Key() == b.Key() })
	var total int64
	for _, l := range layers {
		total += l.Size
	}
	meter.Plan("index", "copy")
	meter.Step("index", total)
	s.logf("%s of the layers are archives: they are read once to find out which files they hold, and again to pack these", pipeline.FormatBytes(total))
	found := make([][]modelpack.Entry, len(layers))
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(indexedAtOnce)
	for i, l := range layers {
		group.Go(func() error {
			var err error
			found[i], err = s.index(gctx, l, meter)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	out := make(map[string][]modelpack.Entry, len(layers))
	for i, l := range layers {
		out[l.Key()] = found[i]
	}
	return out, nil
}

// indexedAtOnce is how many layers are indexed in parallel.
const indexedAtOnce = 4

// index reads a layer to its end, verifies its digest, and returns the files in it.
func (s *Source) index(ctx context.Context, l modelpack.Layer, meter *pipeline.Meter) ([]modelpack.Entry, error) {
	rc := s.client.ReadBlob(ctx, s.ref.Repository, l.Descriptor, 0, l.Size, s.retries)
	defer rc.Close()
	in := &sourceReader{Reader: rc, meter: meter}
	entries, err := l.Entries(ctx, in, func(size int64) bool { return size <= keptFile && s.kept.take(size) })
	switch {
	case in.err != nil:
		return nil, s.lost(in.err, l.Descriptor)
	case errors.Is(err, modelpack.ErrDigest):
		return nil, s.Mismatch(l.Descriptor)
	case err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil:
		return nil, s.unfit(err)
	}
	return entries, nil
}

// place records where files are. If an image has a file twice, the later one counts
// (image-spec, layer.md, "Changeset over existing files").
func (s *Source) place(l modelpack.Layer, entries []modelpack.Entry) error {
	for _, e := range entries {
		before, twice := s.places[e.Path]
		if twice && before.entry.SHA256 != e.SHA256 && !l.Overlays() {
			return s.unfit(outcome.Errorf(outcome.Unsupported, "it holds the file %q twice, with different content", e.Path))
		}
		s.places[e.Path] = place{layer: l, entry: e}
	}
	return nil
}

// files returns all files. It returns an error if there are none, or if one is also a
// folder of another.
func (s *Source) files() ([]file.File, error) {
	if len(s.places) == 0 {
		return nil, s.unfit(outcome.Errorf(outcome.Unsupported, "it holds no files"))
	}
	if name, ok := modelpack.FileAndFolder(s.places); ok {
		return nil, s.unfit(outcome.Errorf(outcome.Unsupported, "it holds %q both as a file and as a folder", name))
	}
	out := make([]file.File, 0, len(s.places))
	for name, p := range s.places {
		out = append(out, file.File{Path: name, Size: p.entry.Size, SHA256: p.entry.SHA256})
	}
	slices.SortFunc(out, func(a, b file.File) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// openPlace returns a range of a file's bytes.
func (s *Source) openPlace(ctx context.Context, p place, from, to int64) (io.ReadCloser, error) {
	switch {
	case from >= to:
		return io.NopCloser(bytes.NewReader(nil)), nil
	case p.entry.Content != nil:
		return io.NopCloser(bytes.NewReader(p.entry.Content[from:to])), nil
	case to <= int64(len(p.entry.Head)):
		return io.NopCloser(bytes.NewReader(p.entry.Head[from:to])), nil
	case p.layer.IsPlain():
		rc := s.client.ReadBlob(ctx, s.ref.Repository, p.layer.Descriptor, p.entry.Offset+from, p.entry.Offset+to, s.retries)
		return &fileReader{Reader: rc, close: rc.Close, failed: func(err error) error { return s.lost(err, p.layer.Descriptor) }}, nil
	}
	return s.openCompressed(ctx, p, from, to)
}

// openCompressed reads a compressed layer from its start, and discards what precedes
// the file.
func (s *Source) openCompressed(ctx context.Context, p place, from, to int64) (io.ReadCloser, error) {
	rc := s.client.ReadBlob(ctx, s.ref.Repository, p.layer.Descriptor, 0, p.layer.Size, s.retries)
	in := &sourceReader{Reader: rc}
	out := &fileReader{
		close: rc.Close,
		failed: func(err error) error {
			if in.err != nil {
				return s.lost(in.err, p.layer.Descriptor)
			}
			// The archive was valid when it was indexed.
			return outcome.Errorf(outcome.Mismatch, "registry %s sent other bytes of %s@%s than before", s.ref.Registry, s.ref.Repository, p.layer.Digest).Because(err)
		},
	}
	plain, err := p.layer.Plain(ctx, in)
	if err != nil {
		_ = out.Close()
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, out.failed(err)
	}
	out.close = func() error { return errors.Join(plain.Close(), rc.Close()) }
	if _, err := io.CopyN(io.Discard, plain, p.entry.Offset+from); err != nil {
		_ = out.Close()
		return nil, out.failed(err)
	}
	out.Reader = io.LimitReader(plain, to-from)
	return out, nil
}

// A fileReader reads a file of an artifact.
type fileReader struct {
	io.Reader

	close  func() error
	failed func(err error) error
}

func (r *fileReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = r.failed(err)
	}
	return n, err
}

func (r *fileReader) Close() error {
	if r.close == nil {
		return nil
	}
	end := r.close
	r.close = nil
	return end()
}

// A sourceReader counts the bytes that are read, and records the error of a
// reader whose user may hide it.
type sourceReader struct {
	io.Reader

	meter *pipeline.Meter
	err   error
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.meter.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
