package main

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/pull"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

func TestPullAndReport(t *testing.T) {
	s := httptest.NewServer(gcr.New(gcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	d := push(t, host, "config.json", "{}")
	cases := map[string]struct {
		reason    string
		reference string
		parallel  int
		code      int
		last      string // The last line's beginning.
	}{
		"Done":   {reason: "The last line should name the digest and what was pulled.", reference: host + "/models/m@" + d.String(), parallel: 4, last: "done: " + d.String() + ", 1 files, 2 bytes"},
		"Chosen": {reason: "How many layers are fetched at a time should not have to be said.", reference: host + "/models/m:v1", parallel: -1, last: "done: " + d.String()},
		"Failed": {reason: "A failure should be one line with the cause.", reference: host + "/models/m:v2", parallel: 4, code: 1, last: "failed: NotFound: registry " + host + " has no models/m:v2"},
		"Unset":  {reason: "A missing reference should be refused.", parallel: 4, code: 1, last: "failed: Unsupported: \"\" names no artifact: write"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			dir := filepath.Join(t.TempDir(), "model")
			code := pullAndReport(pull.Options{Reference: tc.reference, Dir: dir, Parallel: tc.parallel, PlainHTTP: true, Log: &out})
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if last := lines[len(lines)-1]; code != tc.code || !strings.HasPrefix(last, tc.last) {
				t.Errorf("\n%s\npullAndReport(...): got %d:\n%s", tc.reason, code, out.String())
			}
			if b, err := os.ReadFile(filepath.Join(dir, "config.json")); code == 0 && (err != nil || string(b) != "{}") {
				t.Errorf("\n%s\nconfig.json: %q, %v", tc.reason, b, err)
			}
		})
	}
}

// push pushes an artifact of one file under the tag v1.
func push(t *testing.T, host, name, content string) digest.Digest {
	t.Helper()
	c, err := registry.New(registry.Options{Host: host, PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	layer := modelpack.LayerFor(name, int64(len(content)), digest.FromString(content))
	a, err := modelpack.New(modelpack.Facts{Name: "m"}, []ocispec.Descriptor{layer})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.PushBlob(t.Context(), "models/m", layer, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := c.PushBlob(t.Context(), "models/m", a.ConfigDescriptor, bytes.NewReader(a.Config)); err != nil {
		t.Fatal(err)
	}
	if err := c.PushManifest(t.Context(), "models/m", a.Descriptor, a.Manifest, "v1"); err != nil {
		t.Fatal(err)
	}
	return a.Descriptor.Digest
}
