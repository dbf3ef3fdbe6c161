package stream

import (
	"context"
	"crypto/sha256"
	"encoding"
	"hash"
	"io"
	"sync"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
)

// A layerStream reads a layer from its files' source, holds each file against
// what was announced, has it inspected, and finds out the layer's digest. A
// registry may ask for bytes again: what was hashed is not hashed twice, and
// whether the same bytes come again is for the registry to see, which holds all
// of them against the digest. It is for one reader at a time, beside one that asks
// for its state.
//
// Where an earlier run has sent the first bytes, files are not verified here: the
// caller must verify what the registry has.
type layerStream struct {
	run   *task
	plan  modelpack.LayerPlan
	meter *pipeline.Meter
	files map[string]*fileStream

	resumed  bool // An earlier run has sent the first bytes.
	restored bool // What it has read is in sum.

	mu   sync.Mutex
	read int64     // How many of the layer's bytes were read so far.
	sum  hash.Hash // Of these; nil for a raw layer, whose file's it is.
}

func (r *task) newLayerStream(m *layerMove) *layerStream {
	s := &layerStream{run: r, plan: m.plan, meter: r.run.Meter, files: make(map[string]*fileStream, len(m.plan.Files))}
	for _, f := range m.plan.Files {
		file := r.file(f)
		s.files[f.Path] = &fileStream{layer: s, file: file, verifier: file.NewVerifier(), inspectors: r.inspectors(append([]modelpack.File{f}, m.alike...))}
	}
	if !m.plan.Raw {
		s.sum = sha256.New()
	}
	return s
}

// inspectors return what inspects files of the same content.
func (r *task) inspectors(files []modelpack.File) []io.WriteCloser {
	var out []io.WriteCloser
	for _, f := range files {
		if _, wanted := r.inspection.Wants(f.Path); wanted {
			out = append(out, r.inspection.Writer(f.Path))
		}
	}
	return out
}

// open returns the layer's bytes from an offset on. It is a registry.Source.
func (s *layerStream) open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	from, err := s.from(offset)
	if err != nil {
		return nil, err
	}
	rc := s.plan.Open(from, func(f modelpack.File, at int64) (io.ReadCloser, error) {
		return s.files[f.Path].open(ctx, s.run.source, at)
	})
	r := &layerReader{ReadCloser: rc, stream: s, at: from}
	if _, err := io.CopyN(io.Discard, r, offset-from); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// from returns where to begin to read for bytes from an offset on: earlier, where
// an earlier run has sent bytes that are not in the sum.
func (s *layerStream) from(offset int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case offset == 0 && s.restored:
		// The session is gone, and with it what the sum is of.
		s.meter.Skip(-s.read)
		s.read, s.resumed, s.restored = 0, false, false
		s.sum.Reset()
	case offset > s.read && s.sum != nil:
		s.resumed = true
		return s.read, nil
	case offset > s.read:
		s.resumed = true
		s.meter.Skip(offset - s.read)
		s.read = offset
	}
	return offset, nil
}

// restore resumes the sum of what an earlier run has read. The record may be
// forged: then the layer's digest is another one.
func (s *layerStream) restore(from uploadRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, ok := sha256.New().(interface {
		hash.Hash
		encoding.BinaryUnmarshaler
	})
	if !ok || from.Read <= 0 || from.Read > s.plan.Size || sum.UnmarshalBinary(from.State) != nil {
		return
	}
	s.sum, s.read, s.resumed, s.restored = sum, from.Read, true, true
	s.meter.Skip(from.Read)
}

// state is an uploadState.
func (s *layerStream) state() (int64, []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.sum.(encoding.BinaryMarshaler)
	if !ok {
		return 0, nil
	}
	b, err := m.MarshalBinary()
	if err != nil {
		return 0, nil
	}
	return s.read, b
}

// digest returns the layer's digest. What was not read yet is read for it.
func (s *layerStream) digest(ctx context.Context) (digest.Digest, error) {
	if s.read < s.plan.Size {
		if err := s.readOn(ctx); err != nil {
			return "", err
		}
	}
	if s.sum != nil {
		return digest.NewDigest(digest.SHA256, s.sum), nil
	}
	return digest.NewDigestFromEncoded(digest.SHA256, s.files[s.plan.Files[0].Path].verifier.SHA256()), nil
}

// readOn reads what was not read yet.
func (s *layerStream) readOn(ctx context.Context) error {
	rc, err := s.open(ctx, s.read)
	if err != nil {
		return err
	}
	defer rc.Close()
	_, err = io.Copy(io.Discard, rc)
	return err
}

// verify says whether all files were what was announced.
func (s *layerStream) verify() error {
	for _, f := range s.plan.Files {
		if err := s.files[f.Path].verify(); err != nil {
			return err
		}
	}
	return nil
}

// close ends the inspection of the files.
func (s *layerStream) close() {
	for _, f := range s.files {
		for _, i := range f.inspectors {
			_ = i.Close()
		}
	}
}

// A layerReader hashes and counts what was not read before.
type layerReader struct {
	io.ReadCloser

	stream *layerStream
	at     int64
}

func (r *layerReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	s := r.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	added := fresh(p[:n], r.at, s.read)
	if s.sum != nil {
		_, _ = s.sum.Write(added)
	}
	s.read += int64(len(added))
	s.meter.Add(int64(len(added)))
	r.at += int64(n)
	return n, err
}

// fresh returns those of some bytes, from a place on, that come after the ones
// that were read before; none where some between are missing.
func fresh(p []byte, at, read int64) []byte {
	known := read - at
	if known < 0 || known > int64(len(p)) {
		return nil
	}
	return p[known:]
}

// A fileStream is a file that is read, in order, and maybe parts of it again.
type fileStream struct {
	layer      *layerStream
	file       hub.File
	verifier   *hub.Verifier
	inspectors []io.WriteCloser // Of this file, and of others with the same content.
	verified   bool
}

// open returns the file's bytes from an offset on, the last of which come with
// an error if they are not what was announced.
func (f *fileStream) open(ctx context.Context, src source.Source, offset int64) (io.ReadCloser, error) {
	rc, err := src.Open(ctx, f.file, offset)
	if err != nil {
		return nil, retry.Permanent(err)
	}
	return &fileReader{ReadCloser: rc, stream: f, at: offset}, nil
}

// verify says whether the file was what was announced. It is only asked once:
// the answer does not change.
func (f *fileStream) verify() error {
	if f.verified {
		return nil
	}
	err := f.verifier.Verify()
	f.verified = err == nil
	return err
}

// A fileReader has the bytes verified and inspected that were not read before.
type fileReader struct {
	io.ReadCloser

	stream *fileStream
	at     int64
}

func (r *fileReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	f := r.stream
	if added := fresh(p[:n], r.at, f.verifier.Size()); len(added) > 0 {
		_, _ = f.verifier.Write(added)
		for _, i := range f.inspectors {
			_, _ = i.Write(added)
		}
	}
	r.at += int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		// The origin has tried again already.
		return n, retry.Permanent(err)
	case n > 0 && r.at == f.file.Size && !f.layer.resumed:
		if verr := f.verify(); verr != nil {
			return n, retry.Permanent(verr)
		}
	}
	return n, err
}
