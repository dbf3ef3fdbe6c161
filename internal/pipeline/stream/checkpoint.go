package stream

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
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
//
// A run that is one share of several has a part of the checkpoint to itself, and the last
// run of those has the checkpoint, and reads the parts.
type checkpoint struct {
	run   *task
	tag   string            // Empty for a run without one.
	notes map[string]string // Annotations that stay when the checkpoint is pushed.

	mu     sync.Mutex
	layers []ocispec.Descriptor
	there  ocispec.Descriptor // The manifest in the registry; zero for none.
	others others

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
	u := &checkpoint{run: r, tag: r.checkpointTag(), pushed: time.Now(), every: r.checkpointEvery, uploads: map[string]*trackedUpload{}}
	was := r.main
	if r.run.Share.Of == 0 || r.run.Share.IsPart() {
		was = r.readCheckpoint(ctx, u.tag)
	}
	u.there, u.layers, u.earlier = was.descriptor, was.manifest.Layers, readUploads(was.manifest.Annotations[annotationUploads])
	u.notes = notesOf(was.manifest.Annotations)
	return u
}

// A storedCheckpoint is a checkpoint, or a part of one, in the registry; its zero value is
// none. Anyone who may push can have written it.
type storedCheckpoint struct {
	descriptor ocispec.Descriptor
	manifest   ocispec.Manifest
}

// readCheckpoint reads what a tag, or a digest, of a checkpoint stands for. Any failure to
// read it fails no run.
func (r *task) readCheckpoint(ctx context.Context, reference string) storedCheckpoint {
	if reference == "" {
		return storedCheckpoint{}
	}
	d, b, err := r.registry.Manifest(ctx, r.run.Target.Repository, reference)
	if err != nil && !registry.IsNotFound(err) && !registry.IsUnauthorized(err) {
		r.log.Printf("cannot read the checkpoint of an earlier try: %s", err)
	}
	var m ocispec.Manifest
	if err != nil || decode.JSON(b, &m) != nil || m.ArtifactType != outcome.CheckpointType {
		return storedCheckpoint{}
	}
	return storedCheckpoint{d, m}
}

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
	if u.tag == "" {
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
	annotations := maps.Clone(u.notes)
	if uploads := u.records(); len(uploads) > 0 {
		b, err := json.Marshal(uploads)
		if err != nil {
			return err
		}
		annotations[annotationUploads] = string(b)
	}
	there, err := u.run.pushCheckpoint(ctx, u.tag, u.layers, annotations, u.there.Digest == "")
	if err == nil {
		u.there = there
	}
	return err
}

// pushCheckpoint pushes a checkpoint, or a part of one, and returns its descriptor.
func (r *task) pushCheckpoint(ctx context.Context, tag string, layers []ocispec.Descriptor, annotations map[string]string, first bool) (ocispec.Descriptor, error) {
	empty := ocispec.DescriptorEmptyJSON
	if first {
		if err := r.push(ctx, empty, empty.Data); err != nil {
			return ocispec.Descriptor{}, err
		}
	}
	empty.Data = nil
	if len(layers) == 0 {
		// A manifest must have some (image-spec, manifest.md, "Guidelines for
		// Artifact Usage").
		layers = []ocispec.Descriptor{empty}
	}
	// So that no two tags share a manifest.
	annotations[ocispec.AnnotationRefName] = tag
	b, err := json.Marshal(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: outcome.CheckpointType,
		Config:       empty,
		Layers:       layers,
		Annotations:  annotations,
	})
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d, r.registry.PushManifest(ctx, r.run.Target.Repository, d, b, tag)
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
