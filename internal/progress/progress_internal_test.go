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

// A progressWorld is an asker with a clock and Pods of its own.
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

// pass lets time go by, second by second, and all be asked whose time comes.
func (w *progressWorld) pass(d time.Duration) {
	w.t.Helper()
	for range d / time.Second {
		w.mu.Lock()
		w.clock = w.clock.Add(time.Second)
		w.mu.Unlock()
		w.askDue(w.t.Context())
		for start := time.Now(); w.busy(); time.Sleep(time.Millisecond) {
			if time.Since(start) > patience {
				w.t.Fatal("an answer takes too long")
			}
			w.askDue(w.t.Context())
		}
	}
}

// busy says whether anybody is asked, or should be.
func (w *progressWorld) busy() bool {
	w.Poller.mu.Lock()
	defer w.Poller.mu.Unlock()
	for _, run := range w.runs {
		if !run.due.After(w.now()) {
			return true
		}
	}
	return w.asking > 0
}

// expect checks how often an address was asked, and how often Artifacts were
// woken, since the last time.
func (w *progressWorld) expect(address string, asked, woken int, reason string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked[address] != asked || len(w.events) != woken {
		w.t.Errorf("%s: want %d questions and %d Artifacts woken, got %d and %d", reason, asked, woken, w.asked[address], len(w.events))
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
		t.Errorf("Before it was asked nothing is known of a run: got %+v", got)
	}
	w.say(ip, `{"step":"copy","percent":30,"bytesDone":300,"bytesTotal":1000,"bytesPerSecond":10}`)
	w.pass(4 * time.Second)
	w.expect(ip, 0, 0, "A Pod that has just started has nothing to say.")
	w.pass(time.Second)
	w.expect(ip, 1, 1, "It is asked soon.")
	want := &modelv1alpha1.ProgressObservation{
		Step: "copy", Percent: 30, BytesDone: 300, BytesTotal: 1000, BytesPerSecond: 10, TimeLeft: &metav1.Duration{Duration: 70 * time.Second},
	}
	if diff := cmp.Diff(want, w.Progress(a, pods)); diff != "" {
		t.Errorf("The status has what the Pod said.\nprogress(...): -want, +got:\n%s", diff)
	}
	w.pass(14 * time.Second)
	w.expect(ip, 0, 0, "It is asked every 15 seconds, however often its Artifact is reconciled.")
	w.pass(time.Minute)
	w.expect(ip, 4, 0, "Nobody is woken for what has not changed.")
	w.say(ip, `{"step":"copy","percent":31}`)
	w.pass(time.Minute)
	w.expect(ip, 4, 1, "What has changed is written once.")

	other := []corev1.Pod{runningPod(func(p *corev1.Pod) { p.UID, p.Status.PodIP = "other", "10.1.2.4" })}
	if got := w.Progress(a, other); got != nil {
		t.Errorf("Another Pod has not said anything: got %+v", got)
	}
	w.say("10.1.2.4", `{"percent":1}`)
	w.pass(5 * time.Second)
	w.expect("10.1.2.4", 1, 1, "The other one is asked.")
	w.expect(ip, 0, 0, "The first one is not.")

	if got := w.Progress(a, nil); got != nil {
		t.Errorf("Without a Pod nothing is known: got %+v", got)
	}
	w.pass(time.Hour)
	w.expect("10.1.2.4", 0, 0, "A run that has ended costs nothing.")
	if len(w.runs) > 0 {
		t.Errorf("It is forgotten: got %v", w.runs)
	}
}

func TestProgressOfWhoDoesNotAnswer(t *testing.T) {
	w := newProgressWorld(t, plenty)
	a, pods := artifactOf("a"), []corev1.Pod{runningPod()}
	a.Status.AtProvider.Progress = &modelv1alpha1.ProgressObservation{Percent: 30}
	if diff := cmp.Diff(a.Status.AtProvider.Progress, w.Progress(a, pods)); diff != "" {
		t.Errorf("What the status says holds when the provider starts.\nprogress(...): -want, +got:\n%s", diff)
	}
	w.pass(20 * time.Second)
	w.expect("10.1.2.3", 2, 0, "Who does not answer is asked again.")
	w.pass(30 * time.Second)
	w.expect("10.1.2.3", 1, 1, "After some time what was said is worth nothing any more.")
	if got := w.Progress(a, pods); got != nil {
		t.Errorf("Nothing is known then: got %+v", got)
	}
	w.pass(10 * time.Minute)
	w.expect("10.1.2.3", 3, 0, "It is asked less often.")
	w.say("10.1.2.3", `{"percent":50}`)
	w.pass(2 * time.Minute)
	w.expect("10.1.2.3", 1, 1, "It is asked for all that.")
	w.pass(30 * time.Second)
	w.expect("10.1.2.3", 2, 0, "And then as often as others.")
	w.pass(2 * progressKept)
	w.asked["10.1.2.3"] = 0
	w.pass(time.Hour)
	w.expect("10.1.2.3", 0, 0, "Whose Artifact nobody looks at any more is not asked.")
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
		"Few":  {reason: "Few runs are asked every 15 seconds.", runs: 5, each: 39, total: 190},
		"More": {reason: "More runs share the budget.", runs: 40, each: 7, total: 220},
		"Many": {reason: "Each of many runs has its turn.", runs: 200, each: 1, total: 150},
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
		t.Errorf("Without progress none is in the status: got %+v", got)
	}
	w.pass(time.Minute)
	w.expect("10.1.2.3", 0, 0, "Nobody is asked.")
}

func TestIsNews(t *testing.T) {
	before := &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 30, BytesDone: 300}
	cases := map[string]struct {
		reason string
		after  *modelv1alpha1.ProgressObservation
		many   bool
		want   bool
	}{
		"Same":      {reason: "What is the same is not written.", after: before},
		"Bytes":     {reason: "Of few runs each change is written.", after: &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 30, BytesDone: 301}, want: true},
		"ManyBytes": {reason: "Of many runs bytes alone are not.", after: &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 30, BytesDone: 301}, many: true},
		"Percent":   {reason: "Percent are.", after: &modelv1alpha1.ProgressObservation{Step: "copy", Percent: 31, BytesDone: 301}, many: true, want: true},
		"Step":      {reason: "A step is.", after: &modelv1alpha1.ProgressObservation{Step: "push", Percent: 30}, many: true, want: true},
		"Gone":      {reason: "That nothing is known any more is.", many: true, want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := isNews(before, tc.after, tc.many); got != tc.want {
				t.Errorf("%s\nisNews(...): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

// A Pod that keeps the provider waiting keeps nobody else waiting.
func TestProgressAskersAreBounded(t *testing.T) {
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
	for i := range 3 * progressAskers {
		w.Progress(artifactOf(types.UID(fmt.Sprint(i))), []corev1.Pod{runningPod()})
	}
	w.wait("as many as may be", func() bool { return now == progressAskers })
	close(release)
	w.wait("all", func() bool { return w.asked["all"] >= 3*progressAskers })
	stop()
	<-ended
	if most > progressAskers {
		t.Errorf("want at most %d Pods asked at a time, got %d", progressAskers, most)
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
