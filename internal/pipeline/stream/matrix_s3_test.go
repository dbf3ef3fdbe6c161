package stream

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/source"
	"github.com/crossplane-contrib/provider-kitops/internal/source/bucket/s3"
	fakes3 "github.com/crossplane-contrib/provider-kitops/test/fakes/s3"
)

// fromS3Versioned has a run read the files from a bucket with versions, which has the
// SHA-256 of each object.
func fromS3Versioned(t *testing.T, w *streamWorld, files map[string]string) servedSource {
	t.Helper()
	b := fakes3.New("models")
	b.Versioned = true
	put := func(files map[string][]byte) {
		for name, content := range files {
			b.Put("tiny/"+name, content)
		}
	}
	s := w.fromBucket(t, b, files, put)
	s.versions = true
	return s
}

// fromS3 has a run read the files from a bucket without versions, which has nothing of an
// object but its ETag.
func fromS3(t *testing.T, w *streamWorld, files map[string]string) servedSource {
	t.Helper()
	b := fakes3.New("models")
	return w.fromBucket(t, b, files, func(files map[string][]byte) {
		for name, content := range files {
			b.PutWith("tiny/"+name, content, nil)
		}
	})
}

// fromBucket has the run read a bucket of S3 into which put brings files.
func (w *streamWorld) fromBucket(t *testing.T, b *fakes3.Server, files map[string]string, put func(files map[string][]byte)) servedSource {
	t.Helper()
	content := map[string][]byte{}
	for name, c := range files {
		content[name] = []byte(c)
	}
	put(content)
	h, setFault := harmed(b)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	w.run.Source = pipeline.Source{S3: &pipeline.S3Source{Bucket: b.Bucket, Prefix: "tiny", Region: fakes3.Region, Endpoint: server.URL}}
	w.stream.folder = func(s pipeline.Source, o download.Options) (source.Folder, error) {
		return s3.New(s, w.stream.retry, o)
	}
	return servedSource{
		setFault: setFault,
		lists:    func(r *http.Request) bool { return r.URL.Query().Has("list-type") || r.URL.Query().Has("versions") },
		sends: func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/tiny/")
		},
		change: func() { put(otherBytes(files)) },
	}
}
