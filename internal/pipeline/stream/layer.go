package stream

import (
	"context"
	"io"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// A layerStream reads a layer from the source of its files, verifies and inspects
// each file, and computes the layer's digest. A registry may request bytes again:
// they are not hashed twice, and the registry verifies that it got the same ones,
// since it compares all of them with the digest. A layerStream is for one reader at
// a time, beside one that calls state.
//
// If an earlier run has sent the first bytes, the files are not verified here: the
// caller must verify what the registry stores.
type layerStream struct {
	run   *task
	plan  modelpack.LayerPlan
	alike []modelpack.File // Files of other layers with the same content.
	meter *pipeline.Meter

	// files are the files that were begun and not verified yet. A layer may have tens of
	// thousands, so that a file that is not read takes no memory here.
	files    map[string]*fileStream
	verified map[string]bool

	resumed  bool // An earlier run has sent the first bytes.
	restored bool // sum includes them.

	mu   sync.Mutex
	read int64      // The number of the layer's bytes that were read so far.
	sum  *layerHash // Of these bytes; nil for a raw layer, whose file has it.
}

func (r *task) newLayerStream(m *layerMove) *layerStream {
	s := &layerStream{run: r, plan: m.plan, alike: m.alike, meter: r.run.Meter, files: map[string]*fileStream{}, verified: map[string]bool{}}
	if m.plan.Raw {
		return s
	}
	if m.plan.Size <= r.inMemory {
		s.sum = newLayerHash(nil)
		return s
	}
	s.sum = newLayerHash(r.hashers.spare)
	r.hashers.now.Add(1)
	return s
}

// file returns the stream of one of the layer's files.
func (s *layerStream) file(f modelpack.File) *fileStream {
	if known, ok := s.files[f.Path]; ok {
		return known
	}
	file := s.run.file(f)
	out := &fileStream{layer: s, file: file}
	if !s.verified[f.Path] {
		out.verifier = file.NewVerifier()
		out.inspectors = s.run.inspectors(append([]modelpack.File{f}, s.alike...))
		s.files[f.Path] = out
	}
	return out
}

// inspectors returns a writer for each of these files of the same content that must be
// inspected.
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
	queue := s.run.prefetcher.queue(ctx, s.plan.Files, func(ctx context.Context, f modelpack.File, at int64) (io.ReadCloser, error) {
		return s.run.source.Open(ctx, s.run.file(f), at)
	})
	rc := s.plan.Open(from, func(f modelpack.File, at int64) (io.ReadCloser, error) {
		return s.file(f).open(queue.open, f, at)
	})
	r := &rereader{ReadCloser: &queuedReader{ReadCloser: rc, queue: queue}, at: from, passed: s.passed}
	if _, err := io.CopyN(io.Discard, r, offset-from); err != nil {
		_ = r.Close()
		return nil, err
	}
	return r, nil
}

// A queuedReader reads a layer whose files come from a queue.
type queuedReader struct {
	io.ReadCloser

	queue *fileQueue
}

// Read fills p, since what is read is sent at once: the pieces of an archive of small
// files are short, and so are the records of a connection with TLS.
func (r *queuedReader) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := r.ReadCloser.Read(p[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close implements io.Closer.
func (r *queuedReader) Close() error {
	err := r.ReadCloser.Close()
	r.queue.close()
	return err
}

// from returns where to start reading for bytes from an offset on: earlier, if an
// earlier run has sent bytes that sum does not include.
func (s *layerStream) from(offset int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case offset == 0 && s.restored:
		// The upload that sum belongs to is gone.
		s.meter.Skip(-s.read)
		s.read, s.resumed, s.restored = 0, false, false
		s.sum.reset()
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

// restore resumes the hash of what an earlier run has read. The record may be
// forged: then the layer's digest is a different one.
func (s *layerStream) restore(from uploadRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from.Read <= 0 || from.Read > s.plan.Size || !s.sum.restore(from.State, from.Read) {
		return
	}
	s.read, s.resumed, s.restored = from.Read, true, true
	s.meter.Skip(from.Read)
}

// digest returns the layer's digest, after reading what was not read yet.
func (s *layerStream) digest(ctx context.Context) (digest.Digest, error) {
	if s.read < s.plan.Size {
		if err := s.readOn(ctx); err != nil {
			return "", err
		}
	}
	if s.sum != nil {
		return s.sum.digest(), nil
	}
	return digest.NewDigestFromEncoded(digest.SHA256, s.file(s.plan.Files[0]).verifier.SHA256()), nil
}

// readOn reads the rest of the layer.
func (s *layerStream) readOn(ctx context.Context) error {
	rc, err := s.open(ctx, s.read)
	if err != nil {
		return err
	}
	defer rc.Close()
	_, err = io.Copy(io.Discard, rc)
	return err
}

// verify returns an error unless all files are what the source announced.
func (s *layerStream) verify() error {
	for _, f := range s.plan.Files {
		if err := s.file(f).verify(); err != nil {
			return err
		}
	}
	return nil
}

// close ends the inspection of the files, and the hashing.
func (s *layerStream) close() {
	for _, f := range s.files {
		f.close()
	}
	if s.sum == nil {
		return
	}
	s.sum.close()
	if s.sum.spare != nil {
		s.run.hashers.now.Add(-1)
	}
}

// passed hashes and counts the bytes that were not read before.
func (s *layerStream) passed(p []byte, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := fresh(p, at, s.read)
	if s.sum != nil {
		_, _ = s.sum.Write(added)
	}
	s.read += int64(len(added))
	if s.meter != nil {
		s.run.moved(int64(len(added)))
	}
}

// A rereader reads bytes of which some may have been read before.
type rereader struct {
	io.ReadCloser

	at     int64                                   // The offset of the next byte.
	passed func(p []byte, at int64)                // Is called with the bytes that were read, and their offset.
	check  func(n int, end int64, err error) error // Returns the error for a read that ends there; nil for err itself.
}

// Read implements io.Reader.
func (r *rereader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.passed(p[:n], r.at)
	r.at += int64(n)
	if r.check != nil {
		err = r.check(n, r.at, err)
	}
	return n, err
}

// fresh returns those of the bytes at an offset that follow the first read ones; none
// if there is a gap.
func fresh(p []byte, at, read int64) []byte {
	known := read - at
	if known < 0 || known > int64(len(p)) {
		return nil
	}
	return p[known:]
}

// A fileStream is a file that is read in order, and maybe in parts again.
type fileStream struct {
	layer      *layerStream
	file       file.File
	verifier   *file.Verifier   // Nil once the file was verified.
	inspectors []io.WriteCloser // Of this file, and of others with the same content.
}

// open returns the file's bytes from an offset on. The last ones come with an error
// if they are not what the source announced.
func (f *fileStream) open(open modelpack.OpenFunc, planned modelpack.File, offset int64) (io.ReadCloser, error) {
	rc, err := open(planned, offset)
	if err != nil {
		return nil, retry.Permanent(err)
	}
	return &rereader{ReadCloser: rc, at: offset, passed: f.passed, check: f.check}, nil
}

// verify returns an error unless the file is what the source announced. A file of an
// archive takes no memory afterwards.
func (f *fileStream) verify() error {
	if f.verifier == nil {
		return nil
	}
	if err := f.verifier.Verify(); err != nil {
		return err
	}
	if f.layer.plan.Raw {
		// Its hash is the layer's.
		return nil
	}
	f.layer.run.sums.add(f.file, f.verifier)
	f.layer.verified[f.file.Path] = true
	f.close()
	delete(f.layer.files, f.file.Path)
	f.verifier, f.inspectors = nil, nil
	return nil
}

// close ends the file's inspection.
func (f *fileStream) close() {
	for _, i := range f.inspectors {
		_ = i.Close()
	}
}

// passed hashes and inspects the bytes that were not read before.
func (f *fileStream) passed(p []byte, at int64) {
	if f.verifier == nil {
		return
	}
	added := fresh(p, at, f.verifier.Size())
	if len(added) == 0 {
		return
	}
	_, _ = f.verifier.Write(added)
	for _, i := range f.inspectors {
		_, _ = i.Write(added)
	}
}

// check verifies the file at its end. Errors are final: the source has retried.
func (f *fileStream) check(n int, end int64, err error) error {
	if err != nil && !errors.Is(err, io.EOF) {
		return retry.Permanent(err)
	}
	if n > 0 && end == f.file.Size && !f.layer.resumed {
		if verr := f.verify(); verr != nil {
			return retry.Permanent(verr)
		}
	}
	return err
}
