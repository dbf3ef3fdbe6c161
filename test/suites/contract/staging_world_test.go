package contract

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// stagingTag is the run's own.
const stagingTag = "kitops-staging-20f1edbd2397685f"

// stagingRuns counts the runs, so that none finds what another has pushed.
var stagingRuns atomic.Int64

// stagingRun returns a run of bytes and to a repository of its own.
func stagingRun(t *testing.T) pipeline.Run {
	t.Helper()
	n := stagingRuns.Add(1)
	run := newRun(t, addModel(t, map[string]string{"model.onnx": fmt.Sprintf("weights %d", n), "config.json": "{}"}), pipeline.FormatModelKit)
	run.Target.Repository += fmt.Sprintf("-%d", n)
	return run
}

// stagingClient returns a client of the registry that a run pushes to.
func stagingClient(t *testing.T, run pipeline.Run) *registry.Client {
	t.Helper()
	config := `{"auths":{"` + run.Target.Registry + `":{"username":"` + user + `","password":"` + password + `"}}}`
	c, err := registry.New(registry.Options{Host: run.Target.Registry, PlainHTTP: true, DockerConfig: []byte(config)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// What a registry is asked to keep.
const (
	aBlob = "blob"
	aTag  = "tag"
	aList = "list" // Of what refers to a manifest, where there is no referrers API.
)

// pushes notes what is pushed to the registry, of equal ones in a row the first.
// A status that answer gives is the registry's answer; zero leaves it alone.
type pushes struct {
	mu      sync.Mutex
	noted   []string
	deleted int // How many requests delete something.
	answer  func(r *http.Request, what string) int
}

func (p *pushes) see(r *http.Request) int {
	what := whatIsPushed(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Method == http.MethodDelete {
		p.deleted++
	}
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

// whatIsPushed returns what a request pushes, and ignores manifests by their
// digests: kits differ in that.
func whatIsPushed(r *http.Request) string {
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	switch {
	case r.Method != http.MethodPut, r.URL.Query().Get("digest") == ocispec.DescriptorEmptyJSON.Digest.String():
		return "" // The empty blob may be anyone's.
	case !strings.Contains(r.URL.Path, "/manifests/"):
		return aBlob
	case strings.HasPrefix(name, "sha256-"):
		return aList
	case !strings.HasPrefix(name, "sha256:"):
		return aTag
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
