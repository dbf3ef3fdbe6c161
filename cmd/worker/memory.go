package main

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	// memoryLimit is what the collector keeps a run's memory to, as far as it
	// can, where the container has no limit. It is what a Stream of some
	// thousand files has at most in use, and what the program needs.
	memoryLimit = 40 << 20

	// memoryPercent is how much of the container's limit that is where there is
	// one. The rest is for what the collector does not know of.
	memoryPercent = 80
)

// cgroupLimits are the files that say how much memory a container may take, of
// cgroups v2 and v1 (Linux, Documentation/admin-guide/cgroup-v2.rst, memory.max,
// and cgroup-v1/memory.rst, memory.limit_in_bytes). A container sees its own.
var cgroupLimits = []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"}

// limitMemory has memory collected before it grows to more than the container may
// take, unless GOMEMLIMIT says otherwise.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimitOf("/"))
	}
}

// memoryLimitOf returns the limit for a container whose file system is root.
func memoryLimitOf(root string) int64 {
	for _, name := range cgroupLimits {
		b, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		// Without a limit, v2 says max, and v1 nearly the largest number.
		if err != nil || n <= 0 || n > math.MaxInt64/memoryPercent {
			continue
		}
		return max(n*memoryPercent/100, 1)
	}
	return memoryLimit
}
