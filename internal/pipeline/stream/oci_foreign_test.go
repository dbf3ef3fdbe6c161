package stream

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

const (
	kitConfigType  = "application/vnd.kitops.modelkit.config.v1+json"
	kitConfig      = `{"model":{"path":"."}}`
	kitTar         = "application/vnd.kitops.modelkit.model.v1.tar"
	packConfigType = "application/vnd.cncf.model.config.v1+json"
	packTar        = "application/vnd.cncf.model.weight.v1.tar"
	packRaw        = "application/vnd.cncf.model.weight.v1.raw"
	aRepository    = "foreign/model"
)

// A foreignWorld is a registry with what somebody else made, and another one. It
// is not the same one: the one in memory answers nothing while it is pushed to.
type foreignWorld struct {
	*streamWorld

	host   string
	source *registry.Client
}

func newForeignWorld(t *testing.T) *foreignWorld {
	t.Helper()
	from := newStreamWorld(t, nil, nil)
	return &foreignWorld{streamWorld: newStreamWorld(t, nil, nil), host: from.run.Target.Registry, source: from.registry}
}

// A foreignLayer is a layer that somebody else made.
type foreignLayer struct {
	mediaType string
	content   []byte
	title     string
	urls      []string
}

// foreign pushes what somebody else made, and returns its digest.
func (w *foreignWorld) foreign(t *testing.T, configType, config string, change func(*ocispec.Manifest), layers ...foreignLayer) digest.Digest {
	t.Helper()
	push := func(mediaType string, b []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		if err := w.source.PushBlob(t.Context(), aRepository, d, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		return d
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: push(configType, []byte(config))}
	for _, l := range layers {
		d := push(l.mediaType, l.content)
		if d.URLs = l.urls; l.title != "" {
			d.Annotations = map[string]string{ocispec.AnnotationTitle: l.title}
		}
		m.Layers = append(m.Layers, d)
	}
	if change != nil {
		change(&m)
	}
	return pushManifest(t, w.source, m.MediaType, m)
}

func pushManifest(t *testing.T, c *registry.Client, mediaType string, manifest any) digest.Digest {
	t.Helper()
	b, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	if err := c.PushManifest(t.Context(), aRepository, d, b, d.Digest.String()); err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

// packing makes the world's run pack what is foreign.
func (w *foreignWorld) packing(d digest.Digest, format string) {
	w.run.Source = pipeline.Source{Artifact: &pipeline.ArtifactSource{Reference: w.host + "/" + aRepository + "@" + d.String(), PlainHTTP: true}}
	w.run.Format = format
}

// archived returns an archive of files, by name and content in turns.
func archived(t *testing.T, pairs ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: pairs[i], Mode: 0o644, Size: int64(len(pairs[i+1]))}
		switch {
		case strings.HasSuffix(h.Name, "/"):
			h.Typeflag = tar.TypeDir
		case strings.HasPrefix(pairs[i+1], "->"):
			h.Typeflag, h.Linkname, h.Size, pairs[i+1] = tar.TypeSymlink, pairs[i+1][2:], 0, ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstandard(t *testing.T, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// TestOCIForeign packs what others made, in ways of their own.
func TestOCIForeign(t *testing.T) {
	large := strings.Repeat("weight", 300_000)
	cases := map[string]struct {
		reason     string
		configType string
		config     string
		layers     []foreignLayer
		format     string // That it is packed as at first; ModelPack if empty.
		want       map[string]string
		says       string // In the log.
	}{
		"KitGzip": {
			reason: "A compressed ModelKit should be packed again.", configType: kitConfigType, config: `{"package":{"name":"m"},"model":{"path":"m.gguf"},"docs":[{"path":"docs"}]}`,
			layers: []foreignLayer{
				{mediaType: kitTar + "+gzip", content: gzipped(t, archived(t, "m.gguf", large))},
				{mediaType: strings.Replace(kitTar, "model.v1", "docs.v1", 1) + "+gzip-fastest", content: gzipped(t, archived(t, "docs/", "", "docs/a b.md", "a", "docs/c.md", large))},
			},
			want: map[string]string{"m.gguf": large, "docs/a b.md": "a", "docs/c.md": large},
		},
		"PackZstd": {
			reason: "A compressed ModelPack should be packed again.", configType: "application/vnd.cnai.model.config.v1+json", config: `{}`, format: pipeline.FormatImage,
			layers: []foreignLayer{
				{mediaType: strings.Replace(packTar, "cncf", "cnai", 1) + "+zstd", content: zstandard(t, archived(t, "./a.safetensors", large, "b/c.json", "{}", "empty", ""))},
				{mediaType: strings.Replace(packRaw, "cncf", "cnai", 1), content: []byte("raw"), title: "raw.bin"},
			},
			want: map[string]string{"a.safetensors": large, "b/c.json": "{}", "empty": "", "raw.bin": "raw"},
		},
		"DockerImage": {
			reason: "In an image, the later layer should count.", configType: "application/vnd.docker.container.image.v1+json", config: `{"author":"me"}`,
			layers: []foreignLayer{
				{mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", content: gzipped(t, archived(t, "models/", "", "models/a.bin", "before", "models/b.bin", large))},
				{mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", content: gzipped(t, archived(t, "etc/", "", "/models/a.bin", "after", "./models/sub/c", "c"))},
			},
			want: map[string]string{"a.bin": "after", "b.bin": large, "sub/c": "c"},
		},
		"Behind": {
			reason: "A file behind others in a compressed layer should be found.", configType: kitConfigType, config: kitConfig,
			layers: []foreignLayer{{mediaType: kitTar + "+gzip", content: gzipped(t, archived(t, "a.bin", large, "b.bin", large+"b", "c.bin", large+"c"))}},
			want:   map[string]string{"a.bin": large, "b.bin": large + "b", "c.bin": large + "c"},
			says:   "2 files lie behind others in compressed layers",
		},
		"KitBeforeDigests": {
			reason: "Folders that only the Kitfile names, as old kits left them out, should be restored (kitops#489, kitops#635).", configType: kitConfigType,
			config: `{"manifestVersion":"1.0.0","package":{"name":"m"},"model":{"name":"m","path":"./models/model.gguf"},"docs":[{"path":"./docs/a.md"},{"path":"./more/a.md"}]}`,
			layers: []foreignLayer{
				{mediaType: kitTar, content: archived(t, "model.gguf", "weights")},
				{mediaType: strings.Replace(kitTar, "model.v1", "docs.v1", 1), content: archived(t, "a.md", "# Model")},
				{mediaType: strings.Replace(kitTar, "model.v1", "docs.v1", 1), content: archived(t, "a.md", "# Model")},
			},
			want: map[string]string{"models/model.gguf": "weights", "docs/a.md": "# Model", "more/a.md": "# Model"},
		},
		"Twice": {
			reason: "A file that is there twice alike should be packed once.", configType: ocispec.MediaTypeImageConfig, config: `{}`,
			layers: []foreignLayer{{mediaType: ocispec.MediaTypeImageLayerZstd, content: zstandard(t, archived(t, "models/x", large))},
				{mediaType: ocispec.MediaTypeImageLayerZstd, content: zstandard(t, archived(t, "models/x", large))}},
			want: map[string]string{"x": large},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newForeignWorld(t)
			d := w.foreign(t, tc.configType, tc.config, nil, tc.layers...)
			w.packing(d, cmp.Or(tc.format, pipeline.FormatModelPack))
			result, err := w.stream.Run(t.Context(), w.run)
			if err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
			}
			if tc.format != "" {
				// It would be copied as it is: this is by way of another format.
				other := newForeignWorld(t)
				other.packing("", pipeline.FormatModelPack)
				other.run.Source.Artifact.Reference = w.run.Target.Registry + "/models/model@" + result.Digest
				if result, err = other.stream.Run(t.Context(), other.run); err != nil {
					t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, other.log)
				}
				w = other
			}
			if diff := gocmp.Diff(tc.want, w.pulled(t, result.Digest)); diff != "" {
				t.Errorf("\n%s\nRun(...): -want, +got files:\n%s", tc.reason, diff)
			}
			if !strings.Contains(w.log.String(), tc.says) || !strings.Contains(w.log.String(), "read once to find out which files they hold, and again to pack these") {
				t.Errorf("want the log to say what is read twice, got\n%s", w.log)
			}
		})
	}
}

// TestOCIRefused has what cannot be packed refused, in words that say why.
func TestOCIRefused(t *testing.T) {
	bomb := gzipped(t, archived(t, "m", strings.Repeat("\x00", 40<<20)))
	type made struct {
		configType, config string
		change             func(*ocispec.Manifest)
		layers             []foreignLayer
	}
	kit := func(content []byte) made {
		return made{configType: kitConfigType, config: kitConfig, layers: []foreignLayer{{mediaType: kitTar, content: content}}}
	}
	image := func(content []byte) made {
		return made{configType: ocispec.MediaTypeImageConfig, config: "{}", layers: []foreignLayer{{mediaType: ocispec.MediaTypeImageLayer, content: content}}}
	}
	cases := map[string]struct {
		made made
		want outcome.Reason
		says string
	}{
		"Link":         {made: kit(archived(t, "a", "->/etc/passwd")), says: "is a link or a device"},
		"Outside":      {made: kit(archived(t, "../a", "a")), says: "does not lie inside of a folder"},
		"InnerTwice":   {made: kit(archived(t, "a", "a", "a", "b")), says: `holds "a" twice`},
		"FileFolder":   {made: kit(archived(t, "a", "a", "a/b", "b")), says: "both as a file and as a folder"},
		"NoArchive":    {made: kit([]byte("no archive at all, which is what this is")), says: "is no archive of the kind"},
		"Cut":          {made: kit(archived(t, "a", strings.Repeat("a", 5000))[:3000]), says: "is no archive of the kind"},
		"NoFiles":      {made: kit(archived(t, "a/", "")), says: "holds no files"},
		"NoModelImage": {made: image(archived(t, "bin/sh", "#!")), says: "is outside of /models: the image is not one of a model"},
		"Whiteout":     {made: image(archived(t, "models/.wh.a", "")), says: "removes a file of another layer"},
		"Bomb": {made: made{configType: kitConfigType, config: kitConfig, layers: []foreignLayer{{mediaType: kitTar + "+gzip", content: bomb}}},
			says: "unpacks to far more bytes than its size allows"},
		"OtherKit": {made: made{configType: kitConfigType, config: `{"model":{"path":"registry.example.com/base:v1"}}`,
			layers: []foreignLayer{{mediaType: strings.Replace(kitTar, "model.v1", "docs.v1", 1), content: archived(t, "a", "a")}}},
			says: `refers to the model of another one, "registry.example.com/base:v1", and does not contain it: name that one`},
		"Elsewhere": {made: made{configType: packConfigType, config: "{}", layers: []foreignLayer{{mediaType: packRaw, content: []byte("a"), title: "a", urls: []string{"https://example.com"}}}},
			says: "is at another address"},
		"Statement": {made: made{configType: packConfigType, config: "{}", layers: []foreignLayer{{mediaType: packRaw, content: []byte("a"), title: "a"}},
			change: func(m *ocispec.Manifest) { m.Subject = &m.Config }}, says: "is a statement about another one"},
		"OtherThing": {made: made{configType: "application/vnd.example", config: "{}", layers: []foreignLayer{{mediaType: packRaw, content: []byte("a"), title: "a"}}},
			says: "neither a ModelPack nor a ModelKit"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newForeignWorld(t)
			for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit} {
				if format == pipeline.FormatModelKit && tc.made.configType == kitConfigType && name != "OtherKit" {
					continue // It is copied as it is.
				}
				w.packing(w.foreign(t, tc.made.configType, tc.made.config, tc.made.change, tc.made.layers...), format)
				_, err := w.stream.Run(t.Context(), w.run)
				if err == nil || outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("Run(...) to %s: want it to be refused with %q, got %v", format, tc.says, err)
				}
			}
		})
	}
}
