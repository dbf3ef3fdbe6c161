package follow

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// commitServer answers all questions with one commit.
func commitServer(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"sha": "` + strings.Repeat("a", 40) + `"}`))
	}))
	t.Cleanup(s.Close)
	return s
}

// reconcile asks a question for each of n Artifacts whose time has come, and
// returns how many of them were answered for the first time.
func (w *followWorld) reconcile(n int, q Question, done map[types.UID]bool) int {
	w.t.Helper()
	answered := 0
	for i := range n {
		key := types.UID(strconv.Itoa(i))
		if wait, ok := w.Next(key); done[key] || (ok && wait > followBusy) {
			continue
		}
		q.Model = "org/m" + strconv.Itoa(i)
		got, err := w.Moved(w.t.Context(), key, q, "")
		if err != nil {
			w.t.Fatal(err)
		}
		if got != "" {
			done[key] = true
			answered++
		}
	}
	return answered
}

func TestFollowBudget(t *testing.T) {
	w := newFollowWorld(t)
	q := w.question(func(q *Question) { q.Options.Endpoint, q.Interval = commitServer(t).URL, 24*time.Hour })
	const n = 300
	done := map[types.UID]bool{}
	w.reconcile(n, q, done)
	w.pass(12 * time.Hour)
	start := w.time()
	for window := 0; len(done) < n; window++ {
		asked := 0
		for range int(budgetWindow / time.Second) {
			asked += w.reconcile(n, q, done)
			w.pass(time.Second)
		}
		if limit := budgetQuestions + budgetBurst; asked > limit || asked < budgetQuestions-1 && len(done) < n {
			t.Errorf("window %d: want %d questions at most, and nearly as many, got %d", window, limit, asked)
		}
		if window > 5 {
			t.Fatalf("want all to be asked, got %d", len(done))
		}
	}
	t.Logf("%d questions took %s", n, w.time().Sub(start))

	if got, err := w.Moved(t.Context(), "person", Question{Options: q.Options, Model: "org/person", Interval: time.Hour, Now: true}, ""); got == "" || err != nil {
		t.Errorf("want a person to be answered, got %q, %v", got, err)
	}
}

func TestFollowQueue(t *testing.T) {
	w := newFollowWorld(t)
	q := w.question(func(q *Question) { q.Options.Endpoint = commitServer(t).URL })
	done := map[types.UID]bool{}
	w.reconcile(30, q, done)
	w.pass(30 * time.Minute)
	if got := w.reconcile(30, q, done); got != budgetBurst {
		t.Errorf("want a burst of %d, got %d", budgetBurst, got)
	}
	w.expect("29", 20*3*time.Second, "Each has a place in the queue.")
	w.Forget("29")
	w.reconcile(30, q, done)
	w.pass(30 * time.Second) // Till it is asked what is new now.
	w.reconcile(30, q, done)
	w.expect("29", 30*time.Second, "Who leaves makes room for others.")
	q.Model, q.Now = "org/m29", true
	if got, err := w.Moved(t.Context(), "29", q, ""); got == "" || err != nil {
		t.Errorf("want a person to pass the queue, got %q, %v", got, err)
	}
}

// Whoever misses its place in the queue gets another one, so that those who
// were kept away do not come all at once.
func TestFollowQueueMissed(t *testing.T) {
	cases := map[string]struct {
		reason string
		closed time.Duration
		pass   []time.Duration
	}{
		"Late":   {reason: "The provider was busy otherwise.", pass: []time.Duration{10 * time.Minute}},
		"Closed": {reason: "The Hub wanted to be left alone.", closed: 4 * time.Minute, pass: []time.Duration{time.Minute, 210 * time.Second}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newFollowWorld(t)
			q := w.question(func(q *Question) { q.Options.Endpoint = commitServer(t).URL })
			done := map[types.UID]bool{}
			w.reconcile(30, q, done)
			w.pass(30 * time.Minute)
			w.reconcile(30, q, done)
			for _, d := range w.doors {
				d.rest(w.time().Add(tc.closed))
			}
			got := 0
			for _, d := range tc.pass {
				w.pass(d)
				got += w.reconcile(30, q, done)
			}
			if got != budgetBurst {
				t.Errorf("%s: want a burst of %d, got %d", tc.reason, budgetBurst, got)
			}
		})
	}
}
