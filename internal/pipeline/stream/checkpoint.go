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
)

// annotationFiles identifies the files that a layer in a checkpoint is made of.
const annotationFiles = "io.crossplane.m.kitops.files"

// A checkpoint lists the layers that a run has pushed so far, whose digests are not
// known before their bytes were read, and the uploads in progress. It is a manifest
// in the registry, under the run's checkpoint tag: a run whose Pod dies leaves to the
// next one what it has moved, and the registry does not collect it. No failure of a
// checkpoint fails a run.
type checkpoint struct {
	run *task

	mu     sync.Mutex
	layers []ocispec.Descriptor
	there  ocispec.Descriptor // The manifest in the registry; zero for none.

	every   time.Duration // The interval at which the checkpoint is pushed if it has changed.
	earlier map[string]uploadRecord
	uploads map[string]*trackedUpload
	changed bool // Whether uploads in progress have changed since the last push.

	unsaid int64     // The bytes of layers that were added since the last push.
	pushed time.Time // The time of the last push.
}

// The checkpoint is pushed after so many more bytes, or after so long.
const (
	checkpointBytes = 1 << 30
	checkpointAfter = 10 * time.Second

	// checkpointLatest is how old the checkpoint gets while an upload makes progress. Many
	// small files at a Hub's rate limit take long for few bytes.
	checkpointLatest = time.Minute

	// checkpointPatience limits the last push of a run that has failed.
	checkpointPatience = 5 * time.Second
)

// newCheckpoint returns the checkpoint that earlier runs for the same run hash have
// left; an empty one if there is none.
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

// find returns the digest of a layer that the checkpoint lists; empty for none. It
// proves nothing, since anyone who may push can have written it.
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

// remove removes a layer that is not in the registry, or not what it should be.
func (u *checkpoint) remove(p modelpack.LayerPlan) {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := u.key(p)
	if key == "" {
		return
	}
	u.layers = slices.DeleteFunc(u.layers, func(l ocispec.Descriptor) bool { return l.Annotations[annotationFiles] == key })
}

// add adds a layer that was pushed.
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

// keep pushes the checkpoint at the end of a run that failed, also if the run was told
// to end.
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

// helps reports whether pushing the checkpoint would save work to a later run.
func (u *checkpoint) helps() bool {
	return u.unsaid > 0 || len(u.uploads) > 0 || u.changed && u.there.Digest != ""
}

// say pushes the checkpoint, and logs an error.
func (u *checkpoint) say(ctx context.Context) {
	if err := u.push(ctx); err != nil {
		if ctx.Err() == nil {
			u.run.log.Printf("cannot push the checkpoint: if this run is interrupted, the next one moves %s again: %s", pipeline.FormatBytes(u.unsaid), err)
		}
		return
	}
	u.unsaid, u.changed, u.pushed = 0, false, time.Now()
}

// push pushes the checkpoint.
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
	// So that no two tags share a manifest.
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

// key identifies a layer by all that determines its bytes. It is empty if the source
// announced neither a hash nor a version of one of the files. A version says nothing
// about another source.
func (u *checkpoint) key(p modelpack.LayerPlan) string {
	b := &bytes.Buffer{}
	fmt.Fprintf(b, "%s %d\n", u.run.run.Format, modelpack.LayoutVersion)
	for _, planned := range p.Files {
		f := u.run.file(planned)
		if !f.IsPinned() {
			return ""
		}
		from := ""
		if f.Version != "" {
			from = u.run.contents.Facts.SourceURL
		}
		fmt.Fprintf(b, "%q %d %q %q %q %q %q %q %q\n", f.Path, f.Size, f.SHA256, f.GitSHA1, f.MD5, f.CRC32C, f.CRC64NVME, f.Version, from)
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:])
}
