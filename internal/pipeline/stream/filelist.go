package stream

import (
	"context"
	"encoding/hex"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/source/oci"
)

// sums are the SHA-256 of files that the source announced none of, taken while they
// were verified.
type sums struct {
	mu sync.Mutex
	of map[string][32]byte
}

// add records what a verifier has hashed.
func (s *sums) add(f file.File, v *file.Verifier) {
	if f.SHA256 != "" {
		return
	}
	sum := [32]byte{}
	if n, err := hex.Decode(sum[:], []byte(v.SHA256())); err != nil || n != len(sum) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string][32]byte{}
	}
	s.of[f.Path] = sum
}

// find returns the SHA-256 of a file in hex; "" if it is not known.
func (s *sums) find(f file.File) string {
	if f.SHA256 != "" {
		return f.SHA256
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sum, ok := s.of[f.Path]
	if !ok {
		return ""
	}
	return hex.EncodeToString(sum[:])
}

// packedFiles returns the files of an artifact that was packed, each with its SHA-256:
// that which the source announced, that of a raw layer, or that of the bytes which were
// verified.
func (r *task) packedFiles(layout *modelpack.Layout) []file.File {
	files := make([]file.File, 0, r.packed)
	for i, l := range layout.Layers {
		for _, f := range l.Files {
			file := r.file(f)
			if l.Raw {
				file.SHA256 = r.digests[i].Encoded()
			} else {
				file.SHA256 = r.sums.find(file)
			}
			files = append(files, file)
		}
	}
	return files
}

// copiedFiles returns the files of an artifact that is copied as it is; none if that
// needs archives of many bytes to be read.
func (r *task) copiedFiles(ctx context.Context, o *oci.Source) ([]file.File, error) {
	files, ok, err := o.Listed(ctx)
	switch {
	case outcome.ReasonOf(err) == outcome.Unsupported:
		r.log.Printf("the artifact gets no list of its files, and so no bill of materials: %s", err)
		return nil, nil
	case err != nil:
		return nil, err
	case !ok:
		r.log.Printf("the artifact gets no list of its files, and so no bill of materials: it is copied, and the archives with its files are not read")
	}
	return files, nil
}

// list returns the list of some files.
func (r *task) list(ctx context.Context, files []file.File) filelist.List {
	l := filelist.List{Files: make([]filelist.File, 0, len(files)), Model: r.contents.Model}
	formats := r.source.Formats(ctx, files)
	for i, f := range files {
		l.Files = append(l.Files, filelist.File{Path: f.Path, Size: f.Size, SHA256: f.SHA256, Format: formats[i]})
	}
	l.Model.Scan = r.source.Verdict()
	return l
}

// pushList pushes the list of some files beside the staged artifact and returns its
// digest; "" for none.
func (r *task) pushList(ctx context.Context, a modelpack.Artifact, files []file.File) (string, error) {
	if len(files) == 0 {
		return "", nil
	}
	d, err := pipeline.PushFileList(ctx, r.registry, r.run.Target.Repository, a.Descriptor, r.list(ctx, files), r.log.Printf)
	return d.String(), err
}
