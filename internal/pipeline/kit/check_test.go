package kit

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	modelspec "github.com/modelpack/model-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
)

// A testLayer is a layer to put into a storage such as kit's.
type testLayer struct {
	mediaType string
	names     []string // One for a raw layer.
	content   string   // Of each file.
}

// store writes an artifact to a storage.
func store(t *testing.T, storage string, target pipeline.Target, layers ...testLayer) {
	t.Helper()
	m := ocispec.Manifest{Config: putBlob(t, storage, "application/json", []byte("{}"))}
	for _, l := range layers {
		d := putBlob(t, storage, l.mediaType, l.bytes(t))
		if strings.HasSuffix(l.mediaType, "raw") {
			d.Annotations = map[string]string{modelspec.AnnotationFilepath: l.names[0]}
		}
		m.Layers = append(m.Layers, d)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	tags, err := json.Marshal(map[string]ocispec.Descriptor{target.StagingTag: putBlob(t, storage, ocispec.MediaTypeImageManifest, b)})
	if err != nil {
		t.Fatal(err)
	}
	name := base64.URLEncoding.EncodeToString([]byte(target.Registry+"/"+target.Repository)) + "-tags.json"
	if err := os.WriteFile(filepath.Join(storage, name), tags, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (l testLayer) bytes(t *testing.T) []byte {
	t.Helper()
	if strings.HasSuffix(l.mediaType, "raw") {
		return []byte(l.content)
	}
	out := &bytes.Buffer{}
	tw := tar.NewWriter(out)
	for _, name := range l.names {
		h := &tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(l.content))}
		content := l.content
		if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Size, content = tar.TypeDir, 0, ""
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(l.mediaType, "+gzip") {
		return out.Bytes()
	}
	zipped := &bytes.Buffer{}
	zw := gzip.NewWriter(zipped)
	if _, err := zw.Write(out.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return zipped.Bytes()
}

func putBlob(t *testing.T, storage, mediaType string, b []byte) ocispec.Descriptor {
	t.Helper()
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	path := filepath.Join(storage, "blobs", "sha256", d.Digest.Encoded())
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestCheck(t *testing.T) {
	const (
		kitTar  = "application/vnd.kitops.modelkit.model.v1.tar"
		kitGzip = "application/vnd.kitops.modelkit.code.v1.tar+gzip"
		packRaw = "application/vnd.cncf.model.weight.v1.raw"
	)
	sum := sha256.Sum256([]byte("right"))
	files := []file.File{
		{Path: "a.bin", Size: 5, SHA256: hex.EncodeToString(sum[:])},
		{Path: "x/b.bin", Size: 5, SHA256: hex.EncodeToString(sum[:])},
	}
	type want struct {
		presence, content outcome.Reason
		named             string
	}
	cases := map[string]struct {
		reason string
		layers []testLayer
		want   want
	}{
		"Tar": {
			reason: "Files should be found in one archive or several, compressed or not, with their folders.",
			layers: []testLayer{{kitTar, []string{"a.bin"}, "right"}, {kitGzip, []string{"x/", "./x/b.bin"}, "right"}},
		},
		"Raw": {
			reason: "A raw layer should count as a file.",
			layers: []testLayer{{packRaw, []string{"a.bin"}, "right"}, {packRaw, []string{"x/b.bin"}, "right"}},
		},
		"Missing": {
			reason: "A file that is not there should be named.",
			layers: []testLayer{{kitTar, []string{"a.bin"}, "right"}},
			want:   want{presence: outcome.Mismatch, content: outcome.Mismatch, named: "x/b.bin (missing)"},
		},
		"Content": {
			reason: "Other bytes of the same size should be found by their hash.",
			layers: []testLayer{{kitTar, []string{"a.bin"}, "wrong"}, {packRaw, []string{"x/b.bin"}, "right"}},
			want:   want{content: outcome.Mismatch, named: "a.bin (another hash)"},
		},
		"Size": {
			reason: "Another size should be told.",
			layers: []testLayer{{kitTar, []string{"a.bin", "x/b.bin"}, "longer"}},
			want:   want{presence: outcome.Mismatch, content: outcome.Mismatch, named: "a.bin (6 bytes, not 5)"},
		},
		"Extra": {
			reason: "A file that the Hub does not have should not be pushed.",
			layers: []testLayer{{kitTar, []string{"a.bin", "x/b.bin", "c.bin"}, "right"}},
			want:   want{presence: outcome.Mismatch, content: outcome.Mismatch, named: "c.bin (not at the source)"},
		},
		"Twice": {
			reason: "A file that is there twice should be refused.",
			layers: []testLayer{{kitTar, []string{"a.bin", "x/b.bin"}, "right"}, {packRaw, []string{"a.bin"}, "right"}},
			want:   want{presence: outcome.Mismatch, content: outcome.Mismatch, named: "a.bin (twice)"},
		},
		"Many": {
			reason: "A message should not name all of many.",
			layers: []testLayer{{kitTar, []string{"1", "2", "3", "4", "a.bin", "x/b.bin"}, "right"}},
			want:   want{presence: outcome.Mismatch, content: outcome.Mismatch, named: "and 1 more"},
		},
		"Unknown": {
			reason: "A layer of an unknown type should be refused.",
			layers: []testLayer{{"application/vnd.kitops.modelkit.model.v1.cpio", []string{"a.bin"}, "right"}},
			want:   want{presence: outcome.Unsupported, content: outcome.Unsupported, named: "cpio"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			storage, target := t.TempDir(), pipeline.Target{Registry: "r.io", Repository: "m", StagingTag: stagingTag}
			store(t, storage, target, tc.layers...)
			a, err := readArtifact(storage, target)
			if err != nil {
				t.Fatal(err)
			}
			r := &task{files: files, source: source.Police(nil, nil, nil)}
			wantError(t, tc.reason, r.checkPresence(t.Context(), a), tc.want.presence, tc.want.named)
			wantError(t, tc.reason, r.checkContent(t.Context(), a), tc.want.content, tc.want.named)
			if want := hex.EncodeToString(sum[:]); tc.want.content == "" && (r.sums["a.bin"] != want || r.sums["x/b.bin"] != want) {
				t.Errorf("\n%s\nThe hashes of all files should be kept for their list, got %v", tc.reason, r.sums)
			}
		})
	}
}

func wantError(t *testing.T, why string, err error, reason outcome.Reason, named string) {
	t.Helper()
	var got outcome.Reason
	if err != nil {
		got = outcome.ReasonOf(err)
	}
	if got != reason || err != nil && !strings.Contains(err.Error(), named) {
		t.Errorf("\n%s\nwant reason %q and %q, got %v", why, reason, named, err)
	}
}

func TestCheckStops(t *testing.T) {
	storage, target := t.TempDir(), pipeline.Target{Registry: "r.io", Repository: "m", StagingTag: stagingTag}
	store(t, storage, target, testLayer{"application/vnd.cncf.model.weight.v1.raw", []string{"a.bin"}, "right"})
	a, err := readArtifact(storage, target)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := &task{files: []file.File{{Path: "a.bin", Size: 5}}, source: source.Police(nil, nil, nil)}
	if err := r.checkContent(ctx, a); err == nil || outcome.ReasonOf(err) == outcome.Mismatch {
		t.Errorf("A check that is stopped should not say that files are wrong.\ncheckContent(...): got %v", err)
	}
}

func TestReadKitArtifact(t *testing.T) {
	storage, target := t.TempDir(), pipeline.Target{Registry: "r.io", Repository: "m", StagingTag: stagingTag}
	store(t, storage, target, testLayer{"application/vnd.cncf.model.weight.v1.raw", []string{"a.bin"}, "right"})
	got, err := readArtifact(storage, target)
	if err != nil {
		t.Fatal(err)
	}
	if got.size != int64(len("right")+len("{}")) || got.manifest.Digest.Validate() != nil {
		t.Errorf("Size should be that of layers and config.\nreadKitArtifact(...): got %+v", got)
	}
	for name, other := range map[string]pipeline.Target{
		"Tag":        {Registry: "r.io", Repository: "m", StagingTag: "v2"},
		"Repository": {Registry: "r.io", Repository: "n", StagingTag: stagingTag},
	} {
		if _, err := readArtifact(storage, other); err == nil {
			t.Errorf("Another %s should not be found.\nreadKitArtifact(...): want an error", name)
		}
	}
}
