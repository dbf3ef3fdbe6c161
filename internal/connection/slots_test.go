package connection

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSlotsAreSharedFairly(t *testing.T) {
	type step struct {
		sharer  string
		tries   int
		release int // Slots to release before.
		want    int // Tries that succeed.
	}
	cases := map[string]struct {
		reason string
		most   int
		steps  []step
	}{
		"Alone":    {reason: "A single sharer should get half of a pool.", most: 7, steps: []step{{sharer: "a", tries: 9, want: 4}}},
		"Third":    {reason: "Two sharers that take what they can should leave a slot for a third.", most: 7, steps: []step{{sharer: "a", tries: 9, want: 4}, {sharer: "b", tries: 9, want: 2}, {sharer: "c", tries: 9, want: 1}}},
		"Released": {reason: "A slot that a large sharer releases should go to one that holds none.", most: 7, steps: []step{{sharer: "a", tries: 9, want: 4}, {sharer: "b", tries: 9, want: 2}, {sharer: "c", tries: 9, want: 1}, {sharer: "a", release: 1, tries: 9}, {sharer: "b", tries: 9}, {sharer: "d", tries: 9, want: 1}}},
		"Small":    {reason: "A pool of one slot should go to whoever comes first.", most: 1, steps: []step{{sharer: "a", tries: 2, want: 1}, {sharer: "b", tries: 2}}},
		"Unshared": {reason: "A pool without sharers should be used up.", most: 3, steps: []step{{tries: 5, want: 3}, {release: 1, tries: 5, want: 1}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var s Slots
			held := map[string]int{}
			for i, step := range tc.steps {
				limits := []Limit{{Pool: "slow", Most: tc.most, Sharer: step.sharer}}
				for range step.release {
					s.Release(limits)
					held[step.sharer]--
				}
				got := 0
				for range step.tries {
					if s.TryTake(limits) {
						got++
					}
				}
				held[step.sharer] += got
				if got != step.want {
					t.Errorf("\n%s\nstep %d: TryTake(...): want %d slots, got %d", tc.reason, i, step.want, got)
				}
			}
			for sharer, n := range held {
				for range n {
					s.Release([]Limit{{Pool: "slow", Most: tc.most, Sharer: sharer}})
				}
			}
			if diff := cmp.Diff(0, len(s.held)+len(s.latest)); diff != "" {
				t.Errorf("\n%s\nSlots that are all released should be forgotten: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestSlotsTakeAllOrNone has one pool full: no slot of the other one may be lost.
func TestSlotsTakeAllOrNone(t *testing.T) {
	var s Slots
	both := []Limit{{Pool: "a", Most: 2}, {Pool: "b", Most: 1}}
	if !s.TryTake(both) || s.TryTake(both) {
		t.Fatal("Two pools should be as large as the smaller one.")
	}
	if !s.TryTake([]Limit{{Pool: "a", Most: 2}}) {
		t.Error("A failed try should hold no slot.")
	}
}

// TestSlotsWait shows which slots are waited for.
func TestSlotsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s Slots
		one := []Limit{{Pool: "x", Most: 1}}
		if !s.Take(t.Context(), one) {
			t.Fatal("A slot that is free should be taken.")
		}
		time.AfterFunc(slotWait/2, func() { s.Release(one) })
		if !s.Take(t.Context(), one) {
			t.Error("A slot that is released meanwhile should be taken.")
		}
		time.Sleep(time.Second)
		began := time.Now()
		if s.Take(t.Context(), one) || time.Since(began) > 0 {
			t.Error("A slot that was taken long ago should not be waited for.")
		}
	})
}
