package contract

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

var (
	claimOwner = provenance.Owner{ID: "11111111-1111-1111-1111-111111111111", Namespace: "team-a", Name: "model"}
	otherOwner = provenance.Owner{ID: "22222222-2222-2222-2222-222222222222", Namespace: "team-b", Name: "model"}
)

const claimHash = "20f1edbd2397685f"

// claimRuns counts the runs, so that none finds what another has left.
var claimRuns atomic.Int64

// claimRun returns a run of an Artifact's: of bytes and to a repository of its
// own.
func claimRun(t *testing.T) pipeline.Run {
	t.Helper()
	n := claimRuns.Add(1)
	run := newRun(t, addModel(t, map[string]string{"model.onnx": fmt.Sprintf("weights %d", n), "config.json": "{}"}), pipeline.FormatModelKit)
	run.Target.Repository += fmt.Sprintf("-%d", n)
	run.Owner, run.RunHash, run.Number = claimOwner, claimHash, 1
	return run
}

// claimClient returns a client of the registry that a run pushes to.
func claimClient(t *testing.T, run pipeline.Run) *registry.Client {
	t.Helper()
	config := `{"auths":{"` + run.Target.Registry + `":{"username":"` + user + `","password":"` + password + `"}}}`
	c, err := registry.New(registry.Options{Host: run.Target.Registry, PlainHTTP: true, DockerConfig: []byte(config)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// pushForeign pushes a small artifact of somebody else's under a run's tag.
func pushForeign(t *testing.T, c *registry.Client, run pipeline.Run) ocispec.Descriptor {
	t.Helper()
	return testregistry.PushForeign(t, c, run.Target.Repository, run.Target.Tag)
}

func pushRecord(t *testing.T, c *registry.Client, run pipeline.Run, subject ocispec.Descriptor, owner provenance.Owner) {
	t.Helper()
	r := provenance.Record{Owner: owner, RunHash: "0000000000000000", Run: 1}
	if err := provenance.Push(t.Context(), c, run.Target.Repository, subject, r); err != nil {
		t.Fatal(err)
	}
}

// What a registry is asked to keep.
const (
	aBlob   = "blob"
	aRecord = "record" // A manifest that refers to another.
	aTag    = "tag"
)

// pushes notes what is pushed to the registry, of equal ones in a row the first.
// A status that answer gives is the registry's answer; zero leaves it alone.
type pushes struct {
	mu     sync.Mutex
	noted  []string
	answer func(r *http.Request, what string) int
}

func (p *pushes) see(r *http.Request) int {
	what := whatIsPushed(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if what != "" {
		p.noted = slices.Compact(append(p.noted, what))
	}
	if p.answer == nil {
		return 0
	}
	return p.answer(r, what)
}

func (p *pushes) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.noted
	p.noted = nil
	return out
}

// whatIsPushed leaves out manifests by their digest that refer to no other, and
// lists of those that do: kits differ in what they push.
func whatIsPushed(r *http.Request) string {
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	switch {
	case r.Method != http.MethodPut, strings.HasPrefix(name, "sha256-"):
		return ""
	case r.URL.Query().Get("digest") == ocispec.DescriptorEmptyJSON.Digest.String():
		return "" // Anybody's.
	case !strings.Contains(r.URL.Path, "/manifests/"):
		return aBlob
	case !strings.HasPrefix(name, "sha256:"):
		return aTag
	}
	b, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(b))
	if bytes.Contains(b, []byte(`"subject"`)) {
		return aRecord
	}
	return ""
}

// deleteBlob takes a blob from a registry that lets one do that.
func deleteBlob(t *testing.T, run pipeline.Run, d string) {
	t.Helper()
	u := "http://" + run.Target.Registry + "/v2/" + run.Target.Repository + "/blobs/" + d
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, u, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = rsp.Body.Close()
	if rsp.StatusCode != http.StatusAccepted {
		t.Skipf("the registry does not delete blobs: %s", rsp.Status)
	}
}
