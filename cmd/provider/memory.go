package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	// liveHeap is the runtime's metric of what was in use at the last garbage
	// collection (https://pkg.go.dev/runtime/metrics).
	liveHeap = "/gc/heap/live:bytes"

	// memoryInterval is how often it is looked at.
	memoryInterval = 5 * time.Second

	// largeHeap is from where on garbage is collected sooner, in bytes: some
	// thousands of Artifacts.
	largeHeap = 64 << 20
)

// boundGarbage has the garbage collector leave less garbage where the provider
// holds many Artifacts, until the context ends. With few, memory is no matter
// and collecting takes time from their Jobs. Where somebody has set GOGC it does
// nothing.
func boundGarbage(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	live := []metrics.Sample{{Name: liveHeap}}
	percent := 0
	wait.UntilWithContext(ctx, func(context.Context) {
		metrics.Read(live)
		if now := garbagePercent(live[0].Value.Uint64()); now != percent {
			debug.SetGCPercent(now)
			percent = now
		}
	}, memoryInterval)
}

// garbagePercent is how much garbage there may be for what is in use.
func garbagePercent(live uint64) int {
	if live < largeHeap {
		return 100
	}
	return 25
}
