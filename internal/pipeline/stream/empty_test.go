package stream

import (
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/pull"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// refusesEmpty is a registry's fault: it takes no blob of 0 bytes, as ECR does not.
var refusesEmpty = testregistry.Times(testregistry.Always, func(r *http.Request) bool {
	return r.URL.Query().Get("digest") == digest.FromString("").String()
}, testregistry.Status(http.StatusBadRequest, "BLOB_UPLOAD_INVALID", "the blob has no bytes"))

// TestEmptyFiles brings a model with empty files into a registry that takes no
// empty blobs, and gets the files back.
func TestEmptyFiles(t *testing.T) {
	files := streamFiles()
	files["pkg/__init__.py"], files["pkg/ü/__init__.py"], files["weights.bin"] = "", "", ""
	cases := map[string]struct {
		reason string
		folder string
		pulled bool
	}{
		pipeline.FormatModelPack: {reason: "In a ModelPack each empty file should be an archive.", pulled: true},
		pipeline.FormatModelKit:  {reason: "In a ModelKit empty files should be in archives.", pulled: true},
		pipeline.FormatImage:     {reason: "In an image empty files should be in archives.", folder: "models/"},
	}
	for format, tc := range cases {
		t.Run(format, func(t *testing.T) {
			w := newStreamWorld(t, files, refusesEmpty(gcr.New(gcr.Logger(log.New(io.Discard, "", 0)))))
			w.run.Format = format
			w.run.Target.CheckpointTag = checkpointTag
			first, err := w.stream.Run(t.Context(), w.run)
			if err != nil {
				t.Fatalf("\n%s\nRun(...): %v\n%s", tc.reason, err, w.log)
			}
			want := map[string]string{}
			for name, sum := range models.Packed(files) {
				want[tc.folder+name] = sum
			}
			if diff := cmp.Diff(want, w.fetched(t, stagingTag).Files); diff != "" {
				t.Errorf("\n%s\nfiles: -Hub, +registry:\n%s", tc.reason, diff)
			}
			w.log.Reset()
			again, err := w.stream.Run(t.Context(), w.run)
			if diff := cmp.Diff(first, again); diff != "" || err != nil || !strings.Contains(w.log.String(), alreadyStaged) {
				t.Errorf("\n%s\nthe second Run(...): -first, +second:\n%s\n%v\n%s", tc.reason, diff, err, w.log)
			}
			if !tc.pulled {
				return
			}
			dir := t.TempDir()
			ref := w.run.Target.Registry + "/" + w.run.Target.Repository + "@" + first.Digest
			if _, err := pull.New(pull.Options{Reference: ref, Dir: dir, Parallel: 4, PlainHTTP: true, Log: io.Discard}).Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			for name, content := range files {
				got, err := os.ReadFile(filepath.Join(dir, name))
				if err != nil || string(got) != content {
					t.Errorf("\n%s\n%s: want %d bytes, got %d, %v", tc.reason, name, len(content), len(got), err)
				}
			}
		})
	}
}

// TestCopyOfEmptyLayer copies an artifact of somebody else's making, which has an
// empty file as a raw layer, and must not be changed.
func TestCopyOfEmptyLayer(t *testing.T) {
	cases := map[string]struct {
		reason  string
		refuses bool // Whether the registry refuses blobs of 0 bytes.
		format  string
		want    outcome.Reason
	}{
		"Taken":     {reason: "A registry that accepts empty blobs should get a copy.", format: pipeline.FormatModelPack},
		"Refused":   {reason: "A registry that refuses empty blobs should fail the run before anything else is moved.", refuses: true, format: pipeline.FormatModelPack, want: outcome.Unsupported},
		"ModelKit":  {reason: "A ModelKit of it should have an archive.", refuses: true, format: pipeline.FormatModelKit},
		"AsAnImage": {reason: "An image of it should have an archive.", refuses: true, format: pipeline.FormatImage},
	}
	full := foreignLayer{mediaType: packRaw, content: []byte("weights"), title: "a.bin"}
	empty := foreignLayer{mediaType: packRaw, title: "empty.txt"}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			to := gcr.New(gcr.Logger(log.New(io.Discard, "", 0)))
			if tc.refuses {
				to = refusesEmpty(to)
			}
			w := newForeignWorld(t)
			w.streamWorld = newStreamWorld(t, nil, to)
			w.packing(w.foreign(t, packConfigType, "{}", nil, full, empty), tc.format)
			_, err := w.stream.Run(t.Context(), w.run)
			if (err != nil) != (tc.want != "") || (err != nil && outcome.ReasonOf(err) != tc.want) {
				t.Errorf("\n%s\nRun(...): want %q, got %v\n%s", tc.reason, tc.want, err, w.log)
			}
			if tc.want == "" {
				return
			}
			if !strings.Contains(err.Error(), `a blob of 0 bytes, which the empty file "empty.txt" is`) {
				t.Errorf("\n%s\nRun(...): want the error to name the file, got %v", tc.reason, err)
			}
			d := ocispec.Descriptor{Digest: digest.FromBytes(full.content), Size: int64(len(full.content))}
			if has, err := w.registry.HasBlob(t.Context(), w.run.Target.Repository, d); has || err != nil {
				t.Errorf("\n%s\nwant nothing else to be moved, got %t, %v", tc.reason, has, err)
			}
		})
	}
}
