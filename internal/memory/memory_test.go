package memory

import (
	"math"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"testing"
)

func TestSoftLimit(t *testing.T) {
	const v2, v1 = "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"
	cases := map[string]struct {
		reason string
		files  map[string]string
		want   int64
	}{
		"V2":          {reason: "The soft limit should leave a part of the container's limit for memory that is not collected.", files: map[string]string{v2: "268435456\n"}, want: 268435456 / 100 * 80},
		"V1":          {reason: "The limit of cgroups v1 should be used if there is no other.", files: map[string]string{v1: "1000\n"}, want: 800},
		"V2Unlimited": {reason: "The default should be used if the container has no limit.", files: map[string]string{v2: "max\n"}, want: defaultLimit},
		"V1Unlimited": {reason: "The default should be used if the container has no limit.", files: map[string]string{v1: "9223372036854771712\n"}, want: defaultLimit},
		"None":        {reason: "The default should be used if there are no cgroups.", want: defaultLimit},
		"Nonsense":    {reason: "The default should be used if the limit is not a positive number.", files: map[string]string{v2: "-1"}, want: defaultLimit},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tc.files {
				name = filepath.Join(root, name)
				if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := softLimit(root); got < tc.want-100 || got > tc.want+100 {
				t.Errorf("\n%s\nsoftLimit(...): want %d, got %d", tc.reason, tc.want, got)
			}
		})
	}
}

func TestLimitFor(t *testing.T) {
	cases := map[string]struct {
		reason string
		live   uint64
		want   int64
	}{
		"Small": {reason: "A small heap should have the least limit.", live: 10 << 20, want: leastLimit},
		"Large": {reason: "A large heap should have room for a quarter of garbage, and for what is no heap.", live: 160 << 20, want: 200<<20 + limitOverhead},
		"Most":  {reason: "A heap of any size should have a limit above it.", live: math.MaxUint64, want: math.MaxInt64/2/4*5 + limitOverhead},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := limitFor(tc.live); got != tc.want {
				t.Errorf("\n%s\nlimitFor(%d): want %d, got %d", tc.reason, tc.live, tc.want, got)
			}
		})
	}
	if !slices.ContainsFunc(metrics.All(), func(d metrics.Description) bool { return d.Name == liveHeap && d.Kind == metrics.KindUint64 }) {
		t.Errorf("the runtime has no metric %s any more", liveHeap)
	}
}
