package queue

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

// at returns a time so many seconds after the first.
func at(seconds int) time.Time { return time.Unix(1_700_000_000+int64(seconds), 0) }

// of returns an entry with one Pod.
func of(namespace, name string, since int) Entry {
	return Entry{UID: types.UID(namespace + "/" + name), Namespace: namespace, Name: name, Config: shared, Since: at(since), Pods: 1}
}

// with returns an entry with another priority.
func (e Entry) with(priority int32) Entry {
	e.Priority = priority
	return e
}

const shared = "ClusterProviderConfig/shared"

func TestOrder(t *testing.T) {
	cases := map[string]struct {
		reason  string
		waiting []Entry
		running map[string]int
		want    []string
	}{
		"Oldest": {
			reason:  "In one namespace, the oldest entry should come first, and names should decide between entries of one second.",
			waiting: []Entry{of("a", "3", 3), of("a", "1", 1), of("a", "2b", 2), of("a", "2a", 2)},
			want:    []string{"a/1", "a/2a", "a/2b", "a/3"},
		},
		"Fair": {
			reason:  "Namespaces should take turns, whichever has more and older entries.",
			waiting: []Entry{of("a", "1", 1), of("a", "2", 2), of("a", "3", 3), of("b", "1", 10), of("b", "2", 11)},
			want:    []string{"a/1", "b/1", "a/2", "b/2", "a/3"},
		},
		"Running": {
			reason:  "A namespace that has Pods should wait until others have as many.",
			waiting: []Entry{of("a", "1", 1), of("b", "1", 10), of("b", "2", 11), of("b", "3", 12)},
			running: map[string]int{"a": 2},
			want:    []string{"b/1", "b/2", "a/1", "b/3"},
		},
		"Pods": {
			reason:  "A run of several Pods should count as several.",
			waiting: []Entry{{Namespace: "a", Name: "1", Since: at(1), Pods: 2}, of("a", "2", 2), of("b", "1", 10), of("b", "2", 11), of("b", "3", 12)},
			want:    []string{"a/1", "b/1", "b/2", "a/2", "b/3"},
		},
		"Priority": {
			reason:  "A higher priority should come first, whatever its namespace has, and count in its namespace's turns after that.",
			waiting: []Entry{of("a", "1", 1), of("a", "2", 2).with(5), of("b", "1", 10), of("b", "2", 11).with(-1)},
			running: map[string]int{"a": 1},
			want:    []string{"a/2", "b/1", "a/1", "b/2"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, names(Order(tc.waiting, tc.running, nil))); diff != "" {
				t.Errorf("\n%s\nOrder(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// names returns the names of entries.
func names(entries []Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.key().String())
	}
	return out
}

// TestOrderIsFair checks of random entries that each one comes when its priority and its
// namespace are due, and that the order does not depend on that of the argument.
func TestOrderIsFair(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		waiting, running := randomEntries(r), map[string]int{"a": r.IntN(4), "b": r.IntN(4)}
		got := Order(waiting, running, nil)
		r.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
		if diff := cmp.Diff(names(got), names(Order(waiting, running, nil))); diff != "" {
			t.Fatalf("seed %d: the order of the argument should not matter: %s", seed, diff)
		}
		pods := map[string]int{"a": running["a"], "b": running["b"]}
		for i, e := range got {
			for _, later := range got[i+1:] {
				if later.Priority > e.Priority {
					t.Fatalf("seed %d: %s should come after %s, which has a higher priority", seed, e.key(), later.key())
				}
				if later.Priority == e.Priority && pods[later.Namespace] < pods[e.Namespace] {
					t.Fatalf("seed %d: %s should come after %s, whose namespace has fewer Pods", seed, e.key(), later.key())
				}
				if later.Priority == e.Priority && later.Namespace == e.Namespace && later.Since.Before(e.Since) {
					t.Fatalf("seed %d: %s should come after %s, which is older", seed, e.key(), later.key())
				}
			}
			pods[e.Namespace] += e.Pods
		}
		if len(got) != len(waiting) {
			t.Fatalf("seed %d: want %d entries, got %d", seed, len(waiting), len(got))
		}
	}
}

// randomEntries returns up to 40 entries of four namespaces.
func randomEntries(r *rand.Rand) []Entry {
	out := make([]Entry, 0, 40)
	for i := range r.IntN(40) {
		e := of(string(rune('a'+r.IntN(4))), fmt.Sprint(i), r.IntN(30)).with(int32(r.IntN(3) - 1))
		e.Pods = 1 + r.IntN(3)
		out = append(out, e)
	}
	return out
}

// BenchmarkOrder orders what a tenant with very many Artifacts has waiting.
func BenchmarkOrder(b *testing.B) {
	waiting := make([]Entry, 0, 10_000)
	for i := range cap(waiting) {
		waiting = append(waiting, of(fmt.Sprint("team-", i%40), fmt.Sprint(i), i%97))
	}
	for b.Loop() {
		Order(waiting, nil, nil)
	}
}
