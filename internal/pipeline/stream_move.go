package pipeline

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

// move brings all files into the repository, a few side by side, and returns a
// layer for each. Of files with the same content, one is moved.
func (r *streamRun) move(ctx context.Context, files []hub.File) ([]ocispec.Descriptor, error) {
	var mu sync.Mutex
	digests := make(map[hub.File]digest.Digest, len(files))

	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(r.parallel)
	for _, f := range distinct(files) {
		group.Go(func() error {
			d, err := r.moveFile(gctx, f)
			mu.Lock()
			defer mu.Unlock()
			digests[contentOf(f)] = d
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	layers := make([]ocispec.Descriptor, 0, len(files))
	for _, f := range files {
		layers = append(layers, modelpack.LayerFor(f.Path, f.Size, digests[contentOf(f)]))
	}
	return layers, nil
}

// contentOf is a file without its path: what files with the same content share.
func contentOf(f hub.File) hub.File {
	f.Path = ""
	return f
}

// distinct returns one file of each content, the largest first, so that the
// last ones to end are short.
func distinct(files []hub.File) []hub.File {
	seen := make(map[hub.File]bool, len(files))
	var out []hub.File
	for _, f := range files {
		if !seen[contentOf(f)] {
			seen[contentOf(f)] = true
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b hub.File) int { return int(min(1, max(-1, b.Size-a.Size))) })
	return out
}

// moveFile brings one file into the repository, and returns its digest.
func (r *streamRun) moveFile(ctx context.Context, f hub.File) (digest.Digest, error) {
	start := time.Now()
	if f.SHA256 == "" && f.Size <= r.inMemory {
		d, err := r.moveSmall(ctx, f)
		if err == nil {
			r.log.Printf("%s: %s in %s", f.Path, formatBytes(f.Size), inSeconds(start))
		}
		return d, err
	}
	if f.SHA256 == "" {
		hashed, err := r.hash(ctx, f)
		if err != nil {
			return "", err
		}
		f = hashed
	}
	layer := modelpack.LayerFor(f.Path, f.Size, digest.NewDigestFromEncoded(digest.SHA256, f.SHA256))
	has, err := r.registry.HasBlob(ctx, r.run.Target.Repository, layer)
	if err != nil {
		return "", err
	}
	if has {
		r.log.Printf("%s: %s, in the registry already", f.Path, formatBytes(f.Size))
		return layer.Digest, nil
	}
	err = r.again.Do(ctx, f.Path, func() error { return r.pipe(ctx, f, layer) })
	if err != nil {
		return "", err
	}
	r.log.Printf("%s: %s in %s", f.Path, formatBytes(f.Size), inSeconds(start))
	return layer.Digest, nil
}

// pipe moves a file's bytes from the Hub to the registry, once.
func (r *streamRun) pipe(ctx context.Context, f hub.File, layer ocispec.Descriptor) error {
	rc, err := r.open(ctx, f)
	if err != nil {
		return err
	}
	defer rc.Close()
	v := f.NewVerifier()
	source := &endNoter{Reader: io.TeeReader(rc, v)}
	err = r.registry.PushBlob(ctx, r.run.Target.Repository, layer, source)
	if err != nil && !source.ended && v.Size() < f.Size {
		return err
	}
	// Where the Hub sent other bytes, the registry refuses them, or the request
	// fails for their number. The cause is what to tell.
	if verr := v.Verify(); verr != nil {
		return verr
	}
	return err
}

// An endNoter notes whether a stream came to its end.
type endNoter struct {
	io.Reader

	ended bool
}

func (e *endNoter) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		e.ended = true
	}
	return n, err
}

// hash reads a file that is too large to hold and whose SHA-256 the Hub does
// not know, and returns it with that.
func (r *streamRun) hash(ctx context.Context, f hub.File) (hub.File, error) {
	err := r.again.Do(ctx, f.Path, func() error {
		v, err := r.read(ctx, f, io.Discard)
		if err == nil {
			f.SHA256 = v.SHA256()
		}
		return err
	})
	return f, err
}

// moveSmall takes a file whose digest is not known beforehand into memory, and
// pushes it from there.
func (r *streamRun) moveSmall(ctx context.Context, f hub.File) (digest.Digest, error) {
	var buf bytes.Buffer
	var sum digest.Digest
	err := r.again.Do(ctx, f.Path, func() error {
		buf.Reset()
		v, err := r.read(ctx, f, &buf)
		if err == nil {
			sum = digest.NewDigestFromEncoded(digest.SHA256, v.SHA256())
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return sum, r.again.Do(ctx, f.Path, func() error {
		return r.pushBytes(ctx, modelpack.LayerFor(f.Path, f.Size, sum), buf.Bytes())
	})
}

// read reads a file into w, once, and holds it against what the Hub announced.
// It reads no more than one byte too many.
func (r *streamRun) read(ctx context.Context, f hub.File, w io.Writer) (*hub.Verifier, error) {
	rc, err := r.open(ctx, f)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	v := f.NewVerifier()
	if _, err := io.Copy(io.MultiWriter(w, v), io.LimitReader(rc, f.Size+1)); err != nil {
		return nil, err
	}
	return v, v.Verify()
}

// open opens a file. The Hub's client has tried again already where that
// helps.
func (r *streamRun) open(ctx context.Context, f hub.File) (io.ReadCloser, error) {
	rc, err := r.hub.Open(ctx, r.run.Source.Model, r.revision.Commit, f.Path)
	if err != nil {
		return nil, retry.Settled(err)
	}
	return rc, nil
}
