package oci

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

const (
	// keptBytes is how much of small files' content is kept in memory from the
	// first time that an archive is read, and keptFile how large such a file
	// is at most.
	keptBytes = 8 << 20
	keptFile  = 256 << 10
)

// List implements source.Source: it finds out which files the artifact holds. A raw layer is one, which its
// digest tells all of. An archive is read to its end for that: its digest says
// nothing of the files in it, and a file's own hash is nowhere else. No byte of
// it is kept but those of small files.
func (s *Source) List(ctx context.Context, meter *pipeline.Meter) ([]hub.File, error) {
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
	s.tellOfCompressed()
	return s.files()
}

// tellOfCompressed tells how much more than the layers themselves has to be read
// where several files are in a compressed one, which cannot be entered but at
// its start.
func (s *Source) tellOfCompressed() {
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

// known says whether a layer's descriptor tells all of the one file that it is.
func known(l modelpack.Layer) bool {
	return l.Encoding == modelpack.Raw && l.Digest.Algorithm() == digest.SHA256
}

// indexAll reads layers, a few side by side, and returns the files in each, by the
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

// indexedAtOnce is how many layers are indexed side by side.
const indexedAtOnce = 4

// index reads a layer to its end, holds it against its digest, and returns the
// files in it.
func (s *Source) index(ctx context.Context, l modelpack.Layer, meter *pipeline.Meter) ([]modelpack.Entry, error) {
	rc := s.client.ReadBlob(ctx, s.ref.Repository, l.Descriptor, 0, l.Size, s.again)
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

// place notes where files are. Of a file that an image has twice the later one
// counts (image-spec, layer.md, "Changeset over existing files").
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

// files returns all files, of which there must be some, and none may be a folder
// of another.
func (s *Source) files() ([]hub.File, error) {
	if len(s.places) == 0 {
		return nil, s.unfit(outcome.Errorf(outcome.Unsupported, "it holds no files"))
	}
	if name, ok := modelpack.FileAndFolder(s.places); ok {
		return nil, s.unfit(outcome.Errorf(outcome.Unsupported, "it holds %q both as a file and as a folder", name))
	}
	out := make([]hub.File, 0, len(s.places))
	for name, p := range s.places {
		out = append(out, hub.File{Path: name, Size: p.entry.Size, SHA256: p.entry.SHA256})
	}
	slices.SortFunc(out, func(a, b hub.File) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

// openPlace returns a file's bytes from one place in it up to another.
func (s *Source) openPlace(ctx context.Context, p place, from, to int64) (io.ReadCloser, error) {
	switch {
	case from >= to:
		return io.NopCloser(bytes.NewReader(nil)), nil
	case p.entry.Content != nil:
		return io.NopCloser(bytes.NewReader(p.entry.Content[from:to])), nil
	case p.layer.IsPlain():
		rc := s.client.ReadBlob(ctx, s.ref.Repository, p.layer.Descriptor, p.entry.Offset+from, p.entry.Offset+to, s.again)
		return &fileReader{Reader: rc, close: rc.Close, failed: func(err error) error { return s.lost(err, p.layer.Descriptor) }}, nil
	}
	return s.openCompressed(ctx, p, from, to)
}

// openCompressed reads a compressed layer from its start, and drops what comes
// before the file.
func (s *Source) openCompressed(ctx context.Context, p place, from, to int64) (io.ReadCloser, error) {
	rc := s.client.ReadBlob(ctx, s.ref.Repository, p.layer.Descriptor, 0, p.layer.Size, s.again)
	in := &sourceReader{Reader: rc}
	out := &fileReader{
		close: rc.Close,
		failed: func(err error) error {
			if in.err != nil {
				return s.lost(in.err, p.layer.Descriptor)
			}
			// It was a sound archive when it was read first.
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
