// Package memory configures Go's garbage collector: for the provider, whose use
// of memory grows with the number of Artifacts, and for the worker, which has to
// fit into its container.
package memory

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// liveHeap is the runtime's metric of the bytes that were live at the last
	// garbage collection (https://pkg.go.dev/runtime/metrics).
	liveHeap = "/gc/heap/live:bytes"

	// tuneInterval is how often that metric is read.
	tuneInterval = 5 * time.Second

	// leastLimit is the provider's least soft limit, in bytes. A provider of some
	// hundred Artifacts never reaches it, so that nothing slows down its reconciles.
	leastLimit = 128 << 20

	// limitOverhead is what the soft limit grants beside the heap, in bytes:
	// stacks, the collector's own memory, and spans that are partly in use.
	limitOverhead = 36 << 20
)

// Tune keeps the collector's soft limit a little above what is live, until the
// context is done: the caches of thousands of Artifacts shall not have as much
// garbage beside them, and what a peak took is returned to the system. Tune does
// nothing if the variable GOGC or GOMEMLIMIT is set.
func Tune(ctx context.Context) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	live := []metrics.Sample{{Name: liveHeap}}
	wait.UntilWithContext(ctx, func(context.Context) {
		metrics.Read(live)
		debug.SetMemoryLimit(limitFor(live[0].Value.Uint64()))
	}, tuneInterval)
}

// limitFor returns the soft limit, in bytes, for a live heap.
func limitFor(live uint64) int64 {
	return max(leastLimit, int64(min(live, math.MaxInt64/2)/4*5)+limitOverhead)
}

const (
	// defaultLimit is the soft limit of a worker whose container has no limit. It
	// is what a Stream of some thousand files has in use at most, with the
	// program itself.
	defaultLimit = 40 << 20

	// limitPercent is the soft limit of a worker in percent of its container's
	// limit. The rest is for memory that the collector does not manage.
	limitPercent = 80
)

// cgroupLimits are the files with a container's memory limit, of cgroups v2 and v1
// (Linux, Documentation/admin-guide/cgroup-v2.rst, memory.max, and
// cgroup-v1/memory.rst, memory.limit_in_bytes). A container sees its own.
var cgroupLimits = []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}

// Limit sets the collector's soft limit to what the process's container has,
// unless the variable GOMEMLIMIT is set.
func Limit() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softLimit("/"))
	}
}

// softLimit returns the soft limit for a container whose file system is root.
func softLimit(root string) int64 {
	for _, name := range cgroupLimits {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		// Without a limit, v2 has the word max, and v1 nearly the largest number.
		if err != nil || n <= 0 || n > math.MaxInt64/limitPercent {
			continue
		}
		return max(n*limitPercent/100, 1)
	}
	return defaultLimit
}
