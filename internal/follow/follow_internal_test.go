package follow

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// A followWorld is a Follower with a Hub and a clock of its own, where chance
// always takes the middle.
type followWorld struct {
	*Follower

	t   *testing.T
	hub *testhub.Handler
	url string
	dir string

	mu    sync.Mutex
	clock time.Time
}

func newFollowWorld(t *testing.T) *followWorld {
	t.Helper()
	w := &followWorld{t: t, dir: t.TempDir(), clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for _, revision := range []string{"main", "v2", "v3"} {
		w.write("org/model/"+revision+"/config.json", revision)
		w.write("org/other/"+revision+"/config.json", revision)
	}
	w.hub = testhub.NewHandler(w.dir)
	s := httptest.NewServer(w.hub)
	t.Cleanup(s.Close)
	w.url = s.URL
	w.Follower = New(w.time)
	w.random = func() float64 { return 0.5 }
	return w
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

func (w *followWorld) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *followWorld) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
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

// ask lets an Artifact ask, and checks the answer.
func (w *followWorld) ask(key types.UID, q Question, have, want string) {
	w.t.Helper()
	got, err := w.Moved(w.t.Context(), key, q, have)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		w.t.Errorf("moved(%q): -want, +got:\n%s\n%v", key, diff, err)
	}
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
	}
}

func TestFollowInterval(t *testing.T) {
	w := newFollowWorld(t)
	main, v2, v3 := w.commit("main"), w.commit("v2"), w.commit("v3")
	for range 30 {
		w.ask("a", w.question(), main, "")
		w.pass(time.Minute)
	}
	w.asked(0, "Its time has not come.")
	for range 3 * 60 {
		w.ask("a", w.question(), main, "")
		w.pass(time.Minute)
	}
	w.asked(3, "It is asked once in an interval.")
	if got := w.hub.NotModified(); got != 2 {
		t.Errorf("want all but the first answer to be short, got %d", got)
	}

	w.move("main", "v2")
	w.ask("a", w.question(), main, v2)
	w.ask("a", w.question(), main, v2)
	w.asked(4, "That it has moved stays known until the Artifact has.")
	w.ask("a", w.question(), v2, "")
	w.hub.SetETags(false)
	w.move("main", "v3")
	w.pass(time.Hour)
	w.ask("a", w.question(), v2, v3)
	w.asked(5, "Without ETags, answers are compared.")

	w.ask("a", w.question(func(q *Question) { q.Revision = v3 }), v2, "")
	if _, ok := w.Next("a"); ok {
		t.Error("want no question about a commit, which cannot move")
	}
}

// What was known before a run has read its commit may be older than that.
func TestFollowOldAnswer(t *testing.T) {
	w := newFollowWorld(t)
	main, v2 := w.commit("main"), w.commit("v2")
	w.ask("a", w.question(atOnce), main, "")
	w.move("main", "v2")
	w.pass(20 * time.Minute)

	w.ask("b", w.question(), v2, "")
	w.expect("b", 30*time.Second, "An answer in doubt is asked for soon.")
	w.ask("c", w.question(), main, "")
	w.expect("c", 40*time.Minute, "An answer that fits is shared.")
	w.asked(1, "There was an answer.")
	w.pass(30 * time.Second)
	w.ask("b", w.question(), v2, "")
	w.ask("a", w.question(), main, v2)
	w.ask("c", w.question(), main, v2)
	w.asked(2, "One question was enough for all three.")
}

func TestFollowNow(t *testing.T) {
	w := newFollowWorld(t)
	main := w.commit("main")
	w.ask("a", w.question(atOnce), main, "")
	w.ask("a", w.question(atOnce), main, "")
	w.asked(1, "A person is not asked for twice at a time.")
	w.expect("a", time.Hour, "The interval begins anew.")
	w.pass(time.Minute)
	w.ask("a", w.question(atOnce), main, "")
	w.asked(2, "A person does not wait for the interval.")

	w.pass(time.Minute)
	w.hub.SetHeader(http.Header{"Retry-After": {"600"}})
	w.ask("a", w.question(atOnce), main, "")
	w.pass(time.Minute)
	w.ask("a", w.question(atOnce), main, "")
	w.asked(3, "What the Hub asks for goes before what a person asks for.")
	w.expect("a", 9*time.Minute+30*time.Second, "The person's question is not forgotten.")
	w.pass(10 * time.Minute)
	w.ask("a", w.question(), main, "")
	w.asked(4, "It is asked as soon as that may be.")
}

func TestFollowRest(t *testing.T) {
	policy := []string{`"fixed window";"api";q=500;w=300`}
	cases := map[string]struct {
		reason string
		header http.Header
		fault  testhub.Fault
		want   time.Duration
	}{
		"LastOne":    {reason: "Nothing remains in this window.", header: http.Header{"Ratelimit": {`"api";r=0;t=55`}}, want: 55 * time.Second},
		"Reserve":    {reason: "What remains is for runs.", header: http.Header{"Ratelimit": {`"api";r=90;t=200`}, "Ratelimit-Policy": policy}, want: 200 * time.Second},
		"RetryAfter": {reason: "The Hub wants to be left alone.", header: http.Header{"Retry-After": {"300"}}, want: 5 * time.Minute},
		"Limited":    {reason: "The Hub refuses for a while.", fault: testhub.Status(429, http.Header{"Ratelimit": {`"api";r=0;t=250`}}), want: 250 * time.Second},
		"Bare":       {reason: "It may not say for how long.", fault: testhub.Status(429, nil), want: 22500 * time.Millisecond},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newFollowWorld(t)
			w.hub.SetHeader(tc.header)
			w.hub.SetFault(tc.fault)
			_, _ = w.Moved(t.Context(), "a", w.question(atOnce), "")
			other := func(q *Question) { q.Model = "org/other" }
			w.ask("b", w.question(atOnce, other), "", "")
			w.asked(1, tc.reason)
			w.expect("b", tc.want+30*time.Second, "Those who waited come one after the other.")

			w.hub.SetFault(nil)
			if _, err := w.Moved(t.Context(), "c", w.question(atOnce, func(q *Question) { q.Options.Token = "hf_other" }), ""); err != nil {
				t.Error(err)
			}
			w.asked(2, "With another token it is another quota.")
		})
	}
}

func TestFollowFailures(t *testing.T) {
	w := newFollowWorld(t)
	main, v2 := w.commit("main"), w.commit("v2")
	w.ask("a", w.question(atOnce), main, "")
	w.hub.SetFault(testhub.Status(503, nil))
	for i, want := range []time.Duration{45 * time.Second, 90 * time.Second, 3 * time.Minute, 6 * time.Minute, 12 * time.Minute, 24 * time.Minute, 45 * time.Minute, 45 * time.Minute} {
		w.pass(time.Hour)
		if _, err := w.Moved(t.Context(), "a", w.question(), main); err == nil || w.Trouble("a") != err.Error() {
			t.Fatalf("want failure %d to be told, got %v, %q", i, err, w.Trouble("a"))
		}
		w.expect("a", want, "Waits grow, up to a limit.")
		w.ask("a", w.question(), main, "")
	}
	w.asked(9, "An error is told once, and then kept.")
	w.hub.SetFault(nil)
	w.move("main", "v2")
	w.ask("a", w.question(atOnce), main, v2)
	if got := w.Trouble("a"); got != "" {
		t.Errorf("want no trouble any more, got %q", got)
	}

	w.hub.SetFault(testhub.Status(503, nil))
	w.pass(time.Hour)
	if _, err := w.Moved(t.Context(), "a", w.question(), v2); err == nil {
		t.Error("want another failure")
	}
	w.ask("c", w.question(func(q *Question) { q.Model = "org/other" }), "", "")
	w.pass(22 * time.Second)
	w.ask("c", w.question(func(q *Question) { q.Model = "org/other" }), "", "")
	w.pass(time.Minute)
	w.hub.SetFault(nil)
	w.ask("a", w.question(), main, v2)
	w.asked(12, "It is the first failure again, and holds up the Hub for less than a minute.")

	gone := w.question(atOnce, func(q *Question) { q.Revision = "gone" })
	if _, err := w.Moved(t.Context(), "b", gone, main); err == nil || !strings.Contains(w.Trouble("b"), "gone") {
		t.Errorf("want the missing branch to be told, got %v", err)
	}
	w.expect("b", time.Hour, "What does not pass waits for its interval.")
	w.pass(time.Minute)
	w.ask("a", w.question(atOnce), main, v2)
	w.asked(14, "One missing branch holds up nobody else.")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.pass(time.Hour)
	if _, err := w.Moved(ctx, "a", w.question(), main); err == nil || w.Trouble("a") != "" {
		t.Errorf("want no trouble where the provider stops, got %v, %q", err, w.Trouble("a"))
	}
}
