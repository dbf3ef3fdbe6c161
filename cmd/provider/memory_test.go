package main

import (
	"runtime/metrics"
	"slices"
	"testing"
)

func TestGarbagePercent(t *testing.T) {
	for live, want := range map[uint64]int{0: 100, largeHeap - 1: 100, largeHeap: 25, 10 * largeHeap: 25} {
		if got := garbagePercent(live); got != want {
			t.Errorf("garbagePercent(%d): got %d, want %d", live, got, want)
		}
	}
	if !slices.ContainsFunc(metrics.All(), func(d metrics.Description) bool { return d.Name == liveHeap && d.Kind == metrics.KindUint64 }) {
		t.Errorf("the runtime has no metric %s any more", liveHeap)
	}
}
