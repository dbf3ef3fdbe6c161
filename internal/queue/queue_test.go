package queue

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

// A cluster plays the controller, the API server and the watches around a queue.
type cluster struct {
	t *testing.T
	*Queue

	clock time.Time
	told  []string

	// there are the Jobs that there are, seen or not.
	there map[types.UID]Run
	made  int
}

// newCluster returns a cluster with a queue that has begun.
func newCluster(t *testing.T, most int, limits map[string]int, presumed ...Entry) *cluster {
	t.Helper()
	c := &cluster{t: t, Queue: New(most), clock: at(1000), there: map[types.UID]Run{}}
	c.now = func() time.Time { return c.clock }
	for config, limit := range limits {
		c.SetLimit(config, limit)
	}
	c.begin(presumed...)
	return c
}

// begin has the queue begin, some time ago.
func (c *cluster) begin(presumed ...Entry) {
	c.Begin(func(name types.NamespacedName) { c.told = append(c.told, name.String()) }, presumed)
	c.clock = c.clock.Add(handover + time.Second)
}

// ask reconciles an Artifact whose run is to start, and reports whether it may. Its Job
// is not created.
func (c *cluster) ask(e Entry) bool {
	c.Enter(e.key())
	defer c.Leave(e.key())
	_, may := c.Ask(e)
	return may
}

// start reconciles an Artifact and creates its Job if it may. It returns the Job.
func (c *cluster) start(e Entry) (types.UID, bool) {
	c.Enter(e.key())
	defer c.Leave(e.key())
	pods, may := c.Ask(e)
	if !may {
		return "", false
	}
	c.made++
	job := types.UID(fmt.Sprintf("%s#%d", e.key(), c.made))
	c.there[job] = Run{Artifact: e.UID, Namespace: e.Namespace, Name: e.Name, Config: e.Config, Pods: pods}
	c.Started(e.key(), job)
	return job, true
}

// started does the same, and has the Job seen.
func (c *cluster) started(e Entry) types.UID {
	c.t.Helper()
	job, ok := c.start(e)
	if !ok {
		c.t.Fatalf("%s should start", e.key())
	}
	c.Seen(job, c.there[job], true)
	return job
}

// end has a Job end.
func (c *cluster) end(job types.UID) {
	r := c.there[job]
	delete(c.there, job)
	c.Seen(job, r, false)
}

// wants checks who was told since the last call.
func (c *cluster) wants(reason string, want ...string) {
	c.t.Helper()
	slices.Sort(c.told)
	if diff := cmp.Diff(want, c.told); diff != "" {
		c.t.Errorf("\n%s\ntold of room: -want, +got:\n%s", reason, diff)
	}
	c.told = nil
}

func TestQueueIsFull(t *testing.T) {
	cases := map[string]struct {
		reason string
		most   int
		limits map[string]int
		entry  Entry
		want   bool
	}{
		"NoLimit":      {reason: "Without a limit, any number of runs should start.", entry: of("b", "new", 9), want: true},
		"Config":       {reason: "A config's limit should hold back its runs.", limits: map[string]int{shared: 2}, entry: of("b", "new", 9)},
		"ConfigRoom":   {reason: "Within a config's limit, a run should start.", limits: map[string]int{shared: 3}, entry: of("b", "new", 9), want: true},
		"OtherConfig":  {reason: "A config's limit should not hold back runs of others.", limits: map[string]int{shared: 2}, entry: Entry{UID: "u", Namespace: "b", Name: "new", Pods: 1}, want: true},
		"Provider":     {reason: "The provider's limit should hold back all runs.", most: 2, entry: Entry{UID: "u", Namespace: "b", Name: "new", Pods: 1}},
		"BothAllow":    {reason: "A run should start that both limits allow.", most: 3, limits: map[string]int{shared: 3}, entry: of("b", "new", 9), want: true},
		"ProviderOnly": {reason: "A run should wait if one of two limits is reached.", most: 2, limits: map[string]int{shared: 5}, entry: of("b", "new", 9)},
		"NoPods":       {reason: "A run that has no Pods until somebody else admits it should not wait here.", most: 2, entry: Entry{UID: "u", Namespace: "b", Name: "new"}, want: true},
		"TooManyPods":  {reason: "A run with more Pods than the limit should start with those that fit.", limits: map[string]int{shared: 3}, entry: Entry{UID: "u", Namespace: "b", Name: "new", Config: shared, Pods: 4}, want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, tc.most, tc.limits)
			c.started(of("a", "1", 1)) // Seen.
			if _, ok := c.start(of("a", "2", 2)); !ok {
				t.Fatal("the second run should start") // Not seen yet.
			}
			if got := c.ask(tc.entry); got != tc.want {
				t.Errorf("\n%s\nAsk(%s): want %t, got %t", tc.reason, tc.entry.key(), tc.want, got)
			}
		})
	}
}

func TestNextIsToldWhenRoomIsFreed(t *testing.T) {
	limit := map[string]int{shared: 2}
	cases := map[string]struct {
		reason string
		free   func(c *cluster, running, unseen types.UID)
		want   []string
	}{
		"End":       {reason: "The next run should start when one ends.", free: func(c *cluster, running, _ types.UID) { c.end(running) }, want: []string{"b/1"}},
		"EndUnseen": {reason: "The end of a Job whose start no watch has shown should leave its room.", free: func(c *cluster, _, unseen types.UID) { c.end(unseen) }, want: []string{"b/1"}},
		"Suspended": {reason: "A suspended Job should count for nothing.", free: func(c *cluster, running, _ types.UID) {
			r := c.there[running]
			r.Pods = 0
			c.Seen(running, r, true)
		}, want: []string{"b/1"}},
		"Raised":  {reason: "A raised limit should admit the next.", free: func(c *cluster, _, _ types.UID) { c.SetLimit(shared, 3) }, want: []string{"b/1"}},
		"Removed": {reason: "Without the limit all should start.", free: func(c *cluster, _, _ types.UID) { c.SetLimit(shared, 0) }, want: []string{"a/3", "b/1", "b/2"}},
		"Gone":    {reason: "The room of a deleted Artifact whose Job was never seen should be free.", free: func(c *cluster, _, _ types.UID) { c.Forget(types.NamespacedName{Namespace: "a", Name: "2"}) }, want: []string{"b/1"}},
		"NeverSeen": {reason: "A Job that no watch shows for long was deleted before.", free: func(c *cluster, _, _ types.UID) {
			c.clock = c.clock.Add(unseenTimeout + time.Second)
			c.Expire()
		}, want: []string{"b/1"}},
		"Lowered": {reason: "Below a lowered limit nothing should start before enough runs have ended.", free: func(c *cluster, running, _ types.UID) {
			c.SetLimit(shared, 1)
			c.end(running)
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 0, limit)
			running := c.started(of("a", "1", 1))
			unseen, _ := c.start(of("a", "2", 2))
			for _, e := range []Entry{of("a", "3", 3), of("b", "1", 4), of("b", "2", 5)} {
				if c.ask(e) {
					t.Fatalf("%s should wait", e.key())
				}
			}
			tc.free(c, running, unseen)
			c.wants(tc.reason, tc.want...)
		})
	}
}

func TestRoomThatIsNotUsed(t *testing.T) {
	first, second := of("a", "1", 1), of("b", "1", 2)
	cases := map[string]struct {
		reason string
		do     func(c *cluster)
	}{
		"Refused": {
			reason: "If a Job cannot be created, the room should be given to the next.",
			do:     func(c *cluster) { c.ask(first) },
		},
		"NotWanted": {
			reason: "An Artifact that does not ask any more when it is told should leave the room to the next.",
			do:     func(c *cluster) { c.Enter(first.key()); c.Leave(first.key()) },
		},
		"NotReconciled": {
			reason: "An Artifact whose reconcile does not come should not hold up others for long.",
			do: func(c *cluster) {
				c.clock = c.clock.Add(offerTimeout + time.Second)
				c.Expire()
			},
		},
		"Deleted": {
			reason: "A deleted Artifact should leave the room to the next.",
			do:     func(c *cluster) { c.Forget(first.key()) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1, nil)
			running := c.started(of("c", "1", 0))
			c.ask(first)
			c.ask(second)
			c.end(running)
			c.wants("The oldest should be told.", "a/1")
			tc.do(c)
			c.wants(tc.reason, "b/1")
		})
	}
}

func TestUncertainStart(t *testing.T) {
	c := newCluster(t, 1, nil)
	a, b := of("a", "1", 1), of("b", "1", 2)
	c.Enter(a.key())
	c.Ask(a)
	c.Started(a.key(), "")
	c.Leave(a.key())
	if c.ask(b) {
		t.Error("While it is not known whether a Job was created, its room should be kept.")
	}
	c.Seen("job", Run{Artifact: a.UID, Namespace: "a", Name: "1", Pods: 1}, true)
	c.clock = c.clock.Add(uncertainTimeout + time.Second)
	c.Expire()
	c.wants("A Job that a watch shows after all should count.")
	c.Seen("job", Run{Artifact: a.UID, Namespace: "a", Name: "1"}, false)
	c.wants("Its end should leave its room.", "b/1")
}

func TestOfferDuringReconcile(t *testing.T) {
	c := newCluster(t, 1, nil)
	running, a := c.started(of("c", "1", 0)), of("a", "1", 1)
	c.ask(a)
	c.Enter(a.key())
	if !c.StillWaits(a.key()) {
		t.Fatal("the run should wait")
	}
	c.end(running)
	c.Leave(a.key())
	c.wants("Room that is freed during a reconcile should be kept until the next one.", "a/1")
	c.started(a)
}

func TestKeepsPlace(t *testing.T) {
	c := newCluster(t, 1, nil)
	running := c.started(of("c", "1", 0))
	c.ask(of("a", "1", 1))
	c.ask(of("a", "2", 2))
	c.ask(of("a", "1", 50))
	c.end(running)
	c.wants("A run that asks again should keep its place.", "a/1")
}

// TestNextRunOfSameArtifact checks that a run which replaces one that does not start
// takes its place.
func TestNextRunOfSameArtifact(t *testing.T) {
	c := newCluster(t, 0, map[string]int{shared: 2})
	a := of("a", "1", 1)
	old := c.started(a)
	c.started(of("b", "1", 2))
	c.ask(of("c", "1", 0))
	if !c.ask(a) {
		t.Error("The next run of an Artifact should take the place of the one that it replaces.")
	}
	c.end(old)
	c.wants("Room that was freed meanwhile should go to the next in line.", "c/1")
	if c.ask(a) {
		t.Error("An Artifact that has given its room to others should wait.")
	}
}

// withPods returns an entry with so many Pods.
func withPods(e Entry, n int) Entry {
	e.Pods = n
	return e
}

// gets checks with how many Pods a run starts; 0 if it waits.
func (c *cluster) gets(reason string, e Entry, want int) {
	c.t.Helper()
	job, _ := c.start(e)
	got := c.there[job].Pods
	if got != want {
		c.t.Errorf("\n%s\nAsk(%s): want %d Pods, got %d", reason, e.key(), want, got)
	}
	c.check(0, c.limits[shared])
}

// TestWideRunDelaysNobody checks that a run which asks for more Pods than there is room for
// neither waits for a run that never ends nor has others wait for that.
func TestWideRunDelaysNobody(t *testing.T) {
	cases := map[string]struct {
		most   int
		limits map[string]int
	}{"Provider": {most: 8}, "Config": {limits: map[string]int{shared: 8}}, "Both": {most: 8, limits: map[string]int{shared: 9}}}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, tc.most, tc.limits)
			c.started(of("a", "endless", 1))
			wide, ok := c.start(withPods(of("b", "wide", 2), 8))
			if got := c.there[wide].Pods; !ok || got != 7 {
				t.Fatalf("A run should start with as many Pods as there is room for: want 7, got %d", got)
			}
			c.Seen(wide, c.there[wide], true)
			c.ask(of("c", "1", 3))
			c.end(wide)
			c.wants("Those after it should start when it ends.", "c/1")
		})
	}
}

// TestRoomThatGrows checks that a run which was told of room for fewer Pods than it asks for
// starts with those that are free by then.
func TestRoomThatGrows(t *testing.T) {
	c := newCluster(t, 0, map[string]int{shared: 3})
	first, second := c.started(of("a", "1", 1)), c.started(withPods(of("a", "2", 2), 2))
	wide := withPods(of("b", "1", 3), 3)
	c.ask(wide)
	c.end(first)
	c.wants("A run should be told of room for one of its Pods.", "b/1")
	c.end(second)
	c.gets("Room that nobody else waits for should be the run's, too.", wide, 3)
}

// TestRunsOfSeveralPods checks that a run has no more Pods than there is room for, and that
// the Job that completes it has room.
func TestRunsOfSeveralPods(t *testing.T) {
	pods := withPods
	c := newCluster(t, 0, map[string]int{shared: 3})
	a, b := pods(of("a", "1", 1), 2), pods(of("b", "1", 2), 2)
	large := c.started(a)
	c.started(pods(of("d", "1", 1), 1))
	if c.ask(b) {
		t.Error("A run should wait while there is no room for any of its Pods.")
	}
	if c.ask(of("c", "1", 3)) {
		t.Error("A smaller run should not go before a larger one that has waited longer.")
	}

	c.goOn(large)
	c.wants("The room that is left by Pods that have finished should go to the next.", "b/1")
	c.gets("The Job that completes a run should keep room of one Pod.", b, 1)
	last := pods(a, 1)
	c.gets("The room that is kept for the Job which completes a run should be that of one Pod.", pods(a, 2), 1)
	c = newCluster(t, 0, map[string]int{shared: 3})
	large = c.started(a)
	c.ask(of("b", "1", 2))
	c.ask(pods(of("c", "1", 3), 2))
	c.goOn(large)
	if !c.ask(last) {
		t.Error("Room should be kept for the Job that completes a run.")
	}
	c.started(last)

	c = newCluster(t, 0, map[string]int{shared: 3})
	large = c.started(a)
	c.goOn(large)
	c.started(pods(of("d", "1", 2), 2))
	c.ask(pods(of("c", "1", 3), 3))
	c.told = nil
	c.clock = c.clock.Add(uncertainTimeout + time.Second)
	c.Expire()
	c.wants("Room that is kept should be others' if it is not used.", "c/1")

	c = newCluster(t, 0, map[string]int{shared: 3})
	c.started(pods(a, 1))
	c.started(b)
	if c.ask(a) {
		t.Error("A run that replaces one of fewer Pods should not exceed the limit.")
	}
}

func TestRestart(t *testing.T) {
	c := &cluster{t: t, Queue: New(2), clock: at(1000), there: map[types.UID]Run{}}
	c.now = func() time.Time { return c.clock }
	left := Run{Artifact: "a/1", Namespace: "a", Name: "1", Pods: 1}
	c.Seen("left", left, true)
	c.Begin(func(name types.NamespacedName) { c.told = append(c.told, name.String()) },
		[]Entry{of("a", "2", 2), of("b", "1", 3), of("b", "2", 4)})
	c.wants("After a restart the next should be told, not who happens to be reconciled first.", "b/1")
	if c.ask(of("b", "2", 4)) {
		t.Error("After a restart the Jobs that are there should count.")
	}
	c.Seen("late", Run{Artifact: "z/1", Namespace: "z", Name: "1", Pods: 1}, true)
	if c.ask(of("b", "1", 3)) {
		t.Error("Jobs of the leader before that are seen late should count, also against who was told already.")
	}
	c.end("left")
	c.Seen("left", left, false)
	c.wants("Then the next should be told when one of them ends.", "a/2")
}

// TestForeignJobs checks that who may create Jobs in a namespace cannot use up what
// others may run.
func TestForeignJobs(t *testing.T) {
	c := newCluster(t, 1, nil)
	for i := range 10 {
		c.Seen(types.UID(fmt.Sprint(i)), Run{Artifact: types.UID(fmt.Sprint("u", i)), Namespace: "evil", Name: fmt.Sprint(i), Pods: 1}, true)
	}
	if !c.ask(of("a", "1", 1)) {
		t.Error("Jobs that the queue has not admitted should not count.")
	}
}

// TestForgedJobs checks that Jobs which look like those of runs do not use up what others
// may run for longer than it takes to know better.
func TestForgedJobs(t *testing.T) {
	a, evil := of("a", "1", 1), of("evil", "1", 0)
	forged := func(recorded bool) Run {
		return Run{Artifact: evil.UID, Namespace: "evil", Name: "1", Pods: 1, IsRecorded: func() bool { return recorded }}
	}
	cases := map[string]struct {
		reason string
		seen   func(c *cluster)
		counts bool
	}{
		"Restart": {reason: "A Job from before the start that is not recorded should count for a while only.", seen: func(c *cluster) {
			c.strict = c.clock.Add(handover)
			c.Seen("forged", forged(false), true)
			if c.ask(a) {
				c.t.Error("It should count at first.")
			}
		}},
		"Recorded": {reason: "A Job from before the start that is recorded should count until it ends.", seen: func(c *cluster) {
			c.strict = c.clock.Add(handover)
			c.Seen("run", forged(true), true)
		}, counts: true},
		"Offered": {reason: "A Job that is there before the offer of room is taken should not count.", seen: func(c *cluster) {
			running := c.started(of("b", "1", 0))
			c.ask(evil)
			c.end(running)
			c.Seen("forged", forged(false), true)
		}},
		"Taken": {reason: "A Job that is there before the run's own should not count once that has ended.", seen: func(c *cluster) {
			c.Enter(evil.key())
			c.Ask(evil)
			c.Seen("own", forged(true), true)
			c.Seen("forged", forged(false), true)
			c.Started(evil.key(), "own")
			c.Leave(evil.key())
			c.Seen("own", forged(true), false)
		}},
		"Confirmed": {reason: "The run's own Job should count until it ends, whatever the status says.", seen: func(c *cluster) {
			c.Enter(evil.key())
			c.Ask(evil)
			c.Seen("own", forged(false), true)
			c.Seen("forged", forged(false), true)
			c.Started(evil.key(), "own")
			c.Leave(evil.key())
		}, counts: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 1, nil)
			tc.seen(c)
			c.clock = c.clock.Add(handover + time.Second)
			c.Expire()
			if got := c.ask(a); got == tc.counts {
				t.Errorf("\n%s\nAsk(...): got %t", tc.reason, got)
			}
		})
	}
}

func TestConfigOfJobStays(t *testing.T) {
	c := newCluster(t, 0, map[string]int{shared: 1})
	job := c.started(of("a", "1", 1))
	r := c.there[job]
	r.Config = "ClusterProviderConfig/other"
	c.Seen(job, r, true)
	if c.ask(of("a", "2", 2)) {
		t.Error("An Artifact that names another config while its run is running should not free room under the first.")
	}
}

// TestPodsOfJobStay checks that a run counts for its Pods whatever config its Artifact names
// meanwhile, and for fewer only if its Job has fewer.
func TestPodsOfJobStay(t *testing.T) {
	const other = "ClusterProviderConfig/other"
	cases := map[string]struct {
		reason string
		seen   []Run
		want   int
	}{
		"Repointed": {reason: "A config that allows fewer Pods should not free room of Pods that are there.", seen: []Run{{Config: other, Pods: 64, MaxPods: 8}}, want: 64},
		"Lowered":   {reason: "A Job whose parallelism was lowered should count for fewer.", seen: []Run{{Config: other, Pods: 5, MaxPods: 8}}, want: 5},
		"Resumed": {
			reason: "A Job that was suspended meanwhile should count for all of its Pods again.",
			seen:   []Run{{Config: shared, MaxPods: 64}, {Config: other, Pods: 64, MaxPods: 8}}, want: 64,
		},
		"Raised": {reason: "A raised parallelism should count for no more than the config allows.", seen: []Run{{Config: shared, Pods: 100, MaxPods: 64}}, want: 64},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 0, map[string]int{shared: 64})
			job, _ := c.start(withPods(of("a", "1", 1), 64))
			first := c.there[job]
			first.MaxPods = 64
			c.Seen(job, first, true)
			for _, r := range tc.seen {
				r.Artifact, r.Namespace, r.Name = first.Artifact, first.Namespace, first.Name
				c.Seen(job, r, true)
			}
			if got := c.Counts()["a"].Running; got != tc.want {
				t.Errorf("\n%s\nCounts(): want %d Pods, got %d", tc.reason, tc.want, got)
			}
			c.there[job] = Run{Config: shared, Pods: tc.want}
			c.gets("What is left of the limit should be all that others get.", withPods(of("b", "1", 2), 64), 64-tc.want)
		})
	}
}

func TestHostileNamespace(t *testing.T) {
	c := newCluster(t, 4, nil)
	var jobs []types.UID
	for i := range 10_000 {
		e := of("evil", fmt.Sprint(i), i)
		if job, ok := c.start(e); ok {
			c.Seen(job, c.there[job], true)
			jobs = append(jobs, job)
		}
	}
	if len(jobs) != 4 {
		t.Fatalf("want 4 runs, got %d", len(jobs))
	}
	c.ask(of("good", "1", 20_000))
	c.end(jobs[0])
	c.wants("A namespace with one Artifact should be next, however many another has that are older.", "good/1")
}

// TestTurnsUnderLimitOfOne checks that a namespace with many older Artifacts goes only once
// before another's single one where one run fits at a time.
func TestTurnsUnderLimitOfOne(t *testing.T) {
	cases := map[string]struct {
		most   int
		limits map[string]int
	}{"Provider": {most: 1}, "Config": {limits: map[string]int{shared: 1}}}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, tc.most, tc.limits)
			running := c.started(of("evil", "0", 0))
			for i := range 100 {
				c.ask(of("evil", fmt.Sprint(i+1), i+1))
			}
			c.ask(of("good", "1", 20_000))
			c.clock = c.clock.Add(time.Second)
			c.end(running)
			c.wants("The namespace that had no run should be next.", "good/1")
			running = c.started(of("good", "1", 20_000))
			c.ask(of("good", "2", -1))
			c.clock = c.clock.Add(time.Second)
			c.end(running)
			c.wants("Then it is the other one's turn, whatever is older.", "evil/1")
		})
	}
}

func TestCounts(t *testing.T) {
	c := newCluster(t, 2, nil)
	c.started(of("a", "1", 1))
	c.start(of("b", "1", 2))
	c.ask(of("a", "2", 7))
	c.ask(of("a", "3", 5))
	want := map[string]Count{"a": {Running: 1, Queued: 2, OldestSince: at(5)}, "b": {Running: 1}}
	if diff := cmp.Diff(want, c.Counts()); diff != "" {
		t.Errorf("Counts(): -want, +got:\n%s", diff)
	}
	if !c.IsContended(shared) || !c.IsContended("") {
		t.Error("Runs should be known to wait for the provider's limit, of whichever config.")
	}
}

// FuzzQueue plays random events, and checks that there are never more Jobs than the
// limits allow and that nobody waits while there is room.
func FuzzQueue(f *testing.F) {
	for seed := range uint64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 2))
		most, limit := r.IntN(5), 1+r.IntN(3)
		c := newCluster(t, most, map[string]int{shared: limit})
		entries := make([]Entry, 24)
		for i := range entries {
			entries[i] = of(string(rune('a'+i%3)), fmt.Sprint(i), r.IntN(100)).with(int32(r.IntN(2)))
			if i%4 == 0 {
				entries[i].Config = ""
			}
			entries[i].Pods = 1 + r.IntN(limit+1) // More than there may be, too.
		}
		for range 400 {
			c.step(r, entries)
			c.check(most, limit)
		}
		c.drain(entries)
	})
}

// step has one random thing happen.
func (c *cluster) step(r *rand.Rand, entries []Entry) {
	e := entries[r.IntN(len(entries))]
	running := slices.ContainsFunc(c.jobsThere(), func(job types.UID) bool { return c.there[job].Artifact == e.UID })
	switch n := r.IntN(10); {
	case n < 4 && !running:
		c.start(e)
	case n < 5 && !running:
		c.ask(e) // Its Job is refused.
	case n < 6:
		c.Enter(e.key())
		c.StillWaits(e.key())
		c.Leave(e.key())
	case n < 7 && !running:
		c.Forget(e.key())
	case n < 8:
		c.clock = c.clock.Add(time.Duration(r.IntN(20)) * time.Second)
		for _, job := range c.jobsThere() { // Watches are never so late.
			c.Seen(job, c.there[job], true)
		}
		c.Expire()
	default:
		jobs := c.jobsThere()
		if len(jobs) == 0 {
			return
		}
		switch job := jobs[r.IntN(len(jobs))]; {
		case n < 9:
			c.Seen(job, c.there[job], true)
		case r.IntN(2) == 0:
			c.goOn(job)
		default:
			c.end(job)
		}
	}
}

// goOn has a Job end whose run goes on with another.
func (c *cluster) goOn(job types.UID) {
	r := c.there[job]
	r.GoesOn = true
	delete(c.there, job)
	c.Seen(job, r, false)
}

// jobsThere returns the Jobs that there are.
func (c *cluster) jobsThere() []types.UID {
	var out []types.UID
	for job := range c.there {
		out = append(out, job)
	}
	slices.Sort(out)
	return out
}

// check checks that there are no more Jobs than there may be.
func (c *cluster) check(most, limit int) {
	c.t.Helper()
	all, ofConfig := 0, 0
	for _, run := range c.there {
		all += run.Pods
		if run.Config == shared {
			ofConfig += run.Pods
		}
	}
	if most > 0 && all > most || ofConfig > limit {
		c.t.Fatalf("there are %d Pods, of which %d of the config; at most %d and %d are allowed", all, ofConfig, most, limit)
	}
}

// drain has all entries run, one Job ending after the other, and fails if one never can.
func (c *cluster) drain(entries []Entry) {
	c.t.Helper()
	done := map[types.UID]bool{}
	for range 10 * len(entries) {
		for _, e := range entries {
			if !done[e.UID] {
				if _, ok := c.start(e); ok {
					done[e.UID] = true
				}
			}
		}
		for _, job := range c.jobsThere() {
			c.end(job)
		}
		if len(done) == len(entries) {
			return
		}
	}
	c.t.Fatalf("want %d runs to start, got %d", len(entries), len(done))
}
