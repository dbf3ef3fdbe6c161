package stream

import (
	"bytes"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestOCIFaults breaks what can break at both ends.
func TestOCIFaults(t *testing.T) {
	type fault func(large testregistry.Match) testregistry.Fault
	cut := func(n int) fault {
		return func(large testregistry.Match) testregistry.Fault {
			return testregistry.Times(n, large, testregistry.Cut(100_000))
		}
	}
	once := func(f testregistry.Fault) fault {
		return func(large testregistry.Match) testregistry.Fault { return testregistry.Times(1, large, f) }
	}
	reset := testregistry.Times(2, testregistry.On(http.MethodPut, "/blobs/uploads/"), testregistry.Reset(50_000))
	cases := map[string]struct {
		reason   string
		format   string // Of the source; what is made of an Image is a ModelKit.
		atSource fault
		atTarget testregistry.Fault
		want     string // Words of the error; none for success.
	}{
		"SourceBreaks": {reason: "A download that breaks should be resumed.", format: pipeline.FormatModelPack, atSource: cut(3)},
		"SourceFails": {reason: "A transient error of the source should be retried.", format: pipeline.FormatModelKit,
			atSource: once(testregistry.Status(http.StatusServiceUnavailable, "UNAVAILABLE", "later"))},
		"TargetBreaks":   {reason: "An upload that breaks should be resumed.", format: pipeline.FormatModelPack, atTarget: reset},
		"BothBreak":      {reason: "Breaks at both ends should be resumed.", format: pipeline.FormatModelKit, atSource: cut(3), atTarget: reset},
		"RepackBreaks":   {reason: "Breaks while packing should be resumed.", format: pipeline.FormatImage, atSource: cut(3), atTarget: reset},
		"Corrupt":        {reason: "A wrong byte should not be published.", format: pipeline.FormatModelPack, atSource: once(flip), want: "sent other bytes than those of"},
		"CorruptArchive": {reason: "A wrong byte in an archive should not be published.", format: pipeline.FormatImage, atSource: once(flip), want: "sent other bytes than those of"},
		"CorruptLater": {reason: "A byte that is wrong only at the second read should not be published.", format: pipeline.FormatImage, want: "is not what",
			atSource: func(large testregistry.Match) testregistry.Fault {
				var seen atomic.Int64
				// The first one finds out what is in the archive.
				return testregistry.Times(1, func(r *http.Request) bool { return large(r) && seen.Add(1) == 2 }, flip)
			}},
		"Lost": {reason: "A manifest whose blobs are gone should fail the run.", format: pipeline.FormatModelPack, want: "not all that belongs to it",
			atSource: func(large testregistry.Match) testregistry.Fault {
				return testregistry.Times(testregistry.Always, large, testregistry.Status(http.StatusNotFound, "BLOB_UNKNOWN", "gone"))
			}},
	}
	source, target := testregistry.Start(t, testregistry.Options{}), testregistry.Start(t, testregistry.Options{})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			front := target.Front(t)
			w, _, digest := newOCIWorldIn(t, tc.format, source.Front(t), front)
			w.stream.large.Max, w.stream.small.Max = 1, 1
			w.run.Target.Repository = "models/" + strings.ToLower(name)
			if tc.format == pipeline.FormatImage {
				w.run.Format = pipeline.FormatModelKit
			}
			if tc.atSource != nil {
				w.source.SetFault(tc.atSource(w.readsLargest(t, digest)))
			}
			front.SetFault(tc.atTarget)
			result, err := w.stream.Run(t.Context(), w.run)
			front.SetFault(nil)
			_, rerr := w.registry.Resolve(t.Context(), w.run.Target.Repository, stagingTag)
			switch {
			case tc.want == "" && (err != nil || rerr != nil):
				t.Errorf("\n%s\nRun(...): %v, %v\n%s", tc.reason, err, rerr, w.log)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || rerr == nil):
				t.Errorf("\n%s\nRun(...): want no tag, and an error with %q, got %+v, %v, %v\n%s", tc.reason, tc.want, result, err, rerr, w.log)
			}
		})
	}
}

// readsLargest matches what reads the largest blob of the source.
func (w *ociWorld) readsLargest(t *testing.T, digest string) testregistry.Match {
	t.Helper()
	client := w.client(t, w.source)
	manifests, err := modelpack.ReadManifests(t.Context(), client, "models/origin", w.manifest(t, client, "models/origin", digest))
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := manifests.Blobs()
	if err != nil {
		t.Fatal(err)
	}
	largest := blobs[0]
	for _, b := range blobs {
		if b.Size > largest.Size {
			largest = b
		}
	}
	return testregistry.On(http.MethodGet, "/blobs/"+largest.Digest.String())
}

// flip changes a byte of an answer's body.
func flip(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&flipper{ResponseWriter: w, at: 70_000}, r)
	})
}

type flipper struct {
	http.ResponseWriter

	at int
}

func (f *flipper) Write(p []byte) (int, error) {
	if f.at >= 0 && f.at < len(p) {
		p = bytes.Clone(p)
		p[f.at] ^= 1
	}
	f.at -= len(p)
	return f.ResponseWriter.Write(p)
}
