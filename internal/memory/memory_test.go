package memory

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"testing"
)

func TestContainerLimit(t *testing.T) {
	const v2, v1 = "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"
	cases := map[string]struct {
		reason string
		files  map[string]string
		want   int64
	}{
		"V2":          {reason: "The limit of cgroups v2 should be returned.", files: map[string]string{v2: "268435456\n", v1: "1000\n"}, want: 268435456},
		"V1":          {reason: "The limit of cgroups v1 should be used if there is no other.", files: map[string]string{v1: "1000\n"}, want: 1000},
		"V2Unlimited": {reason: "The word max is no limit.", files: map[string]string{v2: "max\n"}},
		"V1Unlimited": {reason: "The largest number of pages is no limit.", files: map[string]string{v1: "9223372036854771712\n"}},
		"None":        {reason: "Without cgroups there is no limit."},
		"Nonsense":    {reason: "What is not a positive number is no limit.", files: map[string]string{v2: "-1"}},
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
			if got := containerLimit(root); got != tc.want {
				t.Errorf("\n%s\ncontainerLimit(...): want %d, got %d", tc.reason, tc.want, got)
			}
		})
	}
}

func TestBudget(t *testing.T) {
	const mib = 1 << 20
	cases := map[string]struct {
		reason     string
		want, soft int64
		expect     int64
	}{
		"Unlimited": {reason: "Where nothing limits memory, buffers should get what is asked for.", want: 2048 * mib, soft: math.MaxInt64, expect: 2048 * mib},
		"Fits":      {reason: "What fits beside the program should be granted.", want: 256 * mib, soft: 800 * mib, expect: 256 * mib},
		"Bounded":   {reason: "Buffers should leave to the program what it needs.", want: 256 * mib, soft: 200 * mib, expect: 160 * mib},
		"Small":     {reason: "In a small container the program should get half.", want: 256 * mib, soft: 40 * mib, expect: 20 * mib},
		"Least":     {reason: "Less than the container leaves should be kept to.", want: 16 * mib, soft: 200 * mib, expect: 16 * mib},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := budget(tc.want, tc.soft); got != tc.expect {
				t.Errorf("\n%s\nbudget(%d, %d): want %d, got %d", tc.reason, tc.want, tc.soft, tc.expect, got)
			}
		})
	}

	// This process may have a limit, but none as small as that.
	t.Setenv("GOMEMLIMIT", "")
	if got := Budget(1 << 10); got != 1<<10 {
		t.Errorf("Budget(1024): want 1024, got %d", got)
	}
	if got := Budget(0); got <= 1<<10 || got > DefaultBudget {
		t.Errorf("Budget(0): want the default at most, got %d", got)
	}
	t.Setenv("GOMEMLIMIT", "100MiB")
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(100 * mib))
	if got := Budget(0); got > 60*mib {
		t.Errorf("Budget(0) with a GOMEMLIMIT of 100 MiB: want 60 MiB at most, got %d", got)
	}
}

func TestSoftLimit(t *testing.T) {
	const mib = 1 << 20
	cases := map[string]struct {
		reason string
		adds   []int64
		want   []int64
	}{
		"None":     {reason: "Without buffers the limit should be the program's.", want: []int64{defaultLimit}},
		"Grows":    {reason: "The limit should be above what is in use.", adds: []int64{mib, 20 * mib}, want: []int64{defaultLimit, defaultLimit + 8*mib, defaultLimit + 24*mib}},
		"Steps":    {reason: "Small buffers should change it once a step.", adds: []int64{mib, mib, mib, mib}, want: []int64{defaultLimit, defaultLimit + 8*mib}},
		"Falls":    {reason: "The limit should fall when buffers are returned.", adds: []int64{64 * mib, -64 * mib}, want: []int64{defaultLimit, defaultLimit + 64*mib, defaultLimit}},
		"Hovers":   {reason: "One buffer that comes and goes should not change it each time.", adds: []int64{9 * mib, -2 * mib, 2 * mib, -2 * mib}, want: []int64{defaultLimit, defaultLimit + 16*mib}},
		"Negative": {reason: "More returned than taken should count as none.", adds: []int64{-mib, 8 * mib}, want: []int64{defaultLimit, defaultLimit + 8*mib}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []int64
			l := &softLimit{}
			l.add(0)
			l.follow(func(n int64) int64 { got = append(got, n); return 0 })
			for _, n := range tc.adds {
				l.add(n)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("\n%s\nlimits: want %d, got %d", tc.reason, tc.want, got)
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
