package pull

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	specv1 "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// modelFiles are the files of the model that most tests pull.
func modelFiles() map[string]string {
	weight := make([]byte, 3<<20)
	for i := range weight {
		weight[i] = byte(i * i >> 7)
	}
	return map[string]string{
		"README.md":             "# Model\n",
		"LICENSE":               "the licence",
		"config.json":           `{"a": 1}`,
		"empty.txt":             "",
		"model.safetensors":     string(weight),
		"copy/same.safetensors": string(weight),
		"onnx/a #1% ü.json":     "[]",
		"onnx/deep/model.onnx":  strings.Repeat("o", 5000),
	}
}

// A content is a layer's descriptor and its bytes.
type content struct {
	ocispec.Descriptor

	bytes []byte
}

// rawLayers returns files as a ModelPack's raw layers.
func rawLayers(files map[string]string) []content {
	var out []content
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b := []byte(files[name])
		out = append(out, content{modelpack.LayerFor(name, int64(len(b)), digest.FromBytes(b)), b})
	}
	return out
}

// tarLayer returns an archive of files as a layer with this media type, and with its
// compression.
func tarLayer(t testing.TB, mediaType string, files map[string]string) content {
	t.Helper()
	var headers []*tar.Header
	dirs := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if dir := filepath.Dir(name); dir != "." && !dirs[dir] {
			dirs[dir] = true
			headers = append(headers, &tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755})
		}
		headers = append(headers, &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(files[name]))})
	}
	return layerOf(mediaType, compressed(t, mediaType, tarOf(t, headers, files)))
}

// tarOf returns an archive of these entries, with the content of files by name.
func tarOf(t testing.TB, headers []*tar.Header, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[h.Name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// compressed compresses as in a media type.
func compressed(t testing.TB, mediaType string, plain []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch {
	case strings.Contains(mediaType, "+gzip"):
		w = gzip.NewWriter(&b)
	case strings.HasSuffix(mediaType, "+zstd"):
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	default:
		return plain
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layerOf(mediaType string, b []byte) content {
	return content{ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}, b}
}

// push pushes an artifact of these layers, with a config of this media type and the tag
// v1, and returns its digest. A ModelKit's config has the digests of the layers.
func (f *front) push(t testing.TB, configType string, layers ...content) digest.Digest {
	t.Helper()
	config := modelpack.Kitfile{}
	for _, l := range layers {
		if configType == modelKit {
			config.Code = append(config.Code, modelpack.KitEntry{Path: ".", Digest: l.Digest})
		}
	}
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	return f.pushWith(t, configType, string(b), layers...)
}

// pushWith pushes as push does, with this config.
func (f *front) pushWith(t testing.TB, configType, configText string, layers ...content) digest.Digest {
	t.Helper()
	f.breaks(nil)
	c, err := registry.New(registry.Options{Host: f.host(), PlainHTTP: true, DockerConfig: dockerConfigOf(f.host())})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	config := layerOf(configType, []byte(configText))
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config.Descriptor}
	for _, l := range append(layers, config) {
		has, err := c.HasBlob(t.Context(), testRepository, l.Descriptor)
		if err != nil {
			t.Fatal(err)
		}
		if has {
			continue
		}
		if err := c.PushBlob(t.Context(), testRepository, l.Descriptor, bytes.NewReader(l.bytes)); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range layers {
		m.Layers = append(m.Layers, l.Descriptor)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	d := layerOf(ocispec.MediaTypeImageManifest, b)
	if err := c.PushManifest(t.Context(), testRepository, d.Descriptor, b, "v1"); err != nil {
		t.Fatal(err)
	}
	f.breaks(nil)
	return d.Digest
}

const testRepository = "models/model"

const modelPack, modelKit = specv1.MediaTypeModelConfig, "application/vnd.kitops.modelkit.config.v1+json"

// dockerConfigOf returns a docker config for the guarded registry.
func dockerConfigOf(host string) []byte {
	b, _ := json.Marshal(map[string]any{"auths": map[string]any{host: map[string]string{"username": testUser, "password": testPassword}}})
	return b
}

// pulling returns a pull of a digest without waits between retries, and its log.
func (f *front) pulling(dir string, d digest.Digest) (*Pull, *bytes.Buffer) {
	log := &bytes.Buffer{}
	p := New(Options{Reference: f.host() + "/" + testRepository + "@" + d.String(), Dir: dir, Parallel: 4, PlainHTTP: true, Log: log})
	p.retries.Sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	return p, log
}

// holdsFiles checks that a folder contains these files, the state and nothing else.
func holdsFiles(t testing.TB, dir string, want map[string]string) {
	t.Helper()
	got := visible(t, dir)
	if diff := cmp.Diff(brief(want), brief(got)); diff != "" {
		t.Errorf("files: -want, +got:\n%s", diff)
	}
}

// visible returns the files in a folder, without the state.
func visible(t testing.TB, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil || rel == stateDir {
			return fs.SkipDir
		}
		if e.IsDir() {
			return nil
		}
		b, err := os.ReadFile(name)
		got[rel] = string(b)
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return got
}

// brief shortens long contents to their digests.
func brief(files map[string]string) map[string]string {
	out := map[string]string{}
	for name, c := range files {
		if len(c) > 100 {
			c = digest.FromString(c).String()
		}
		out[name] = c
	}
	return out
}
