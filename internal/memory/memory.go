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
	"sync"
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

	// smallHeapGrowth is how much the provider's heap grows until it is collected, in percent
	// of what is live.
	smallHeapGrowth = 200

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
	// A small heap may grow further than by its own size before it is collected: while many
	// runs begin, a tenth of the processor time goes there else. Of a large one the limit
	// decides.
	debug.SetGCPercent(smallHeapGrowth)
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
	// defaultLimit is the soft limit of a worker whose container has no limit, beside
	// the buffers that it reports to AddBuffers: what the program itself and a Stream of
	// some thousand files have in use at most.
	defaultLimit = 40 << 20

	// limitPercent is the soft limit of a worker in percent of its container's
	// limit. The rest is for memory that the collector does not manage.
	limitPercent = 80

	// DefaultBudget is what buffers may take, in bytes, where nobody says otherwise.
	DefaultBudget = 256 << 20

	// limitStep is by how much the soft limit follows buffers at a time, in bytes: each
	// change of it stops the program for some microseconds.
	limitStep = 8 << 20
)

// cgroupLimits are the files with a container's memory limit, of cgroups v2 and v1
// (Linux, Documentation/admin-guide/cgroup-v2.rst, memory.max, and
// cgroup-v1/memory.rst, memory.limit_in_bytes). A container sees its own.
var cgroupLimits = []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}

// limit is the soft limit of this process.
var limit = &softLimit{}

// Limit sets the collector's soft limit to what the process's container has, unless the
// variable GOMEMLIMIT is set. If the container has no limit, the soft limit is a small
// one, to which AddBuffers adds.
func Limit() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	n := containerLimit("/")
	if n == 0 {
		limit.follow(debug.SetMemoryLimit)
		return
	}
	debug.SetMemoryLimit(max(n*limitPercent/100, 1))
}

// Budget returns how many bytes buffers may take: what is asked for, or DefaultBudget if
// want is not positive, but no more than the container's limit, or GOMEMLIMIT, leaves
// beside the program.
func Budget(want int64) int64 {
	if want <= 0 {
		want = DefaultBudget
	}
	soft := int64(math.MaxInt64)
	if n := containerLimit("/"); n > 0 {
		soft = n / 100 * limitPercent
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		soft = min(soft, debug.SetMemoryLimit(-1))
	}
	return budget(want, soft)
}

// budget returns what buffers may take of a process with this soft limit: what the
// program leaves, which is at least half.
func budget(want, soft int64) int64 {
	return min(want, soft-min(defaultLimit, soft/2))
}

// AddBuffers reports that n more bytes of buffers are in use, or fewer if n is negative.
// If the soft limit is not the container's or that of GOMEMLIMIT, it rises and falls with
// them: a limit below what is live would have the collector run without end, and one for
// the largest budget would have a small run keep as much garbage.
func AddBuffers(n int64) { limit.add(n) }

// A softLimit follows the bytes of buffers that are in use.
type softLimit struct {
	mu sync.Mutex

	// set sets the collector's limit; nil if that is fixed.
	set func(int64) int64

	// buffers are the bytes in use, and last is the limit that was set last.
	buffers, last int64
}

// follow sets the limit by this function, now and whenever it changes.
func (l *softLimit) follow(set func(int64) int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set = set
	l.apply()
}

// add adds bytes of buffers.
func (l *softLimit) add(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buffers = max(l.buffers+n, 0)
	l.apply()
}

// apply sets the limit if it is too low, or too high by more than a step: one buffer that
// comes and goes shall not change it each time.
func (l *softLimit) apply() {
	want := defaultLimit + (l.buffers+limitStep-1)/limitStep*limitStep
	if l.set == nil || (want <= l.last && want >= l.last-limitStep) {
		return
	}
	l.last = want
	l.set(want)
}

// containerLimit returns the memory limit, in bytes, of a container whose file system is
// root; 0 if it has none.
func containerLimit(root string) int64 {
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
		return n
	}
	return 0
}
