package stream

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

// TestLargeAtOnce moves large layers to registries of several makes.
func TestLargeAtOnce(t *testing.T) {
	const layers, most = 8, 4
	cases := map[string]struct {
		reason   string
		registry string
		want     int64
	}{
		"Any":     {reason: "Large layers should be moved in parallel.", registry: "registry.example.com", want: most},
		"Bounded": {reason: "A registry that limits the time of an upload should get one at a time.", registry: "ghcr.io", want: 1},
		"Case":    {reason: "A host with capitals and a port should be recognised.", registry: "GHCR.io:443", want: 1},
		"Whole":   {reason: "A registry without a known time limit should get several uploads in parallel.", registry: "europe-docker.pkg.dev", want: most},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &task{Pipeline: &Pipeline{large: most}, run: pipeline.Run{Target: pipeline.Target{Registry: tc.registry}}}
				var now, got atomic.Int64
				err := each(t.Context(), r.largeAtOnce(), make([]int, layers), func(context.Context, int) error {
					got.Store(max(got.Load(), now.Add(1)))
					time.Sleep(time.Second)
					now.Add(-1)
					return nil
				})
				if err != nil || got.Load() != tc.want {
					t.Errorf("\n%s\nwant %d layers at the same time, got %d, %v", tc.reason, tc.want, got.Load(), err)
				}
			})
		})
	}
}
