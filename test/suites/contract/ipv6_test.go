package contract

import (
	"net"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// frontIPv6 returns the host of another way to the registry, by an IPv6 address, until
// the test ends.
func (r *testRegistry) frontIPv6(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(r)
	_ = s.Listener.Close()
	s.Listener = listener
	s.Start()
	t.Cleanup(s.Close)
	return listener.Addr().String()
}

// TestIPv6 pushes to a registry at an IPv6 address by both pipelines.
func TestIPv6(t *testing.T) {
	host := suite.world.plain.frontIPv6(t)
	files := speechFiles(t)
	for name, do := range map[string]func(*testing.T, pipeline.Run) outcome.Result{
		"Stream": runStream,
		"Kit": func(t *testing.T, run pipeline.Run) outcome.Result {
			t.Helper()
			got, _, err := runKit(t.Context(), t, run)
			if err != nil {
				t.Fatalf("Run(...): %v", err)
			}
			return got
		},
	} {
		t.Run(name, func(t *testing.T) {
			run := newRun(t, addModel(t, files), pipeline.FormatModelKit)
			run.Target.Registry, run.Target.DockerConfig = host, dockerConfig(t, host, password)
			got := do(t, run)
			a := fetch(t, suite.world.plain, run.Target.Repository, stagingTag)
			if diff := cmp.Diff(models.Packed(files), a.Files); diff != "" {
				t.Errorf("files in the registry: -want, +got:\n%s", diff)
			}
			if got.Digest != a.Descriptor.Digest.String() {
				t.Errorf("result has the digest %s, the registry %s", got.Digest, a.Descriptor.Digest)
			}
		})
	}
}
