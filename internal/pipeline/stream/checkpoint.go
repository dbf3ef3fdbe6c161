package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
)

// annotationFiles says of a layer which files it is of.
const annotationFiles = "io.crossplane.m.kitops.files"

// A checkpoint is what a run has pushed so far of an artifact
// whose layers nobody knows the digests of before their bytes were read, which are
// archives, and which uploads are in progress. It is a manifest in the registry,
// under a tag of the Artifact's and the run hash's own. So a run whose Pod dies
// leaves to the next one what it has moved, and the registry does not collect it.
// Whatever goes wrong with it fails no run.
type checkpoint struct {
	run *task

	mu     sync.Mutex
	layers []ocispec.Descriptor
	there  ocispec.Descriptor // The manifest that is in the registry; zero for none.

	every   time.Duration // How often the checkpoint is looked at while layers are moved.
	earlier map[string]uploadRecord
	uploads map[string]*trackedUpload
	changed bool // There are other uploads in progress since that was pushed.

	unsaid int64     // How many bytes of layers were added since that was pushed.
	pushed time.Time // When it was.
}

// The manifest is pushed after so many more bytes, or so long.
const (
	checkpointBytes = 1 << 30
	checkpointAfter = 10 * time.Second

	// checkpointPatience is how long a run that has failed has for it.
	checkpointPatience = 5 * time.Second
)

// newCheckpoint returns what earlier runs for the same run hash have left.
func (r *task) newCheckpoint(ctx context.Context) *checkpoint {
	u := &checkpoint{run: r, pushed: time.Now(), every: r.checkpointEvery, uploads: map[string]*trackedUpload{}}
	if u.tag() == "" {
		return u
	}
	d, b, err := r.registry.Manifest(ctx, r.run.Target.Repository, u.tag())
	if err != nil && !registry.IsNotFound(err) && !registry.IsUnauthorized(err) {
		r.log.Printf("cannot read the checkpoint of an earlier try: %s", err)
	}
	var m ocispec.Manifest
	if err != nil || decode.JSON(b, &m) != nil || m.ArtifactType != outcome.CheckpointType {
		return u
	}
	u.there, u.layers, u.earlier = d, m.Layers, readUploads(m.Annotations[annotationUploads])
	return u
}

// tag of the checkpoint; empty for a run without one.
func (u *checkpoint) tag() string { return u.run.run.Target.CheckpointTag }

// find returns the digest of a layer that an earlier run says to have pushed;
// empty for none. It proves nothing: whoever may push can write it.
func (u *checkpoint) find(p modelpack.LayerPlan) digest.Digest {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := u.key(p)
	if key == "" {
		return ""
	}
	for _, l := range u.layers {
		if l.Annotations[annotationFiles] == key && l.Size == p.Size && l.Digest.Validate() == nil && l.Digest.Algorithm() == digest.SHA256 {
			return l.Digest
		}
	}
	return ""
}

// remove takes a layer out that is not in the registry any more.
func (u *checkpoint) remove(p modelpack.LayerPlan) {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := u.key(p)
	u.layers = slices.DeleteFunc(u.layers, func(l ocispec.Descriptor) bool { return l.Annotations[annotationFiles] == key })
}

// add notes a layer that has been pushed.
func (u *checkpoint) add(ctx context.Context, m *layerMove) {
	if u.tag() == "" {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	key := u.key(m.plan)
	if key == "" {
		return
	}
	l := m.blob()
	l.Annotations = map[string]string{annotationFiles: key}
	u.layers = append(u.layers, l)
	u.unsaid += l.Size
	if u.unsaid >= checkpointBytes || time.Since(u.pushed) >= checkpointAfter {
		u.say(ctx)
	}
}

// keep has the registry know all that was added, at the end of a run that
// failed, also where it was told to end.
func (u *checkpoint) keep(ctx context.Context) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.helps() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkpointPatience)
	defer cancel()
	u.say(ctx)
}

// helps reports whether a later run would gain by the checkpoint's being pushed.
func (u *checkpoint) helps() bool {
	return u.unsaid > 0 || len(u.uploads) > 0 || u.changed && u.there.Digest != ""
}

// say pushes the manifest, if it can be.
func (u *checkpoint) say(ctx context.Context) {
	if err := u.push(ctx); err != nil {
		if ctx.Err() == nil {
			u.run.log.Printf("if this run ends early, the next one moves %s again: %s", pipeline.FormatBytes(u.unsaid), err)
		}
		return
	}
	u.unsaid, u.changed, u.pushed = 0, false, time.Now()
}

// push pushes the manifest.
func (u *checkpoint) push(ctx context.Context) error {
	empty := ocispec.DescriptorEmptyJSON
	if u.there.Digest == "" {
		if err := u.run.push(ctx, empty, empty.Data); err != nil {
			return err
		}
	}
	empty.Data = nil
	layers := u.layers
	if len(layers) == 0 {
		// A manifest must have some (image-spec, manifest.md, "Guidelines for
		// Artifact Usage").
		layers = []ocispec.Descriptor{empty}
	}
	// That of no other tag is the same.
	annotations := map[string]string{ocispec.AnnotationRefName: u.tag()}
	if uploads := u.records(); len(uploads) > 0 {
		b, err := json.Marshal(uploads)
		if err != nil {
			return err
		}
		annotations[annotationUploads] = string(b)
	}
	b, err := json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: outcome.CheckpointType,
		Config:       empty,
		Layers:       layers,
		Annotations:  annotations,
	})
	if err != nil {
		return err
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := u.run.registry.PushManifest(ctx, u.run.run.Target.Repository, d, b, u.tag()); err != nil {
		return err
	}
	u.there = d
	return nil
}

// key identifies what a layer is made of: all that the layer's bytes follow
// from. It is empty where the source announced no hash of one of the files.
func (u *checkpoint) key(p modelpack.LayerPlan) string {
	b := &bytes.Buffer{}
	fmt.Fprintf(b, "%s %d\n", u.run.run.Format, modelpack.LayoutVersion)
	for _, f := range p.Files {
		file := u.run.file(f)
		if !source.HasIdentity(file) {
			return ""
		}
		fmt.Fprintf(b, "%q %d %s %s\n", file.Path, file.Size, file.SHA256, file.GitSHA1)
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}
