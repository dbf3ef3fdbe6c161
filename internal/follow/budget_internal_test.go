package follow

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A commitServer answers all questions with one commit, and counts them.
type commitServer struct {
	mu    sync.Mutex
	asked map[string]int // By path.
}

func (s *commitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[r.URL.Path]++
	_, _ = w.Write([]byte(`{"sha": "` + strings.Repeat("a", 40) + `"}`))
}

// total returns how many questions there were.
func (s *commitServer) total() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, asked := range s.asked {
		n += asked
	}
	return n
}

// of returns how many questions there were about one of the models.
func (s *commitServer) of(i int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for path, asked := range s.asked {
		if strings.Contains(path, model(i)+"/") {
			n += asked
		}
	}
	return n
}

func model(i int) string { return "org/m" + strconv.Itoa(i) }

// all has n Artifacts reconciled, each with a model and in a namespace of its own.
func (w *followWorld) all(n int, q Question) {
	w.t.Helper()
	for i := range n {
		q.Model = model(i)
		a := artifact(types.UID(strconv.Itoa(i)))
		a.SetNamespace("n" + strconv.Itoa(i))
		w.Moved(a, q, "")
	}
	w.pass(0)
}

func newBudgetWorld(t *testing.T) (*followWorld, *commitServer, Question) {
	t.Helper()
	w, s := newFollowWorld(t), &commitServer{asked: map[string]int{}}
	url := w.serve(s)
	return w, s, w.question(func(q *Question) { q.Options.Endpoint = url })
}

func TestFollowBudget(t *testing.T) {
	w, s, q := newBudgetWorld(t)
	q.Interval = 24 * time.Hour
	const n = 300
	w.run(func(*testing.T) {
		w.all(n, q)
		w.pass(12 * time.Hour)
		w.all(n, q)
		for window, before := 0, 0; s.total() < n; window++ {
			w.pass(budgetWindow)
			asked := s.total() - before
			if limit := budgetQuestions + budgetBurst; asked > limit || asked < budgetQuestions-1 && s.total() < n {
				w.t.Errorf("window %d: want %d questions at most, and nearly as many, got %d", window, limit, asked)
			}
			before += asked
			if window > 5 {
				w.t.Fatalf("All should be asked, got %d", s.total())
			}
		}
		for i := range n {
			if got := s.of(i); got != 1 {
				w.t.Errorf("Each question should be asked once, got %d times for %d", got, i)
			}
		}

		w.all(n, q)
		q.Model, q.Now = "org/person", true
		if got := w.reconcile("person", q, ""); got == "" {
			w.t.Error("A person should be answered at once.")
		}
	})
}

// TestFollowNamespaces has one namespace ask more than the budget of a host has.
func TestFollowNamespaces(t *testing.T) {
	for name, urgent := range map[string]bool{"Artifacts": false, "People": true} {
		t.Run(name, func(t *testing.T) {
			w, s, q := newBudgetWorld(t)
			q.Now, q.Interval = urgent, 24*time.Hour
			ask := func(namespace string, i int) {
				q.Model = model(i)
				a := artifact(types.UID(strconv.Itoa(i)))
				a.SetNamespace(namespace)
				w.Moved(a, q, "")
			}
			w.run(func(*testing.T) {
				const n = 500
				for again := range 2 {
					// First questions are due later.
					for i := range n {
						ask([]string{"greedy-a", "greedy-b", "greedy-c"}[i%3], i)
					}
					if urgent || again > 0 {
						break
					}
					w.pass(12 * time.Hour)
				}
				w.pass(5 * time.Minute)
				if got := s.total(); got < budgetQuestions-1 || got > budgetQuestions+budgetBurst {
					w.t.Errorf("The budget should be used and kept to, got %d questions", got)
				}
				q.Now = urgent
				ask("modest", n)
				if !urgent {
					w.pass(2 * time.Minute)
					ask("modest", n)
				}
				w.pass(20 * time.Second)
				if s.of(n) != 1 {
					w.t.Error("Another namespace should be asked for soon, however many questions of others wait.")
				}
				if got := s.total(); got == n+1 {
					w.t.Error("The others should still wait.")
				}
			})
		})
	}
}

// TestFollowPeople has many people ask at once.
func TestFollowPeople(t *testing.T) {
	w, s, q := newBudgetWorld(t)
	q.Now = true
	w.run(func(*testing.T) {
		w.all(30, q)
		if got := s.total(); got != budgetBurst {
			w.t.Errorf("People should have a budget, too: want a burst of %d, got %d", budgetBurst, got)
		}
		w.pass(20 * 3 * time.Second)
		if got := s.total(); got != 30 {
			w.t.Errorf("All people should be answered in the end, got %d", got)
		}
	})
}

func TestFollowQueue(t *testing.T) {
	w, s, q := newBudgetWorld(t)
	expect := func(i, want int, reason string) {
		w.t.Helper()
		if got := s.of(i); got != want {
			w.t.Errorf("%s: want %d questions, got %d", reason, want, got)
		}
	}
	w.run(func(*testing.T) {
		w.all(30, q)
		w.pass(30 * time.Minute)
		w.all(30, q)
		if got := s.total(); got != budgetBurst {
			w.t.Errorf("want a burst of %d, got %d", budgetBurst, got)
		}
		last := w.last()
		leaves := types.UID(strconv.Itoa(last))
		w.Forget(leaves)
		w.all(30, q)
		w.pass(57 * time.Second)
		if got := s.total(); got != 29 {
			w.t.Errorf("All that had a place should have been asked by now: want 29, got %d", got)
		}
		expect(last, 0, "One that left should have lost its place.")
		w.pass(3 * time.Second)
		w.all(30, q)
		expect(last, 1, "The place of one that left should have been free for another one.")
	})
}

// last returns which question has the last place in its Hub's budget.
func (w *followWorld) last() int {
	w.t.Helper()
	w.Follower.mu.Lock()
	defer w.Follower.mu.Unlock()
	last, longest := 0, time.Duration(0)
	for i := range len(w.followings) {
		q := w.followings[types.UID(strconv.Itoa(i))].question
		for _, r := range q.reserved {
			if wait := r.DelayFrom(w.now()); wait > longest {
				last, longest = i, wait
			}
		}
	}
	return last
}

// TestFollowPersonPasses has a person ask while many questions wait.
func TestFollowPersonPasses(t *testing.T) {
	w, s, q := newBudgetWorld(t)
	w.run(func(*testing.T) {
		w.all(300, q)
		w.pass(30 * time.Minute)
		w.all(300, q)
		last := w.last()
		q.Model, q.Now = model(last), true
		if got := w.reconcile(types.UID(strconv.Itoa(last)), q, ""); got == "" || s.of(last) != 1 {
			w.t.Errorf("A person should pass the queue, got %q", got)
		}
	})
}

// TestFollowQueueMissed has the Hub want to be left alone while questions wait for
// their places.
func TestFollowQueueMissed(t *testing.T) {
	w, s, q := newBudgetWorld(t)
	w.run(func(*testing.T) {
		w.all(30, q)
		w.pass(30 * time.Minute)
		w.all(30, q)
		w.Follower.mu.Lock()
		for _, h := range w.hubs {
			h.asked = w.now().Add(4 * time.Minute)
		}
		w.Follower.mu.Unlock()
		w.pass(4*time.Minute + 29*time.Second)
		if got := s.total(); got != budgetBurst {
			w.t.Errorf("The Hub should be left alone, got %d questions", got-budgetBurst)
		}
		w.pass(time.Second)
		if got := s.total(); got != 2*budgetBurst {
			w.t.Errorf("Questions that missed their places should get others: want a burst of %d, got %d", budgetBurst, got-budgetBurst)
		}
	})
}
