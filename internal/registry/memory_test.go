package registry

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestMemory asks a registry that wants a password, by one client after the
// other.
func TestMemory(t *testing.T) {
	user := testregistry.User{Name: "puller", Password: "correct-horse"}
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{user}})
	memory := NewMemory()
	asked := func(m *Memory) int {
		t.Helper()
		c, err := New(Options{Host: r.Host(), PlainHTTP: true, DockerConfig: r.DockerConfig(), SingleTry: true, Memory: m})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r.ResetRequests()
		if _, err := c.Resolve(t.Context(), "models/x", "v1"); !IsNotFound(err) {
			t.Fatal(err)
		}
		return len(r.Requests())
	}
	got := []int{asked(memory), asked(memory), asked(memory), asked(nil)}
	if diff := cmp.Diff([]int{2, 1, 1, 2}, got); diff != "" {
		t.Errorf("requests of one question by each client: -want, +got:\n%s", diff)
	}
}
