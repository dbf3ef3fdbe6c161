package follow

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// A followWorld is a Follower with a Hub of its own, in a bubble with a clock of its
// own, where chance always takes the middle.
type followWorld struct {
	*Follower

	t   *testing.T
	hub *testhub.Handler
	url string
	dir string

	stop context.CancelFunc

	mu     sync.Mutex
	events []string // Names of Artifacts.
}

// newFollowWorld returns a world whose Hub serves requests.
func newFollowWorld(t *testing.T) *followWorld {
	t.Helper()
	w := &followWorld{t: t, dir: t.TempDir()}
	for _, revision := range []string{"main", "v2", "v3"} {
		w.write("org/model/"+revision+"/config.json", revision)
		w.write("org/other/"+revision+"/config.json", revision)
	}
	w.hub = testhub.NewHandler(w.dir)
	w.url = w.serve(w.hub)
	return w
}

// serve starts a server outside of the bubble: the bubble's time stands still while a
// request is under way, and passes while a server only listens.
func (w *followWorld) serve(h http.Handler) string {
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	return s.URL
}

// run runs a test in the bubble.
func (w *followWorld) run(test func(t *testing.T)) {
	w.t.Helper()
	synctest.Test(w.t, func(t *testing.T) {
		outer := w.t
		w.t = t
		defer func() { w.t = outer }()
		w.Follower = New(connection.NewHosts())
		w.Anywhere = true
		w.random = func() float64 { return 0.5 }
		ctx, stop := context.WithCancel(t.Context())
		w.stop = stop
		var wg sync.WaitGroup
		wg.Go(func() { _ = w.Start(ctx) })
		wg.Go(func() {
			for {
				select {
				case e := <-w.Events():
					w.mu.Lock()
					w.events = append(w.events, e.Object.GetName())
					w.mu.Unlock()
				case <-ctx.Done():
					return
				}
			}
		})
		test(t)
		stop()
		wg.Wait()
	})
}

func (w *followWorld) write(name, content string) {
	w.t.Helper()
	name = filepath.Join(w.dir, "models", name)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// pass lets time pass, and requests end.
func (w *followWorld) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// move moves a branch of org/model.
func (w *followWorld) move(branch, to string) {
	w.t.Helper()
	if err := testhub.Move(w.dir, "org/model", branch, to); err != nil {
		w.t.Fatal(err)
	}
}

// commit returns what a revision of org/model stands for, without a trace.
func (w *followWorld) commit(revision string) string {
	w.t.Helper()
	s := httptest.NewServer(testhub.NewHandler(w.dir))
	defer s.Close()
	c, err := hub.New(hub.Options{Endpoint: s.URL})
	if err != nil {
		w.t.Fatal(err)
	}
	head, err := c.Commit(w.t.Context(), "org/model", revision, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return head.Commit
}

// question asks for main of org/model each hour.
func (w *followWorld) question(change ...func(*Question)) Question {
	q := Question{Options: hub.Options{Endpoint: w.url}, Model: "org/model", Revision: "main", Interval: time.Hour}
	for _, fn := range change {
		fn(&q)
	}
	return q
}

func atOnce(q *Question) { q.Now = true }

// artifact returns the Artifact of a key.
func artifact(key types.UID) client.Object {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: key, Namespace: "default", Name: string(key)}}
}

// reconcile has an Artifact reconciled, and waits until the Hub has answered if it is
// asked. It returns what is known then.
func (w *followWorld) reconcile(key types.UID, q Question, have string) string {
	w.t.Helper()
	w.Moved(artifact(key), q, have)
	synctest.Wait()
	q.Now = false
	return w.Moved(artifact(key), q, have)
}

// ask has an Artifact reconciled, and checks what is known then.
func (w *followWorld) ask(key types.UID, q Question, have, want string) {
	w.t.Helper()
	if diff := cmp.Diff(want, w.reconcile(key, q, have)); diff != "" {
		w.t.Errorf("Moved(%q): -want, +got:\n%s", key, diff)
	}
}

// news checks which Artifacts there were events for since the last time.
func (w *followWorld) news(want ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.events)
	if diff := cmp.Diff(want, w.events, cmpopts.EquateEmpty()); diff != "" {
		w.t.Errorf("Events(): -want, +got:\n%s", diff)
	}
	w.events = nil
}

// trouble returns what an Artifact is told; empty for nothing.
func (w *followWorld) trouble(key types.UID) string {
	if err := w.Trouble(key); err != nil {
		return err.Error()
	}
	return ""
}

// asked checks how many requests the Hub had so far.
func (w *followWorld) asked(want int, reason string) {
	w.t.Helper()
	if got := len(w.hub.Requests()); got != want {
		w.t.Errorf("%s: want %d requests, got %d", reason, want, got)
	}
}

// expect checks when an Artifact's question is asked next.
func (w *followWorld) expect(key types.UID, want time.Duration, reason string) {
	w.t.Helper()
	if got, ok := w.Next(key); !ok || got != want {
		w.t.Errorf("%s: want it to be asked in %s, got %s, %t", reason, want, got, ok)
	}
}

func TestFollowFirst(t *testing.T) {
	cases := map[string]struct {
		reason string
		up     time.Duration // Since when the provider runs.
		before func(*Question)
		change func(*Question)
		want   time.Duration // At chance's middle.
	}{
		"Start":    {reason: "All come at once after a start.", want: 30 * time.Minute},
		"Later":    {reason: "A new Artifact is asked for soon.", up: time.Hour, want: 30 * time.Second},
		"Revision": {reason: "Another revision is another question.", before: func(q *Question) { q.Revision = "v2" }, want: 30 * time.Second},
		"Model":    {reason: "So is another model.", before: func(q *Question) { q.Model = "org/other" }, want: 30 * time.Second},
		"Token":    {reason: "With another token, it may have another answer.", before: func(q *Question) { q.Options.Token = "hf_x" }, want: 30 * time.Second},
		"Endpoint": {reason: "Another Hub may say something else.", before: func(q *Question) { q.Options.Endpoint += "/mirror" }, want: 30 * time.Second},
		"CA":       {reason: "Whom to trust decides on whether there is an answer.", before: func(q *Question) { q.Options.CA = []byte("x") }, want: 30 * time.Second},
		"Interval": {reason: "How often is no other question.", before: func(q *Question) { q.Interval = 2 * time.Hour }, want: time.Hour},
		"Default":  {reason: "No revision is main.", before: func(q *Question) { q.Revision = "" }, want: 30 * time.Minute},
		"Short":    {reason: "Nothing is later than its interval.", up: time.Hour, change: func(q *Question) { q.Interval = 20 * time.Second }, want: 10 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newFollowWorld(t)
			w.run(func(*testing.T) {
				if tc.up > 0 {
					w.ask("first", w.question(), "", "")
					w.pass(tc.up)
				}
				if tc.before != nil {
					w.ask("a", w.question(tc.before), "", "")
				}
				q := w.question()
				if tc.change != nil {
					tc.change(&q)
				}
				w.ask("a", q, "", "")
				w.expect("a", tc.want, tc.reason)
				w.asked(0, "Nothing is asked at once.")
			})
		})
	}
}

func TestFollowInterval(t *testing.T) {
	w := newFollowWorld(t)
	main, v2, v3 := w.commit("main"), w.commit("v2"), w.commit("v3")
	w.run(func(*testing.T) {
		for range 30 {
			w.ask("a", w.question(), main, "")
			w.pass(time.Minute)
		}
		w.asked(0, "A question should not be asked before its time.")
		for range 3 * 60 {
			w.ask("a", w.question(), main, "")
			w.pass(time.Minute)
		}
		w.asked(3, "A question should be asked once in an interval.")
		if got := w.hub.NotModified(); got != 2 {
			w.t.Errorf("All answers but the first should be short: want 2, got %d", got)
		}
		w.news()

		w.move("main", "v2")
		w.ask("a", w.question(), main, v2)
		w.news("a")
		w.ask("a", w.question(), main, v2)
		w.asked(4, "A move should stay known until the Artifact has followed it.")
		w.ask("a", w.question(), v2, "")
		w.hub.SetETags(false)
		w.move("main", "v3")
		w.pass(time.Hour)
		w.ask("a", w.question(), v2, v3)
		w.asked(5, "Without ETags, answers should be compared.")
		w.news("a")

		w.ask("a", w.question(func(q *Question) { q.Revision = v3 }), v2, "")
		if _, ok := w.Next("a"); ok {
			w.t.Error("A commit cannot move, and should not be asked for.")
		}
	})
}

func TestFollowKnown(t *testing.T) {
	w := newFollowWorld(t)
	main, v2 := w.commit("main"), w.commit("v2")
	w.run(func(*testing.T) {
		known := func(interval time.Duration, have, want string, ok bool, reason string) {
			w.t.Helper()
			if got, gotOK := w.Known("a", interval, have); got != want || gotOK != ok {
				w.t.Errorf("%s: want %q, %t, got %q, %t", reason, want, ok, got, gotOK)
			}
		}
		known(time.Hour, main, "", false, "Nothing is known of an Artifact that was not seen.")
		w.ask("a", w.question(atOnce), main, "")
		known(time.Hour, main, "", true, "Between two questions, what is known needs none.")
		known(time.Minute, main, "", false, "Another interval should be told.")
		known(time.Hour, v2, "", false, "Another commit should be told.")
		w.pass(time.Hour)
		known(time.Hour, main, "", false, "A question that is due should be brought.")
		w.hub.SetFault(testhub.Status(503, http.Header{"Retry-After": {"600"}}))
		w.ask("a", w.question(), main, "")
		w.pass(time.Minute)
		w.ask("a", w.question(), main, "")
		known(time.Hour, main, "", true, "A question that waits for its Hub need not be brought again.")
	})
}

// TestFollowWaiting has an Artifact wait for the end of its trouble.
func TestFollowWaiting(t *testing.T) {
	w := newFollowWorld(t)
	main := w.commit("main")
	w.run(func(*testing.T) {
		waiting := func(q *Question) { q.Now, q.Waiting = true, true }
		w.hub.SetFault(testhub.Status(503, nil))
		w.ask("a", w.question(waiting), main, "")
		w.ask("b", w.question(), main, "")
		w.news()
		w.hub.SetFault(nil)
		w.pass(time.Minute)
		w.ask("a", w.question(waiting), main, "")
		w.news("a")
		w.pass(time.Hour)
		w.ask("a", w.question(), main, "")
		w.news()
	})
}

// What was known before a run has read its commit may be older than that.
func TestFollowOldAnswer(t *testing.T) {
	w := newFollowWorld(t)
	main, v2 := w.commit("main"), w.commit("v2")
	w.run(func(*testing.T) {
		w.ask("a", w.question(atOnce), main, "")
		w.move("main", "v2")
		w.pass(20 * time.Minute)

		w.ask("b", w.question(), v2, "")
		w.expect("b", 30*time.Second, "An answer in doubt should be asked for soon.")
		w.ask("c", w.question(), main, "")
		w.expect("c", 40*time.Minute, "An answer that fits should be shared.")
		w.asked(1, "There was an answer.")
		w.pass(30 * time.Second)
		w.ask("b", w.question(), v2, "")
		w.news("a", "c")
		w.ask("a", w.question(), main, v2)
		w.ask("c", w.question(), main, v2)
		w.asked(2, "One question should be enough for all three.")
	})
}

func TestFollowNow(t *testing.T) {
	w := newFollowWorld(t)
	main := w.commit("main")
	w.run(func(*testing.T) {
		w.ask("a", w.question(atOnce), main, "")
		w.ask("a", w.question(atOnce), main, "")
		w.asked(1, "A person should not be asked for twice at a time.")
		w.expect("a", time.Hour, "The interval should begin anew.")
		w.pass(time.Minute)
		w.ask("a", w.question(atOnce), main, "")
		w.asked(2, "A person should not wait for the interval.")

		w.pass(time.Minute)
		w.hub.SetHeader(http.Header{"Retry-After": {"600"}})
		w.ask("a", w.question(atOnce), main, "")
		w.pass(time.Minute)
		w.ask("a", w.question(atOnce), main, "")
		w.asked(3, "What the Hub asks for should precede what a person asks for.")
		w.pass(9*time.Minute + 29*time.Second)
		w.asked(3, "The Hub should not be asked before it permits.")
		w.pass(time.Second)
		w.asked(4, "The person's question should be asked as soon as the Hub permits.")
	})
}

func TestFollowRest(t *testing.T) {
	policy := []string{`"fixed window";"api";q=500;w=300`}
	cases := map[string]struct {
		reason string
		header http.Header
		fault  testhub.Fault
		want   time.Duration
	}{
		"LastOne":    {reason: "The Hub should not be asked while nothing remains in its window.", header: http.Header{"Ratelimit": {`"api";r=0;t=55`}}, want: 55 * time.Second},
		"Reserve":    {reason: "The last fifth of a window should be left for runs.", header: http.Header{"Ratelimit": {`"api";r=90;t=200`}, "Ratelimit-Policy": policy}, want: 200 * time.Second},
		"RetryAfter": {reason: "The Hub should not be asked for as long as Retry-After says.", header: http.Header{"Retry-After": {"300"}}, want: 5 * time.Minute},
		"Limited":    {reason: "The Hub should not be asked until its window ends after it refused a request.", fault: testhub.Status(429, http.Header{"Ratelimit": {`"api";r=0;t=250`}}), want: 250 * time.Second},
		"Bare":       {reason: "The Hub should not be asked for a while after it refused a request without saying for how long.", fault: testhub.Status(429, nil), want: 22500 * time.Millisecond},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newFollowWorld(t)
			w.run(func(*testing.T) {
				w.hub.SetHeader(tc.header)
				w.hub.SetFault(tc.fault)
				w.reconcile("a", w.question(atOnce), "")
				other := func(q *Question) { q.Model = "org/other" }
				w.reconcile("b", w.question(atOnce, other), "")
				w.asked(1, tc.reason)

				w.hub.SetFault(nil)
				w.reconcile("c", w.question(atOnce, func(q *Question) { q.Options.Token = "hf_other" }), "")
				w.asked(2, "Another token should have a quota of its own.")

				w.pass(tc.want + 29*time.Second)
				w.asked(2, tc.reason)
				w.pass(time.Second)
				w.asked(3, "Those who waited should be asked for at random within a minute after that.")
			})
		})
	}
}

func TestFollowFailures(t *testing.T) {
	w := newFollowWorld(t)
	main, v2 := w.commit("main"), w.commit("v2")
	w.run(func(*testing.T) {
		other := w.question(func(q *Question) { q.Model = "org/other" })
		w.ask("a", w.question(atOnce), main, "")
		w.hub.SetFault(testhub.Status(503, nil))
		for i, want := range []time.Duration{45 * time.Second, 90 * time.Second, 3 * time.Minute, 6 * time.Minute, 12 * time.Minute, 24 * time.Minute, 45 * time.Minute, 45 * time.Minute} {
			w.pass(time.Hour)
			w.ask("a", w.question(), main, "")
			if got := w.trouble("a"); strings.Contains(got, "503") != (i+1 >= tellFailures) {
				w.t.Fatalf("Failure %d should be told if it lasts, got %q", i+1, got)
			}
			w.expect("a", want, "Waits should grow, up to a limit.")
			w.ask("a", w.question(), main, "")
		}
		w.asked(9, "A question that failed should not be asked again at once.")
		w.news("a") // Of the third failure; the later ones say the same.
		w.hub.SetFault(nil)
		w.move("main", "v2")
		w.ask("a", w.question(atOnce), main, v2)
		if got := w.trouble("a"); got != "" {
			w.t.Errorf("An answer should end the trouble, got %q", got)
		}
		w.news("a")

		w.hub.SetFault(testhub.Status(503, nil))
		w.pass(time.Hour)
		w.ask("a", w.question(), v2, "")
		w.ask("c", other, "", "")
		w.pass(22 * time.Second)
		w.ask("c", other, "", "")
		w.pass(time.Minute)
		w.hub.SetFault(nil)
		w.ask("a", w.question(), main, v2)
		w.asked(12, "After an answer, the next failure should count as the first one.")

		gone := w.question(atOnce, func(q *Question) { q.Revision = "gone" })
		w.ask("b", gone, main, "")
		if got := w.trouble("b"); !strings.Contains(got, "gone") {
			w.t.Errorf("The missing branch should be named, got %q", got)
		}
		w.expect("b", time.Hour, "A permanent error should wait for the interval.")
		w.pass(time.Minute)
		w.ask("a", w.question(atOnce), main, v2)
		w.asked(14, "One missing branch should hold up no other question.")
	})
}

// TestFollowStops has the provider stop while a Hub is asked.
func TestFollowStops(t *testing.T) {
	w := newFollowWorld(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	silent := w.serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	defer close(release)
	w.run(func(*testing.T) {
		q := w.question(atOnce, func(q *Question) { q.Options.Endpoint = silent })
		w.Moved(artifact("a"), q, "")
		<-arrived
		w.stop()
		synctest.Wait()
		if got := w.trouble("a"); got != "" {
			w.t.Errorf("A Hub should not be blamed for the provider's end, got %q", got)
		}
	})
}
