package stream

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// harmed returns a handler that a fault can be set on.
func harmed(next http.Handler) (h http.Handler, setFault func(f testhub.Fault)) {
	var fault atomic.Pointer[testhub.Fault]
	h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := fault.Load(); f != nil {
			(*f)(next).ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
	return h, func(f testhub.Fault) { fault.Store(&f) }
}

// fromRegistry has a run read the files from a ModelPack in a registry of its own.
func fromRegistry(t *testing.T, w *streamWorld, files map[string]string) servedSource {
	t.Helper()
	h, setFault := harmed(whole(inMemory()))
	origin := newStreamWorld(t, files, h)
	result, err := origin.stream.Run(t.Context(), origin.run)
	if err != nil {
		t.Fatalf("cannot make the artifact to read: %v\n%s", err, origin.log)
	}
	w.run.Source = pipeline.Source{Artifact: &pipeline.ArtifactSource{
		Reference: origin.run.Target.Registry + "/" + origin.run.Target.Repository + "@" + result.Digest, PlainHTTP: true,
	}}
	reads := func(part string) testhub.Match {
		return func(r *http.Request) bool { return r.Method == http.MethodGet && strings.Contains(r.URL.Path, part) }
	}
	return servedSource{setFault: setFault, lists: reads("/manifests/"), sends: reads("/blobs/")}
}
