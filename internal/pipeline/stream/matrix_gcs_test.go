package stream

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// gcsPath is where the JSON API has the objects of the bucket.
const gcsPath = "/storage/v1/b/models/o"

// A gcsBucket answers as Google Cloud Storage does for a bucket without versions: it has
// one generation of each object, and sends no other.
type gcsBucket struct {
	mu         sync.Mutex
	objects    map[string][]byte
	generation int // Of all objects.
}

// put replaces all objects.
func (b *gcsBucket) put(files map[string][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects = map[string][]byte{}
	for name, content := range files {
		b.objects["tiny/"+name] = content
	}
	b.generation++
}

// ServeHTTP implements http.Handler.
func (b *gcsBucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	objects, generation := b.objects, strconv.Itoa(b.generation)
	b.mu.Unlock()
	if r.URL.Path == gcsPath {
		list(w, objects, generation)
		return
	}
	content, ok := objects[strings.TrimPrefix(r.URL.Path, gcsPath+"/")]
	switch q := r.URL.Query(); {
	case !ok, q.Get("generation") != generation:
		w.WriteHeader(http.StatusNotFound)
	case q.Get("ifGenerationMatch") != generation:
		w.WriteHeader(http.StatusPreconditionFailed)
	default:
		w.Header().Set("X-Goog-Generation", generation)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

// list writes the listing of the objects.
func list(w http.ResponseWriter, objects map[string][]byte, generation string) {
	type item struct {
		Name       string `json:"name"`
		Size       string `json:"size"`
		Generation string `json:"generation"`
		CRC32C     string `json:"crc32c"`
	}
	items := []item{}
	for name, content := range objects {
		sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(content, crc32.MakeTable(crc32.Castagnoli)))
		items = append(items, item{name, strconv.Itoa(len(content)), generation, base64.StdEncoding.EncodeToString(sum)})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "storage#objects", "items": items})
}

// fromGCS has a run read the files from a bucket of Google Cloud Storage.
func fromGCS(t *testing.T, w *streamWorld, files map[string]string) servedSource {
	t.Helper()
	content := map[string][]byte{}
	for name, c := range files {
		content[name] = []byte(c)
	}
	b := &gcsBucket{}
	b.put(content)
	h, setFault := harmed(b)
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	w.run.Source = pipeline.Source{GCS: &pipeline.GCSSource{Bucket: "models", Prefix: "tiny", Endpoint: server.URL}}
	return servedSource{
		setFault: setFault,
		lists:    func(r *http.Request) bool { return r.URL.Path == gcsPath },
		sends:    func(r *http.Request) bool { return r.URL.Path != gcsPath },
		change:   func() { b.put(otherBytes(files)) },
	}
}
