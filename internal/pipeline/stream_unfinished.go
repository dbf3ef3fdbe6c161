package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// annotationFiles says of a layer which files it is of.
const annotationFiles = "io.crossplane.m.kitops.files"

// An unfinished artifact is what a run has pushed so far of one whose layers
// nobody knows the digests of before their bytes were read: archives. It is a
// manifest in the registry, under a tag of the run hash's own, that says which
// layer is of which files. So a run whose Pod dies leaves to the next one what
// it has moved, and the registry does not collect it. Whatever goes wrong with
// it fails no run.
type unfinished struct {
	run    *streamRun
	format modelpack.Format

	mu     sync.Mutex
	layers []ocispec.Descriptor
	tagged bool
}

// newUnfinished returns what earlier runs for the same run hash have left.
func (r *streamRun) newUnfinished(ctx context.Context, layout *modelpack.Layout) *unfinished {
	u := &unfinished{run: r, format: layout.Format}
	if u.tag() == "" || layout.Format == modelpack.FormatModelPack {
		return u
	}
	_, b, err := r.registry.Manifest(ctx, r.run.Target.Repository, u.tag())
	if err != nil {
		if !registry.IsNotFound(err) && !registry.IsUnauthorized(err) {
			r.log.Printf("cannot look for what an earlier run has left: %s", err)
		}
		return u
	}
	var m ocispec.Manifest
	if json.Unmarshal(b, &m) == nil && m.ArtifactType == provenance.UnfinishedType {
		u.layers, u.tagged = m.Layers, true
	}
	return u
}

// tag of the manifest; empty for a run that no other takes up.
func (u *unfinished) tag() string {
	if u.run.claim.isNobodys() {
		return ""
	}
	return provenance.UnfinishedTag(u.run.run.RunHash)
}

// find returns the digest of a layer that an earlier run has pushed; empty for
// none.
func (u *unfinished) find(p modelpack.LayerPlan) digest.Digest {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := u.key(p)
	for _, l := range u.layers {
		if l.Annotations[annotationFiles] == key && l.Size == p.Size && l.Digest.Validate() == nil {
			return l.Digest
		}
	}
	return ""
}

// add notes a layer that has been pushed.
func (u *unfinished) add(ctx context.Context, m *layerMove) {
	if u.tag() == "" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	l := m.blob()
	l.Annotations = map[string]string{annotationFiles: u.key(m.plan)}
	u.layers = append(u.layers, l)
	if err := u.push(ctx); err != nil && ctx.Err() == nil {
		u.run.log.Printf("if this run ends early, the next one moves %s again: %s", m.plan.Files[0].Path, err)
	}
}

// push pushes the manifest.
func (u *unfinished) push(ctx context.Context) error {
	empty := ocispec.DescriptorEmptyJSON
	if !u.tagged {
		if err := u.run.pushBytes(ctx, empty, empty.Data); err != nil {
			return err
		}
	}
	empty.Data = nil
	b, err := json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: provenance.UnfinishedType,
		Config:       empty,
		Layers:       u.layers,
	})
	if err != nil {
		return err
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := u.run.registry.PushManifest(ctx, u.run.run.Target.Repository, d, b, u.tag()); err != nil {
		return err
	}
	u.tagged = true
	return nil
}

// forget removes the tag: there is an artifact now.
func (u *unfinished) forget(ctx context.Context) {
	if !u.tagged {
		return
	}
	err := u.run.registry.Untag(ctx, u.run.run.Target.Repository, u.tag())
	if err != nil && ctx.Err() == nil {
		u.run.log.Printf("tag %s, which is not needed any more, stays in the registry: %s", u.tag(), err)
	}
}

// key identifies what a layer is made of. It says all that the layer's bytes
// follow from.
func (u *unfinished) key(p modelpack.LayerPlan) string {
	b := &bytes.Buffer{}
	fmt.Fprintf(b, "%s\n", u.format)
	for _, f := range p.Files {
		file := u.run.file(f)
		fmt.Fprintf(b, "%q %d %s %s\n", file.Path, file.Size, file.SHA256, file.GitSHA1)
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}
