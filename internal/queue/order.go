// Package queue decides which runs may start where the number of runs is limited: in
// which order those that wait do, and how many at a time. It reads nothing: it is told
// which Jobs there are, and returns who is next.
package queue

import (
	"cmp"
	"container/heap"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// An Entry is a run that waits until it may start.
type Entry struct {
	// UID, Namespace and Name are the Artifact's.
	UID             types.UID
	Namespace, Name string

	// Config is the kind and the name of the config whose limit applies, as in
	// ClusterProviderConfig/shared; empty if only the provider's limit does.
	Config string

	// Priority of the run. Those with a higher one come first.
	Priority int32

	// Since is when the run began to wait: the creation of the Artifact, or the change
	// that asks for the run.
	Since time.Time

	// Pods that the run has at a time. A run without any needs no room.
	Pods int
}

// key returns the Artifact's name.
func (e Entry) key() types.NamespacedName {
	return types.NamespacedName{Namespace: e.Namespace, Name: e.Name}
}

// compare orders the entries of one priority and one namespace: the oldest comes first.
// Of two that began to wait in the same second, the order is always the same.
func (e Entry) compare(o Entry) int {
	return cmp.Or(e.Since.Compare(o.Since), strings.Compare(e.Namespace, o.Namespace),
		strings.Compare(e.Name, o.Name), cmp.Compare(e.UID, o.UID))
}

// Order returns the entries in the order in which they start, first to last. Those with
// a higher priority come first. Among equal ones, the namespace comes first that has the
// fewest Pods, of those that run and of the entries before, so that a namespace with
// many entries delays only its own; of namespaces with equally many that one whose last run
// was admitted longest ago: where no more than one run fits, none has any Pods when the next
// is chosen. Of these, the oldest entry comes first. It changes no argument.
func Order(waiting []Entry, running map[string]int, admitted map[string]time.Time) []Entry {
	byPriority := map[int32][]Entry{}
	for _, e := range waiting {
		byPriority[e.Priority] = append(byPriority[e.Priority], e)
	}
	pods := maps.Clone(running)
	if pods == nil {
		pods = map[string]int{}
	}
	out := make([]Entry, 0, len(waiting))
	for _, p := range slices.Backward(slices.Sorted(maps.Keys(byPriority))) {
		out = appendFairly(out, byPriority[p], pods, admitted)
	}
	return out
}

// appendFairly appends entries of one priority, and adds their Pods to those of their
// namespaces.
func appendFairly(out, entries []Entry, pods map[string]int, admitted map[string]time.Time) []Entry {
	byNamespace := map[string][]Entry{}
	for _, e := range entries {
		byNamespace[e.Namespace] = append(byNamespace[e.Namespace], e)
	}
	next := make(lines, 0, len(byNamespace))
	for namespace, entries := range byNamespace {
		slices.SortFunc(entries, Entry.compare)
		next = append(next, line{entries: entries, pods: pods[namespace], admitted: admitted[namespace]})
	}
	heap.Init(&next)
	for len(next) > 0 {
		first := &next[0]
		e := first.entries[0]
		out = append(out, e)
		first.entries = first.entries[1:]
		first.pods += max(e.Pods, 1)
		pods[e.Namespace] = first.pods
		if len(first.entries) == 0 {
			heap.Pop(&next)
		} else {
			heap.Fix(&next, 0)
		}
	}
	return out
}

// A line has the entries of one namespace, oldest first, how many Pods the namespace has,
// and when its last run was admitted.
type line struct {
	entries  []Entry
	pods     int
	admitted time.Time
}

// lines is a heap: first is the line whose namespace has the fewest Pods or, of several,
// has waited longest since its last run, or has the oldest entry.
type lines []line

func (l lines) Len() int { return len(l) }

func (l lines) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(l[i].pods, l[j].pods), l[i].admitted.Compare(l[j].admitted), l[i].entries[0].compare(l[j].entries[0])) < 0
}

func (l lines) Swap(i, j int) { l[i], l[j] = l[j], l[i] }

func (l *lines) Push(x any) { *l = append(*l, x.(line)) } //nolint:forcetypeassert // Only lines are pushed.

func (l *lines) Pop() any {
	last := (*l)[len(*l)-1]
	*l = (*l)[:len(*l)-1]
	return last
}
