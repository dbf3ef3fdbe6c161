package progress

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// patience is how long a test waits for an answer.
const patience = 30 * time.Second

// plenty of writes a minute are never used up.
const plenty = 6000

// A progressWorld is a Poller with a clock and Pods of its own.
type progressWorld struct {
	*Poller

	t     *testing.T
	mu    sync.Mutex
	clock time.Time
	says  map[string]string // By address.
	asked map[string]int
}

func newProgressWorld(t *testing.T, perMinute int) *progressWorld {
	t.Helper()
	w := &progressWorld{t: t, clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), says: map[string]string{}, asked: map[string]int{}}
	w.Poller = New(Options{WritesPerMinute: perMinute})
	w.now = func() time.Time {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.clock
	}
	w.events = make(chan event.GenericEvent, 1000)
	w.ask = func(_ context.Context, address netip.Addr) (outcome.Progress, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked[address.String()]++
		said, ok := w.says[address.String()]
		if !ok {
			return outcome.Progress{}, errors.New("connection refused")
		}
		return outcome.ParseProgress([]byte(said))
	}
	return w
}

func (w *progressWorld) say(address, said string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.says[address] = said
}

// pass lets time pass, second by second, and polls the runs that are due.
func (w *progressWorld) pass(d time.Duration) {
	w.t.Helper()
	for range d / time.Second {
		w.mu.Lock()
		w.clock = w.clock.Add(time.Second)
		w.mu.Unlock()
		w.pollDue(w.t.Context())
		for start := time.Now(); w.busy(); time.Sleep(time.Millisecond) {
			if time.Since(start) > patience {
				w.t.Fatal("an answer takes too long")
			}
			w.pollDue(w.t.Context())
		}
	}
}

// busy reports whether a run is polled, or due.
func (w *progressWorld) busy() bool {
	w.Poller.mu.Lock()
	defer w.Poller.mu.Unlock()
	for _, run := range w.runs {
		if !run.due.After(w.now()) {
			return true
		}
	}
	return w.polling > 0
}

// expect checks how often an address was asked, and how many Artifacts were
// requeued, since the last time.
func (w *progressWorld) expect(address string, asked, requeued int, reason string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked[address] != asked || len(w.events) != requeued {
		w.t.Errorf("%s: want %d polls and %d Artifacts requeued, got %d and %d", reason, asked, requeued, w.asked[address], len(w.events))
	}
	w.asked[address] = 0
	for len(w.events) > 0 {
		<-w.events
	}
}

func artifactOf(uid types.UID) *modelv1alpha1.Artifact {
	return &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{UID: uid, Namespace: "default", Name: string(uid)}}
}

func TestProgress(t *testing.T) {
	w := newProgressWorld(t, plenty)
	a, ip := artifactOf("a"), "10.1.2.3"
	pods := []corev1.Pod{runningPod()}
	if got := w.Progress(a, pods); got != nil {
		t.Errorf("Nothing should be known of a run before it was polled: got %+v", got)
	}
	w.say(ip, `{"step":"copy","percent":30,"bytesDone":300,"bytesTotal":1000,"bytesPerSecond":10}`)
	w.pass(4 * time.Second)
	w.expect(ip, 0, 0, "A Pod that has just started should not be asked yet.")
	w.pass(time.Second)
	w.expect(ip, 1, 1, "A Pod should be asked soon after its start.")
	want := &modelv1alpha1.ProgressObservation{
		Step: "copy", Percent: 30, BytesDone: 300, BytesTotal: 1000, BytesPerSecond: 10, TimeLeft: &metav1.Duration{Duration: 70 * time.Second},
	}
	if diff := cmp.Diff(want, w.Progress(a, pods)); diff != "" {
		t.Errorf("The status should have the Pod's answer.\nprogress(...): -want, +got:\n%s", diff)
	}
	w.pass(14 * time.Second)
	w.expect(ip, 0, 0, "A run should be polled every 15 seconds, however often its Artifact is reconciled.")
	w.pass(time.Minute)
	w.expect(ip, 4, 0, "An answer that has not changed should requeue no Artifact.")
	w.say(ip, `{"step":"copy","percent":31}`)
	w.pass(time.Minute)
	w.expect(ip, 4, 1, "A change should be written once.")

	other := []corev1.Pod{runningPod(func(p *corev1.Pod) { p.UID, p.Status.PodIP = "other", "10.1.2.4" })}
	if got := w.Progress(a, other); got != nil {
		t.Errorf("Another Pod's answer should not count: got %+v", got)
	}
	w.say("10.1.2.4", `{"percent":1}`)
	w.pass(5 * time.Second)
	w.expect("10.1.2.4", 1, 1, "The new Pod of a run should be asked.")
	w.expect(ip, 0, 0, "The former Pod of a run should not be asked.")

	if got := w.Progress(a, nil); got != nil {
		t.Errorf("Nothing should be known of a run without a Pod: got %+v", got)
	}
	w.pass(time.Hour)
	w.expect("10.1.2.4", 0, 0, "A run that has ended should not be polled.")
	if len(w.runs) > 0 {
		t.Errorf("A run that has ended should be forgotten: got %v", w.runs)
	}
}

func TestProgressOfRunThatDoesNotAnswer(t *testing.T) {
	w := newProgressWorld(t, plenty)
	a, pods := artifactOf("a"), []corev1.Pod{runningPod()}
	a.Status.AtProvider.Progress = &modelv1alpha1.ProgressObservation{Percent: 30}
	if diff := cmp.Diff(a.Status.AtProvider.Progress, w.Progress(a, pods)); diff != "" {
		t.Errorf("The status should be kept when the provider starts.\nprogress(...): -want, +got:\n%s", diff)
	}
	w.pass(20 * time.Second)
	w.expect("10.1.2.3", 2, 0, "A run that does not answer should be polled again.")
	w.pass(30 * time.Second)
	w.expect("10.1.2.3", 1, 1, "After three failures the last answer should be dropped.")
	if got := w.Progress(a, pods); got != nil {
		t.Errorf("Nothing should be known of a run that does not answer: got %+v", got)
	}
	w.pass(10 * time.Minute)
	w.expect("10.1.2.3", 3, 0, "A run that does not answer should be polled less often.")
	w.say("10.1.2.3", `{"percent":50}`)
	w.pass(2 * time.Minute)
	w.expect("10.1.2.3", 1, 1, "A run that did not answer for long should still be polled.")
	w.pass(30 * time.Second)
	w.expect("10.1.2.3", 2, 0, "A run that answers again should be polled as often as others.")
	w.pass(2 * retention)
	w.asked["10.1.2.3"] = 0
	w.pass(time.Hour)
	w.expect("10.1.2.3", 0, 0, "A run whose Artifact is not reconciled any more should not be polled.")
}

// TestProgressBudget checks that all runs together never have more written than
// Crossplane's circuit breaker for one composite resource takes (one a second), so
// that it does not matter whose they are.
func TestProgressBudget(t *testing.T) {
	const budget = 30
	cases := map[string]struct {
		reason string
		runs   int
		each   int // Questions of one run in ten minutes, at least.
		total  int // Writes in ten minutes, at least.
	}{
		"Few":  {reason: "Few runs should be polled every 15 seconds.", runs: 5, each: 39, total: 190},
		"More": {reason: "More runs should share the budget.", runs: 40, each: 7, total: 220},
		"Many": {reason: "Each of many runs should have its turn.", runs: 200, each: 1, total: 150},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newProgressWorld(t, budget)
			for i := range tc.runs {
				ip := fmt.Sprintf("10.1.1.%d", i+1)
				w.Progress(artifactOf(types.UID(ip)), []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Status.PodIP = ip })})
			}
			total := 0
			for minute := range 10 {
				for second := range 60 {
					for i := range tc.runs {
						w.say(fmt.Sprintf("10.1.1.%d", i+1), fmt.Sprintf(`{"percent":%d,"bytesDone":%d}`, minute*6+second/10, minute*60+second))
					}
					w.pass(time.Second)
				}
				total += len(w.events)
				// What is saved up in an interval may come on top.
				if n := len(w.events); n > budget+budget/4 {
					t.Errorf("%s\nwrites in minute %d: want at most %d, got %d", tc.reason, minute, budget+budget/4, n)
				}
				for len(w.events) > 0 {
					<-w.events
				}
			}
			if total < tc.total {
				t.Errorf("%s\nwrites in ten minutes: want at least %d, got %d", tc.reason, tc.total, total)
			}
			for i := range tc.runs {
				if n := w.asked[fmt.Sprintf("10.1.1.%d", i+1)]; n < tc.each {
					t.Errorf("%s\nquestions of run %d: want at least %d, got %d", tc.reason, i, tc.each, n)
				}
			}
		})
	}
}

func TestProgressOff(t *testing.T) {
	w := newProgressWorld(t, 0)
	w.say("10.1.2.3", `{"percent":1}`)
	a := artifactOf("a")
	a.Status.AtProvider.Progress = &modelv1alpha1.ProgressObservation{Percent: 30}
	if got := w.Progress(a, []corev1.Pod{runningPod()}); got != nil {
		t.Errorf("A Poller without a budget should know nothing: got %+v", got)
	}
	w.pass(time.Minute)
	w.expect("10.1.2.3", 0, 0, "A Poller without a budget should poll no run.")
}

func TestIsNews(t *testing.T) {
	before := &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 30, BytesDone: 300}
	cases := map[string]struct {
		reason string
		after  *modelv1alpha1.ProgressObservation
		many   bool
		want   bool
	}{
		"Same":      {reason: "An answer that is the same should not be written.", after: before},
		"Bytes":     {reason: "With few runs, each change should be written.", after: &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 30, BytesDone: 301}, want: true},
		"ManyBytes": {reason: "With many runs, another number of bytes alone should not be written.", after: &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 30, BytesDone: 301}, many: true},
		"Percent":   {reason: "With many runs, another percentage should be written.", after: &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 31, BytesDone: 301}, many: true, want: true},
		"Step":      {reason: "With many runs, another step should be written.", after: &modelv1alpha1.ProgressObservation{Step: "push", Percent: 30}, many: true, want: true},
		"Gone":      {reason: "With many runs, a progress that is not known any more should be written.", many: true, want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isNews(before, tc.after, tc.many); got != tc.want {
				t.Errorf("%s\nisNews(...): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

// A Pod that does not answer must not delay the polls of others.
func TestProgressWorkersAreBounded(t *testing.T) {
	w := newProgressWorld(t, plenty)
	var now, most int
	release := make(chan struct{})
	w.ask = func(context.Context, netip.Addr) (outcome.Progress, error) {
		w.mu.Lock()
		now++
		most = max(most, now)
		w.mu.Unlock()
		<-release
		w.mu.Lock()
		defer w.mu.Unlock()
		now--
		w.asked["all"]++
		return outcome.Progress{Percent: 1}, nil
	}
	w.interval = 30 * time.Millisecond
	w.now = time.Now
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = w.Start(ctx)
	}()
	for i := range 3 * workers {
		w.Progress(artifactOf(types.UID(fmt.Sprint(i))), []corev1.Pod{runningPod()})
	}
	w.wait("as many as may be", func() bool { return now == workers })
	close(release)
	w.wait("all", func() bool { return w.asked["all"] >= 3*workers })
	stop()
	<-ended
	if most > workers {
		t.Errorf("want at most %d Pods asked at a time, got %d", workers, most)
	}
}

func (w *progressWorld) wait(what string, check func() bool) {
	w.t.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		ok := check()
		w.mu.Unlock()
		if ok {
			return
		}
		if time.Since(start) > patience {
			w.t.Fatalf("waited in vain for %s to be asked", what)
		}
	}
}
