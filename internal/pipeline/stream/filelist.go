package stream

import (
	"context"
	"encoding/hex"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	"github.com/crossplane-contrib/provider-kitops/internal/memory"
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
			if file.SHA256 != "" {
				// A verifier does not look at it then.
				file.GitSHA1 = ""
			}
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

// verifiedPatience limits how long the list of files of an earlier run is waited for: a run
// without it takes longer, and ends as well.
const verifiedPatience = 30 * time.Second

// readVerified reads the list of files that an earlier run of the Artifact has verified, if
// the run has one, and keeps what it says of the files of raw layers among these moves. The
// list is known by its digest, which that run reported: who changed it would have given it
// another. No failure to read it fails the run, which reads layers back then.
func (r *task) readVerified(ctx context.Context, moves []*layerMove) {
	if r.run.VerifiedFiles == "" {
		return
	}
	wanted := map[string]bool{}
	for _, m := range moves {
		if m.plan.Raw {
			for _, f := range m.files() {
				wanted[f.Path] = true
			}
		}
	}
	if len(wanted) == 0 {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, verifiedPatience)
	defer cancel()
	b, err := r.registry.Blob(waiting, r.run.Target.Repository, digest.Digest(r.run.VerifiedFiles), filelist.MaxBytes)
	memory.AddBuffers(int64(len(b)))
	defer memory.AddBuffers(-int64(len(b)))
	var l filelist.List
	if err == nil {
		l, err = filelist.Decode(b)
	}
	if err != nil {
		r.log.Printf("cannot read the list of files that an earlier run has verified: what the registry has of them is read back: %s", err)
		return
	}
	r.verified = map[string]filelist.File{}
	for _, f := range l.Files {
		if wanted[f.Path] {
			r.verified[f.Path] = f
		}
	}
}

// verifiedAs returns what the list of an earlier run says of a file, if it is that content.
func (r *task) verifiedAs(f modelpack.File) (filelist.File, bool) {
	was, ok := r.verified[f.Path]
	is := r.file(f)
	same := is.SHA256 != "" && is.SHA256 == was.SHA256 || is.SHA256 == "" && is.GitSHA1 != "" && is.GitSHA1 == was.GitSHA1
	return was, ok && same && is.Size == was.Size
}

// verifiedDigest returns the digest of a raw layer whose files an earlier run has verified;
// empty if it is not known of one of them.
func (r *task) verifiedDigest(m *layerMove) digest.Digest {
	out := ""
	for _, f := range m.files() {
		was, ok := r.verifiedAs(f)
		if !ok || out != "" && out != was.SHA256 {
			return ""
		}
		out = was.SHA256
	}
	return digest.NewDigestFromEncoded(digest.SHA256, out)
}

// recallFormats records the formats of a raw layer's files, whose first bytes are not read, as
// an earlier run has told them.
func (r *task) recallFormats(m *layerMove) {
	for _, f := range m.files() {
		if was, ok := r.verifiedAs(f); ok && m.plan.Raw {
			r.source.RecordFormat(r.file(f), was.Format)
		}
	}
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
		l.Files = append(l.Files, filelist.File{Path: f.Path, Size: f.Size, SHA256: f.SHA256, GitSHA1: f.GitSHA1, Format: formats[i]})
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
