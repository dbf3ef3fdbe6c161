package stream

import (
	"context"
	"sync"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// maxMountFrom is how many artifacts are read for blobs to mount.
const maxMountFrom = 4

// maxRefusals is how often in a row a mount from a repository may fail before no more
// are tried: some registries mount nothing.
const maxRefusals = 3

// mounts are the repositories that blobs may be mounted from, by blob.
type mounts struct {
	once sync.Once
	of   map[digest.Digest][]string

	mu      sync.Mutex
	refused map[string]int // Failures in a row, by repository.
}

// tries reports whether to try mounts from a repository.
func (m *mounts) tries(repository string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.refused[repository] < maxRefusals
}

// note records whether a blob was mounted, and reports whether no more mounts will be
// tried because of that.
func (m *mounts) note(repository string, mounted bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refused == nil {
		m.refused = map[string]int{}
	}
	if mounted {
		m.refused[repository] = 0
		return false
	}
	m.refused[repository]++
	return m.refused[repository] == maxRefusals
}

// mountable returns, by blob, the repositories of the target's registry that have
// it, according to the manifests of the artifacts that the run names. It reads them
// once. One that cannot be read fails no run.
func (r *task) mountable(ctx context.Context) map[digest.Digest][]string {
	r.mounts.once.Do(func() {
		r.mounts.of = map[digest.Digest][]string{}
		for _, name := range r.run.MountFrom[:min(len(r.run.MountFrom), maxMountFrom)] {
			repository, blobs, err := r.blobsAt(ctx, name)
			if err != nil {
				r.log.Printf("nothing is mounted from %s: %s", name, err)
				continue
			}
			for _, b := range blobs {
				r.mounts.of[b.Digest] = append(r.mounts.of[b.Digest], repository)
			}
		}
	})
	return r.mounts.of
}

// blobsAt returns the blobs of an artifact that is named as repository@digest.
func (r *task) blobsAt(ctx context.Context, name string) (string, []ocispec.Descriptor, error) {
	ref, err := registry.ParseReference(r.run.Target.Registry + "/" + name)
	if err != nil {
		return "", nil, err
	}
	if ref.Digest == "" || ref.Repository == r.run.Target.Repository {
		return "", nil, outcome.Errorf(outcome.Unsupported, "it is not an artifact of another repository, named by its digest")
	}
	_, manifest, err := r.registry.Manifest(ctx, ref.Repository, ref.Digest.String())
	if err != nil {
		return "", nil, err
	}
	manifests, err := modelpack.ReadManifests(ctx, r.registry, ref.Repository, manifest)
	if err != nil {
		return "", nil, err
	}
	blobs, err := manifests.Blobs()
	return ref.Repository, blobs, err
}

// mountFrom mounts a blob from another repository of the registry, and reports whether
// that worked: from first, if it is not empty, then from those that have the blob. A
// blob that cannot be mounted, for whatever reason, can be moved.
func (r *task) mountFrom(ctx context.Context, d ocispec.Descriptor, name, first string) bool {
	from := r.mountable(ctx)[d.Digest]
	if first != "" {
		from = append([]string{first}, from...)
	}
	for _, repository := range from {
		if !r.mounts.tries(repository) {
			continue
		}
		mounted, err := r.registry.Mount(ctx, r.run.Target.Repository, repository, d)
		if r.mounts.note(repository, mounted) {
			r.log.Printf("the registry mounts nothing from %s: no more mounts are tried", repository)
		}
		if err != nil {
			r.log.Printf("%s: not mounted from %s: %s", name, repository, err)
			continue
		}
		if mounted && d.Size > r.inMemory {
			r.log.Printf("%s: %s, mounted from %s", name, pipeline.FormatBytes(d.Size), repository)
		}
		if mounted {
			return true
		}
	}
	return false
}
