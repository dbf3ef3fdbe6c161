package stream

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// An ociWorld is a Hub, a registry that has the Hub's model already, and another
// one that is to get it from there.
type ociWorld struct {
	*streamWorld

	source *testregistry.Registry
	from   pipeline.Run // From the Hub into the source's registry.
}

// newOCIWorld returns a world in which the source's registry has the model in a
// format, with the result of the run that brought it there.
func newOCIWorld(t *testing.T, format string, from, to testregistry.Options) (*ociWorld, *testregistry.Registry, string) {
	t.Helper()
	source, target := testregistry.Start(t, from), testregistry.Start(t, to)
	return newOCIWorldIn(t, format, source, target)
}

func newOCIWorldIn(t *testing.T, format string, source, target *testregistry.Registry) (*ociWorld, *testregistry.Registry, string) {
	t.Helper()
	return newOCIWorldOf(t, streamFiles(), format, source, target)
}

func newOCIWorldOf(t *testing.T, files map[string]string, format string, source, target *testregistry.Registry) (*ociWorld, *testregistry.Registry, string) {
	t.Helper()
	w := &ociWorld{streamWorld: newStreamWorld(t, files, nil), source: source}
	w.stream.uploads.Sleep = func(context.Context, time.Duration) error { return nil }
	w.into(t, source)
	w.from = w.run
	w.from.Format = format
	w.from.Target.Repository, w.from.Target.StagingTag = "models/origin", stagingTag
	made, err := w.stream.Run(t.Context(), w.from)
	if err != nil {
		t.Fatalf("cannot make the source: %v\n%s", err, w.log)
	}
	w.log.Reset()
	w.into(t, target)
	w.run.Source = pipeline.Source{Artifact: w.artifact(made.Digest)}
	w.run.Format = format
	w.run.Target.CheckpointTag = checkpointTag
	source.ResetRequests()
	target.ResetRequests()
	return w, target, made.Digest
}

// artifact returns the source that is in the source's registry.
func (w *ociWorld) artifact(digest string) *pipeline.ArtifactSource {
	t := w.from.Target
	return &pipeline.ArtifactSource{
		Reference: t.Registry + "/" + t.Repository + "@" + digest,
		PlainHTTP: t.PlainHTTP, DockerConfig: t.DockerConfig, CAFile: t.CAFile, CertificateFile: t.CertificateFile, KeyFile: t.KeyFile,
	}
}

// client returns a client of a registry without accounts.
func (w *ociWorld) client(t *testing.T, r *testregistry.Registry) *registry.Client {
	t.Helper()
	c, err := registry.New(registry.Options{Host: r.Host(), PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// manifest returns what a registry has.
func (w *ociWorld) manifest(t *testing.T, c *registry.Client, repository, reference string) []byte {
	t.Helper()
	_, b, err := c.Manifest(t.Context(), repository, reference)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	ociTokens = testregistry.Options{TokenLife: time.Minute, Users: []testregistry.User{{Name: "ada", Password: "correct horse"}}}
	ociTLS    = testregistry.Options{TLS: true}
)

// TestOCICopy has artifacts of each format go from a registry with tokens to one
// with an authority of its own, and stay what they are.
func TestOCICopy(t *testing.T) {
	for _, format := range []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage} {
		t.Run(format, func(t *testing.T) {
			w, target, digest := newOCIWorld(t, format, ociTokens, ociTLS)
			w.run.Meter = &pipeline.Meter{}
			result, err := pipeline.Masked(w.stream).Run(t.Context(), w.run)
			if err != nil {
				t.Fatalf("Run(...): %v\n%s", err, w.log)
			}
			if result.Digest != digest || result.Revision != digest || result.License != "Apache-2.0" || result.Files != len(streamFiles()) {
				t.Errorf("want all to be as it was, got %+v", result)
			}
			if p := w.run.Meter.Progress(); p.Percent != 100 {
				t.Errorf("want all to be counted, got %+v", p)
			}
			if tagged, err := w.registry.Resolve(t.Context(), "models/model", stagingTag); err != nil || tagged.Digest.String() != digest {
				t.Errorf("want the tag to stand for the same, got %v, %v", tagged, err)
			}
			if format == pipeline.FormatModelPack {
				if diff := cmp.Diff(streamFiles(), w.pulled(t, stagingTag)); diff != "" {
					t.Errorf("Run(...): -want, +got files:\n%s", diff)
				}
			}
			for _, words := range []string{"copied as it is", "licence Apache-2.0", "pushed " + w.run.Target.Reference() + "@" + digest} {
				if !strings.Contains(w.log.String(), words) {
					t.Errorf("want %q in the log, got\n%s", words, w.log)
				}
			}
			if strings.Contains(w.log.String(), "correct horse") {
				t.Errorf("a secret is in the log:\n%s", w.log)
			}

			w.source.ResetRequests()
			target.ResetRequests()
			again, err := w.stream.Run(t.Context(), w.run)
			if diff := cmp.Diff(result, again); diff != "" || err != nil {
				t.Errorf("want the same again: -want, +got:\n%s\n%v", diff, err)
			}
			if n := target.Count(http.MethodPut, ""); n != 0 || !strings.Contains(w.log.String(), alreadyStaged) {
				t.Errorf("want nothing to be pushed, got %d pushes\n%s", n, w.log)
			}
			most := 1
			if format != pipeline.FormatModelKit {
				// One config for each platform, or the archive of the empty file, to list it.
				most = 2
			}
			if n := w.source.Count(http.MethodGet, "/blobs/"); n > most {
				t.Errorf("want nothing but the configs, and what lists the files, to be read again, got %d", n)
			}
		})
	}
}

// TestOCICopyAnnotated has a copy asked for that its digest does not allow.
func TestOCICopyAnnotated(t *testing.T) {
	w, target, _ := newOCIWorld(t, pipeline.FormatModelPack, testregistry.Options{}, testregistry.Options{})
	w.run.Annotations = map[string]string{"com.example.team": "search"}
	target.ResetRequests()
	_, err := w.stream.Run(t.Context(), w.run)
	if outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "leave spec.forProvider.target.annotations out") {
		t.Errorf("want the cure, got %v", err)
	}
	if n := target.Count("", ""); n != 0 {
		t.Errorf("want nothing to be asked of the target, got %d requests", n)
	}
}

// TestOCISameRegistry has an artifact promoted to another repository of the same
// registry, by its tag: nothing is read, and nothing sent.
func TestOCISameRegistry(t *testing.T) {
	r := testregistry.Start(t, ociTokens)
	w, _, digest := newOCIWorldIn(t, pipeline.FormatModelKit, r, r)
	w.run.Source.Artifact.Reference = r.Host() + "/models/origin:" + stagingTag
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil || result.Digest != digest {
		t.Fatalf("Run(...): want %s, got %+v, %v\n%s", digest, result, err, w.log)
	}
	// The config, and the empty blob of a checkpoint.
	if n := r.Count(http.MethodPut, "/blobs/"); n > 2 {
		t.Errorf("want no layer to be sent, got %d blobs\n%s", n, w.log)
	}
	if n := r.Count(http.MethodPatch, "/blobs/"); n != 0 {
		t.Errorf("want no layer to be sent, got %d blobs\n%s", n, w.log)
	}
	if n := r.Count(http.MethodGet, "/blobs/"); n > 1 {
		t.Errorf("want nothing but the config to be read, got %d\n%s", n, w.log)
	}
	if !strings.Contains(w.log.String(), "model.safetensors: 1.1 MiB, mounted from models/origin") {
		t.Errorf("want the log to tell of it, got\n%s", w.log)
	}
}

// TestOCIRepack packs artifacts of each format in each other, and holds them
// against what is packed from the Hub itself.
func TestOCIRepack(t *testing.T) {
	formats := []string{pipeline.FormatModelPack, pipeline.FormatModelKit, pipeline.FormatImage}
	source, target := testregistry.Start(t, testregistry.Options{}), testregistry.Start(t, testregistry.Options{})
	for _, from := range formats {
		for _, to := range formats {
			if from == to {
				continue
			}
			t.Run(from+"To"+to, func(t *testing.T) {
				w, _, digest := newOCIWorldIn(t, from, source, target)
				direct := w.from
				direct.Format, direct.Target.Repository = to, "models/direct"
				want, err := w.stream.Run(t.Context(), direct)
				if err != nil {
					t.Fatal(err)
				}
				w.run.Format, w.run.Target.StagingTag = to, strings.ToLower(from+to)
				w.run.Meter = &pipeline.Meter{}
				got, err := w.stream.Run(t.Context(), w.run)
				if err != nil {
					t.Fatalf("Run(...): %v\n%s", err, w.log)
				}
				if got.Digest != want.Digest {
					t.Errorf("want what is packed from the Hub: -want, +got:\n%s", cmp.Diff(
						string(w.manifest(t, w.client(t, source), "models/direct", stagingTag)), string(w.manifest(t, w.registry, "models/model", w.run.Target.StagingTag))))
				}
				if got.Revision != digest || got.Files != want.Files {
					t.Errorf("want the source's digest and %d files, got %+v", want.Files, got)
				}
				if p := w.run.Meter.Progress(); p.Percent != 100 {
					t.Errorf("want all to be counted, got %+v", p)
				}
				w.source.ResetRequests()
				w.run.Meter = nil
				again, err := w.stream.Run(t.Context(), w.run)
				if diff := cmp.Diff(got, again); diff != "" || err != nil {
					t.Errorf("want the same again: -want, +got:\n%s\n%v\n%s", diff, err, w.log)
				}
				if !strings.Contains(w.log.String(), alreadyStaged) {
					t.Errorf("want what is staged to be reused once it was verified:\n%s", w.log)
				}
			})
		}
	}
}
